/* rediss:// with a real server that wants certificates of who comes. */
#include "tests/unit/support/redis_sentinel.h"
#include "tests/unit/support/tls_files.h"
#include "tests/unit/transport/redis_conn_fixture.h"

struct fixture {
	char folder[64];
	struct tls_ca ca, other;
	struct redis_server server;
	struct redis_settings settings;
	uv_loop_t loop;
	struct link link;
};

static void set_up(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	temp_folder_make(x->folder);
	tls_ca_make(&x->ca, x->folder, "ca");
	tls_ca_make(&x->other, x->folder, "other");
	tls_issue(&x->ca, x->folder, "server", "DNS:localhost,IP:127.0.0.1");
	tls_issue(&x->ca, x->folder, "shop", "");
	tls_issue(&x->other, x->folder, "stranger", "");
	redis_server_init(&x->server);
	x->server.tls_folder = x->folder;
	redis_server_start(&x->server);
	redis_settings_init(&x->settings);
	uv_loop_init(&x->loop);
}

static void tear_down(struct fixture *x)
{
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	redis_settings_clear(&x->settings);
	redis_server_clear(&x->server);
	tls_ca_clear(&x->ca);
	tls_ca_clear(&x->other);
	temp_folder_remove(x->folder);
}

/* What a URL says about TLS, with the certificate of NAME and the CA of CA_NAME. */
static char *query(const struct fixture *x, const char *name, const char *ca_name)
{
	return mem_printf("?ssl_cert_reqs=required&ssl_ca_certs=%s/%s.pem&ssl_certfile=%s/%s.pem&"
			  "ssl_keyfile=%s/%s.key",
			  x->folder, ca_name, x->folder, name, x->folder, name);
}

/* The setting says the same. */
static char *setting(const struct fixture *x, const char *more)
{
	return mem_printf("{\"ssl_cert_reqs\": \"required\", \"ssl_ca_certs\": \"%s/ca.pem\", "
			  "\"ssl_certfile\": \"%s/shop.pem\", \"ssl_keyfile\": \"%s/shop.key\"%s}",
			  x->folder, x->folder, x->folder, more);
}

static void open_to(struct fixture *x, const char *url)
{
	struct redis_conn_options options = link_options(&x->loop, &x->link);

	options.url = url;
	options.settings = &x->settings;
	link_open(&x->link, &options);
}

static void works(struct fixture *x, const char *url)
{
	open_to(x, url);
	wait_until(&x->loop, x->link.ups == 1 || x->link.downs > 0, 3000);
	ck_assert_msg(x->link.ups == 1, "%s: %s", url, x->link.why.text);
	link_ask(&x->loop, &x->link, "SET key value");
	ck_assert_str_eq(x->link.answer, "OK");
	link_close(&x->loop, &x->link);
}

static void fails(struct fixture *x, const char *url, const char *words)
{
	open_to(x, url);
	wait_until(&x->loop, x->link.downs > 1, 5000); /* and is tried again */
	ck_assert_uint_eq(x->link.ups, 0);
	ck_assert_msg(strstr(x->link.why.text, words) != NULL, "'%s' has no '%s'", x->link.why.text,
		      words);
	link_close(&x->loop, &x->link);
}

/* C-52 */
START_TEST(a_server_with_tls_is_verified_and_shown_our_certificate)
{
	struct fixture x;

	set_up(&x);
	auto_free char *said = query(&x, "shop", "ca");
	auto_free char *url = mem_printf("rediss://localhost:%d/3%s", x.server.port, said);
	auto_free char *address = mem_printf("rediss://127.0.0.1:%d/3%s", x.server.port, said);
	auto_free char *bare = mem_printf("rediss://localhost:%d/3", x.server.port);
	auto_free char *plain = mem_printf("redis://localhost:%d/3", x.server.port);

	works(&x, url);
	works(&x, address);
	x.settings.tls = setting(&x, "");
	works(&x, bare);
	works(&x, plain); /* as in Celery, the setting is enough */
	tear_down(&x);
}
END_TEST

/* C-52 */
START_TEST(what_is_wrong_is_said_and_tried_again) /* timeout 60 */
{
	struct fixture x;

	set_up(&x);
	auto_free char *host = mem_printf("rediss://localhost:%d/0", x.server.port);
	auto_free char *good = query(&x, "shop", "ca");
	auto_free char *stranger = query(&x, "stranger", "ca");
	auto_free char *other = query(&x, "shop", "other");
	auto_free char *unknown = mem_printf("%s%s", host, other);
	auto_free char *refused = mem_printf("%s%s", host, stranger);
	auto_free char *without = mem_printf("%s?ssl_ca_certs=%s/ca.pem", host, x.folder);
	auto_free char *in_clear = mem_printf("redis://localhost:%d/0", x.server.port);

	fails(&x, unknown, "unknown CA: the certificate's issuer CN=ca is not among the CAs in /");
	fails(&x, refused, "the server refused our certificate /");
	fails(&x, without, "wants a client certificate: give certfile and keyfile");
	x.settings.tls = setting(&x, ", \"server_hostname\": \"elsewhere\"");
	fails(&x, host,
	      "wrong host: the certificate is for localhost, 127.0.0.1, not for elsewhere");
	mem_free_ptr(&x.settings.tls);
	fails(&x, in_clear, "if it speaks TLS on this port, use rediss://");
	redis_server_stop(&x.server, SIGKILL);
	x.server.tls_folder = NULL;
	redis_server_start(&x.server);
	auto_free char *plain = mem_printf("%s%s", host, good);
	fails(&x, plain, "TLS");
	tear_down(&x);
}
END_TEST

START_TEST(files_and_rules_are_looked_at_when_it_is_opened)
{
	static const struct {
		const char *url, *tls, *words;
		enum tls_use use;
	} rows[] = {
		{"rediss://h?ssl_ca_certs=/nowhere", NULL, "TLS: ca_certs /nowhere: No such file",
		 0},
		{"redis://h", "true", "TLS: true says too little", 0},
		{"redis://h;rediss://h?ssl_cert_reqs=x", NULL, "ssl_cert_reqs: use required", 0},
		{"rediss://h", NULL, "TLS: ssl_cert_reqs is missing", TLS_FOR_REDIS_BACKEND},
	};
	struct fixture x;

	set_up(&x);
	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct redis_conn_options options = link_options(&x.loop, &x.link);
		struct err err = {0};

		x.settings.tls = mem_strdup(rows[i].tls);
		x.settings.tls_use = rows[i].use;
		options.url = rows[i].url;
		options.settings = &x.settings;
		ck_assert_ptr_null(redis_conn_open(&options, &err));
		ck_assert_msg(strstr(err.text, rows[i].words), "'%s'", err.text);
		mem_free_ptr(&x.settings.tls);
	}
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_was_restarted_is_found_again)
{
	struct fixture x;

	set_up(&x);
	x.settings.tls = setting(&x, "");
	auto_free char *url =
		mem_printf("rediss://127.0.0.1:1;rediss://localhost:%d", x.server.port);

	open_to(&x, url);
	wait_until(&x.loop, x.link.ups == 1, 3000);
	ck_assert_uint_eq(x.link.downs, 1); /* the first of the list */
	redis_server_stop(&x.server, SIGKILL);
	wait_until(&x.loop, !x.link.is_up, 3000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.link.ups == 2, 5000);
	link_ask(&x.loop, &x.link, "PING");
	ck_assert_str_eq(x.link.answer, "PONG");
	link_close(&x.loop, &x.link);
	tear_down(&x);
}
END_TEST

START_TEST(sentinels_and_their_master_have_tls_of_their_own)
{
	struct fixture x;
	struct redis_server sentinel;
	int port;

	set_up(&x);
	port = redis_server_free_port();
	auto_free char *more =
		mem_printf("tls-port %d\ntls-replication yes\ntls-cert-file %s/server.pem\n"
			   "tls-key-file %s/server.key\ntls-ca-cert-file %s/ca.pem",
			   port, x.folder, x.folder, x.folder);
	auto_free char *kwargs =
		mem_printf("{\"master_name\": \"mymaster\", \"sentinel_kwargs\": {\"ssl\": true, "
			   "\"ssl_ca_certs\": \"%s/ca.pem\", \"ssl_certfile\": \"%s/shop.pem\", "
			   "\"ssl_keyfile\": \"%s/shop.key\"}}",
			   x.folder, x.folder, x.folder);
	auto_free char *url = mem_printf("sentinel://localhost:%d", port);

	redis_sentinel_start(&sentinel, x.server.port, more);
	x.settings.tls = setting(&x, "");
	ck_assert_int_eq(redis_settings_read(&x.settings, kwargs, NULL), 0);
	works(&x, url);
	mem_free_ptr(&x.settings.sentinel_tls);
	fails(&x, url, "mymaster"); /* asked in clear */
	redis_server_clear(&sentinel);
	tear_down(&x);
}
END_TEST

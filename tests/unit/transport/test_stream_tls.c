#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/support/tls_peer.h"
#include "transport/stream.h"
#include "transport/tls_context.h"

/* A stream to a peer, with certificates made for the test. */
struct probe {
	uv_loop_t loop;
	char folder[64], ca_path[128];
	struct tls_ca ca;
	struct tls_options options; /* for the next connection */
	struct tls_context *context;
	struct stream *stream;
	struct tls_peer peer;
	unsigned connected, failed;
	struct err why;
	struct str got;
	bool closes_when_connected, closes_in_data;
	double timeout_s;
};

static void drop(struct probe *p)
{
	stream_close(p->stream);
	p->stream = NULL;
}

static void probe_connected(void *ctx)
{
	struct probe *p = ctx;

	p->connected++;
	if (p->closes_when_connected)
		drop(p);
}

static size_t probe_data(void *ctx, const char *data, size_t len)
{
	struct probe *p = ctx;

	ck_assert_int_eq(str_add(&p->got, data, len), 0);
	if (p->closes_in_data)
		drop(p);
	return len;
}

static void probe_failed(void *ctx, const struct err *why)
{
	struct probe *p = ctx;

	p->failed++;
	p->why = *why;
}

static const struct stream_events events = {
	.on_connected = probe_connected,
	.on_data = probe_data,
	.on_failed = probe_failed,
};

static void begin(struct probe *p)
{
	signal(SIGPIPE, SIG_IGN);
	memset(p, 0, sizeof(*p));
	uv_loop_init(&p->loop);
	temp_folder_make(p->folder);
	tls_ca_make(&p->ca, p->folder, "ca");
	tls_path(p->ca_path, p->folder, "ca", "pem");
	str_init(&p->got, (size_t)64 << 20);
	p->options = (struct tls_options){.is_wanted = true, .ca_file = mem_strdup(p->ca_path)};
	p->timeout_s = 5;
}

static void serve(struct probe *p, const char *holders)
{
	tls_issue(&p->ca, p->folder, "server", holders);
	tls_peer_init(&p->peer, p->folder, "server");
}

/* Uses up the options unless there is a context already. */
static void open_to(struct probe *p, const char *host)
{
	struct err err = {0};

	if (!p->context)
		p->context = tls_context_new(&p->options, &err);
	ck_assert_msg(p->context != NULL, "%s", err.text);
	struct stream_options options = {
		.loop = &p->loop,
		.host = host,
		.port = p->peer.port,
		.tls = p->context,
		.connect_timeout_s = p->timeout_s,
		.max_output = (size_t)32 << 20,
		.events = &events,
		.ctx = p,
	};
	p->stream = stream_open(&options);
}

static void settle(struct probe *p)
{
	unsigned before = p->connected + p->failed;

	wait_until(&p->loop, p->connected + p->failed > before, 8000);
}

static void connect_to(struct probe *p, const char *host)
{
	open_to(p, host);
	settle(p);
}

static void forget(struct probe *p)
{
	drop(p);
	tls_context_free(p->context);
	p->context = NULL;
}

static void end(struct probe *p)
{
	forget(p);
	while (uv_run(&p->loop, UV_RUN_NOWAIT) != 0)
		;
	ck_assert_int_eq(uv_loop_close(&p->loop), 0);
	tls_peer_stop(&p->peer);
	tls_options_clear(&p->options);
	tls_ca_clear(&p->ca);
	str_clear(&p->got);
	temp_folder_remove(p->folder);
}

static void echo(struct probe *p, const char *text)
{
	str_reset(&p->got);
	ck_assert_int_eq(stream_write(p->stream, text, strlen(text)), 0);
	wait_until(&p->loop, p->got.len >= strlen(text), 3000);
	ck_assert_int_eq(memcmp(p->got.data, text, strlen(text)), 0);
}

START_TEST(bytes_go_both_ways_with_each_version_of_tls)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct probe p;

		begin(&p);
		serve(&p, "DNS:localhost");
		SSL_CTX_set_max_proto_version(p.peer.ctx, version);
		tls_peer_start(&p.peer);
		open_to(&p, "localhost");
		ck_assert_int_eq(stream_write(p.stream, "early ", 6), 0);
		settle(&p);
		ck_assert_msg(p.connected == 1, "%s", p.why.text);
		wait_until(&p.loop, p.got.len == 6, 2000);
		echo(&p, "late");
		ck_assert_uint_eq(stream_pending(p.stream), 0);
		ck_assert_str_eq(p.peer.name, "localhost"); /* SNI */
		drop(&p);
		wait_until(&p.loop, p.peer.goodbyes == 1, 2000);
		end(&p);
	}
}
END_TEST

START_TEST(a_peer_that_asks_for_new_keys_gets_them)
{
	struct probe p;

	begin(&p);
	serve(&p, "IP:127.0.0.1");
	p.peer.mode = TLS_PEER_NEW_KEYS;
	tls_peer_start(&p.peer);
	connect_to(&p, "127.0.0.1");
	for (int i = 0; i < 20; i++)
		echo(&p, "again and again");
	ck_assert_str_eq(p.peer.name, ""); /* addresses are not named */
	end(&p);
}
END_TEST

START_TEST(much_data_comes_back_whole)
{
	struct probe p;
	enum { CHUNK = 100003, COUNT = 120 };
	static char chunk[CHUNK];
	size_t wrong = 0;

	begin(&p);
	serve(&p, "IP:127.0.0.1");
	tls_peer_start(&p.peer);
	connect_to(&p, "127.0.0.1");
	for (int i = 0; i < COUNT; i++) {
		memset(chunk, i, CHUNK);
		ck_assert_int_eq(stream_write(p.stream, chunk, CHUNK), 0);
	}
	ck_assert_uint_eq(stream_pending(p.stream), (size_t)CHUNK * COUNT);
	wait_until(&p.loop, p.got.len == (size_t)CHUNK * COUNT, 20000);
	for (size_t i = 0; i < p.got.len; i++)
		wrong += p.got.data[i] != (char)(i / CHUNK);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_eq(stream_pending(p.stream), 0);
	end(&p);
}
END_TEST

/* What is refused, and in which words; the same server is taken when nothing is verified. */
static void refused(const char *host, const char *holders, long from_s, long to_s,
		    const char *words)
{
	struct probe p;

	begin(&p);
	tls_issue_for(&p.ca, p.folder, "server", holders, from_s, to_s);
	tls_peer_init(&p.peer, p.folder, "server");
	tls_peer_start(&p.peer);
	connect_to(&p, host);
	ck_assert_uint_eq(p.connected, 0);
	ck_assert_msg(strstr(p.why.text, words) != NULL, "'%s' has no '%s'", p.why.text, words);
	ck_assert_msg(strncmp(p.why.text, "connect to ", 11) == 0, "%s", p.why.text);
	forget(&p);
	p.options = (struct tls_options){.is_wanted = true, .verify = TLS_VERIFY_NONE};
	connect_to(&p, host);
	ck_assert_msg(p.connected == 1, "%s", p.why.text);
	echo(&p, "unverified");
	end(&p);
}

START_TEST(an_error_says_what_is_wrong_with_the_certificate)
{
	refused("localhost", "DNS:localhost", -2 * TLS_DAY, -TLS_DAY, "CN=server expired on ");
	refused("localhost", "DNS:localhost", TLS_DAY, 2 * TLS_DAY, "is not valid before ");
	refused("localhost", "DNS:other.example,IP:10.0.0.1", -1, TLS_DAY,
		"wrong host: the certificate is for other.example, 10.0.0.1, not for localhost");
	refused("127.0.0.1", "DNS:localhost", -1, TLS_DAY,
		"wrong host: the certificate is for localhost, not for 127.0.0.1");
	refused("localhost", "", -1, TLS_DAY, "the certificate is for CN=server, not for");
}
END_TEST

/* They go to a log: no line of its own, no end of the text, no flood. */
START_TEST(names_in_a_strangers_certificate_do_no_harm)
{
	static const char *const names[] = {"a\nFATAL all is lost", "\033[2J", "x,y=z\\",
					    "a long name a long name a long name a long name a lo"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		struct probe p;
		struct tls_ca other;
		EVP_PKEY *key = EVP_EC_gen("P-256");

		begin(&p);
		other.key = EVP_EC_gen("P-256");
		other.cert = tls_sign(NULL, other.key, names[i], NULL, -TLS_DAY, TLS_DAY);
		X509 *cert = tls_sign(&other, key, names[i], "", -TLS_DAY, TLS_DAY);

		tls_write(p.folder, "server", cert, key);
		tls_peer_init(&p.peer, p.folder, "server");
		tls_peer_start(&p.peer);
		connect_to(&p, "localhost");
		ck_assert_msg(strstr(p.why.text, "unknown CA: ") != NULL, "%s", p.why.text);
		for (const char *c = p.why.text; *c; c++)
			ck_assert_int_ge((unsigned char)*c, ' ');
		ck_assert_uint_lt(strlen(p.why.text), 300);
		X509_free(cert);
		EVP_PKEY_free(key);
		tls_ca_clear(&other);
		end(&p);
	}
}
END_TEST

START_TEST(a_ca_that_is_not_ours_is_named)
{
	struct probe p;
	struct tls_ca other;

	begin(&p);
	tls_ca_make(&other, p.folder, "other");
	tls_issue(&other, p.folder, "server", "DNS:localhost");
	tls_peer_init(&p.peer, p.folder, "server");
	tls_peer_start(&p.peer);
	connect_to(&p, "localhost");
	ck_assert_msg(strstr(p.why.text, "unknown CA: the certificate's issuer CN=other is not "
					 "among the CAs in /") != NULL,
		      "%s", p.why.text);
	forget(&p);
	p.options = (struct tls_options){.is_wanted = true}; /* the system's */
	connect_to(&p, "localhost");
	ck_assert_msg(strstr(p.why.text, "the system's CAs (give its CA's file as ca_certs)"), "%s",
		      p.why.text);
	ck_assert_uint_eq(p.connected, 0);
	tls_ca_clear(&other);
	end(&p);
}
END_TEST

START_TEST(another_name_or_any_may_be_expected)
{
	struct probe p;

	begin(&p);
	serve(&p, "DNS:other.example");
	tls_peer_start(&p.peer);
	p.options.server_name = mem_strdup("other.example");
	connect_to(&p, "localhost");
	ck_assert_msg(p.connected == 1, "%s", p.why.text);
	echo(&p, "named");
	ck_assert_str_eq(p.peer.name, "other.example");
	forget(&p);
	p.options = (struct tls_options){
		.is_wanted = true, .is_any_name = true, .ca_file = mem_strdup(p.ca_path)};
	connect_to(&p, "127.0.0.1");
	ck_assert_msg(p.connected == 2, "%s", p.why.text);
	end(&p);
}
END_TEST

static void use_certificate(struct probe *p, const char *name)
{
	char path[128];

	tls_path(path, p->folder, name, "pem");
	p->options.cert_file = mem_strdup(path);
	tls_path(path, p->folder, name, "key");
	p->options.key_file = mem_strdup(path);
}

/* With TLS 1.3 the server refuses after our handshake has ended. */
START_TEST(a_client_certificate_is_shown_or_missed_or_refused)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct probe p;
		struct tls_ca other;

		begin(&p);
		serve(&p, "DNS:localhost");
		tls_ca_make(&other, p.folder, "other");
		tls_issue(&p.ca, p.folder, "shop", "");
		tls_issue(&other, p.folder, "stranger", "");
		SSL_CTX_set_max_proto_version(p.peer.ctx, version);
		tls_peer_want_certificate(&p.peer, p.folder, "ca");
		tls_peer_start(&p.peer);

		open_to(&p, "localhost");
		wait_until(&p.loop, p.failed == 1, 3000);
		ck_assert_msg(strstr(p.why.text, "wants a client certificate: give certfile"), "%s",
			      p.why.text);
		forget(&p);

		p.options =
			(struct tls_options){.is_wanted = true, .ca_file = mem_strdup(p.ca_path)};
		use_certificate(&p, "stranger");
		open_to(&p, "localhost");
		wait_until(&p.loop, p.failed == 2, 3000);
		ck_assert_msg(strstr(p.why.text, "the server refused our certificate /"), "%s",
			      p.why.text);
		ck_assert_msg(strstr(p.why.text, "unknown ca"), "%s", p.why.text);
		forget(&p);

		p.options =
			(struct tls_options){.is_wanted = true, .ca_file = mem_strdup(p.ca_path)};
		use_certificate(&p, "shop");
		connect_to(&p, "localhost");
		echo(&p, "known");
		ck_assert_str_eq(p.peer.client, "shop");
		tls_ca_clear(&other);
		end(&p);
	}
}
END_TEST

START_TEST(a_server_without_tls_is_told_from_one_that_does_not_answer)
{
	static const struct {
		enum tls_peer_mode mode;
		const char *words;
	} rows[] = {
		{TLS_PEER_NO_TLS, "the server speaks no TLS on this port"},
		{TLS_PEER_SILENT, "the server did not answer in time (does it speak TLS"},
		{TLS_PEER_CLOSES, "the server ended the connection before it answered (does it"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct probe p;

		begin(&p);
		serve(&p, "DNS:localhost");
		p.peer.mode = rows[i].mode;
		p.timeout_s = 0.3;
		tls_peer_start(&p.peer);
		connect_to(&p, "localhost");
		ck_assert_uint_eq(p.failed, 1);
		ck_assert_msg(strstr(p.why.text, rows[i].words), "%s", p.why.text);
		end(&p);
	}
}
END_TEST

START_TEST(sides_without_a_common_version_say_so)
{
	struct probe p;

	begin(&p);
	serve(&p, "DNS:localhost");
	SSL_CTX_set_max_proto_version(p.peer.ctx, TLS1_2_VERSION);
	tls_peer_start(&p.peer);
	p.options.min_version = TLS1_3_VERSION;
	connect_to(&p, "localhost");
	ck_assert_msg(strstr(p.why.text, "no version that both sides allow (ours: 1.3)"), "%s",
		      p.why.text);
	forget(&p);
	p.options = (struct tls_options){.is_wanted = true, .ca_file = mem_strdup(p.ca_path)};
	SSL_CTX_set_min_proto_version(p.peer.ctx, TLS1_1_VERSION);
	SSL_CTX_set_max_proto_version(p.peer.ctx, TLS1_1_VERSION);
	connect_to(&p, "localhost");
	ck_assert_msg(strstr(p.why.text, "TLS: ") && p.connected == 0, "%s", p.why.text);
	end(&p);
}
END_TEST

START_TEST(the_next_connection_goes_on_with_the_session)
{
	for (int version = TLS1_2_VERSION; version <= TLS1_3_VERSION; version++) {
		struct probe p;

		begin(&p);
		serve(&p, "DNS:localhost,IP:127.0.0.1");
		SSL_CTX_set_max_proto_version(p.peer.ctx, version);
		tls_peer_start(&p.peer);
		for (int i = 0; i < 4; i++) {
			connect_to(&p, "localhost");
			echo(&p, "hello"); /* 1.3: sessions come behind the handshake */
			drop(&p);
		}
		ck_assert_uint_eq(p.peer.resumed, 3);
		connect_to(&p, "127.0.0.1"); /* not for another name */
		echo(&p, "hello");
		ck_assert_uint_eq(p.peer.resumed, 3);
		end(&p);
	}
}
END_TEST

START_TEST(renewed_files_are_read_for_the_next_connection)
{
	struct probe p;
	char path[128];

	begin(&p);
	serve(&p, "DNS:localhost");
	tls_issue(&p.ca, p.folder, "old", "");
	tls_issue(&p.ca, p.folder, "new-one", "");
	tls_peer_want_certificate(&p.peer, p.folder, "ca");
	tls_peer_start(&p.peer);
	use_certificate(&p, "old");
	connect_to(&p, "localhost");
	echo(&p, "first");
	ck_assert_str_eq(p.peer.client, "old");
	drop(&p);

	/* Half of the renewal: the key does not fit yet. */
	tls_path(path, p.folder, "new-one", "pem");
	auto_free char *certificate = mem_printf("cp %s %s/old.pem", path, p.folder);
	auto_free char *key = mem_printf("cp %s/new-one.key %s/old.key", p.folder, p.folder);
	ck_assert_int_eq(system(certificate), 0);
	connect_to(&p, "localhost");
	echo(&p, "between");
	ck_assert_str_eq(p.peer.client, "old");
	drop(&p);
	ck_assert_int_eq(system(key), 0);
	connect_to(&p, "localhost");
	echo(&p, "after");
	ck_assert_str_eq(p.peer.client, "new-one");
	end(&p);
}
END_TEST

START_TEST(closing_in_a_callback_ends_everything)
{
	struct probe p;

	begin(&p);
	serve(&p, "DNS:localhost");
	tls_peer_start(&p.peer);
	p.closes_when_connected = true;
	connect_to(&p, "localhost");
	ck_assert_ptr_null(p.stream);
	p.closes_when_connected = false;
	p.closes_in_data = true;
	connect_to(&p, "localhost");
	stream_write(p.stream, "x", 1);
	wait_until(&p.loop, p.stream == NULL, 2000);
	ck_assert_uint_eq(p.failed, 0);
	end(&p);
}
END_TEST

START_TEST(the_end_and_junk_are_failures)
{
	struct probe p;

	begin(&p);
	serve(&p, "DNS:localhost");
	p.peer.mode = TLS_PEER_ENDS;
	tls_peer_start(&p.peer);
	connect_to(&p, "localhost");
	stream_write(p.stream, "x", 1);
	wait_until(&p.loop, p.failed == 1, 2000);
	ck_assert_msg(strstr(p.why.text, "connection lost"), "%s", p.why.text);
	ck_assert_int_eq(p.why.code, ERR_IO);
	drop(&p);
	p.peer.mode = TLS_PEER_SENDS_JUNK;
	connect_to(&p, "localhost");
	stream_write(p.stream, "x", 1);
	wait_until(&p.loop, p.failed == 2, 2000);
	ck_assert_msg(strstr(p.why.text, "TLS: "), "%s", p.why.text);
	end(&p);
}
END_TEST

static void context_refused(struct tls_options options, const char *words)
{
	struct err err = {0};

	ck_assert_ptr_null(tls_context_new(&options, &err));
	ck_assert_msg(strstr(err.text, words) != NULL, "'%s' has no '%s'", err.text, words);
	ck_assert_ptr_null(options.ca_file); /* taken over */
}

START_TEST(files_that_cannot_be_used_are_named)
{
	struct probe p;
	char cert[128], other[128];

	begin(&p);
	tls_issue(&p.ca, p.folder, "one", "");
	tls_issue(&p.ca, p.folder, "two", "");
	tls_path(cert, p.folder, "one", "pem");
	tls_path(other, p.folder, "two", "key");
	context_refused((struct tls_options){.ca_file = mem_strdup("/nowhere/ca.pem")},
			"ca_certs /nowhere/ca.pem: No such file");
	context_refused((struct tls_options){.ca_file = mem_strdup(other)}, "ca_certs /");
	context_refused((struct tls_options){.ca_text = mem_strdup("hello")}, "no certificate");
	context_refused((struct tls_options){.cert_file = mem_strdup("/nowhere/c.pem")},
			"certfile /nowhere/c.pem: No such file");
	context_refused((struct tls_options){.cert_file = mem_strdup(cert)}, "keyfile /");
	context_refused(
		(struct tls_options){.cert_file = mem_strdup(cert), .key_file = mem_strdup(other)},
		"keyfile /");
	context_refused((struct tls_options){.ciphers = mem_strdup("none of them")}, "ciphers: ");
	serve(&p, "DNS:localhost");
	tls_peer_start(&p.peer);
	end(&p);
}
END_TEST

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "tests/unit/transport/amqp_fixture.h"

static void down_with(struct fixture *f, const char *url)
{
	fixture_init(f, url);
	fixture_open(f);
	fixture_consume(f, "never", NULL);
	broker_start(f->broker);
	ck_assert(fixture_wait(f, &f->downs, 1, 20000));
}

/* The URL of the test broker with other credentials or another vhost. */
static const char *url_with(const char *user, const char *vhost)
{
	static char text[512];
	const char *at = strrchr(fixture_url(), '@');
	const char *host = at ? at + 1 : strstr(fixture_url(), "//") + 2;

	snprintf(text, sizeof(text), "amqp://%s@%.*s/%s", user, (int)strcspn(host, "/"), host,
		 vhost);
	return text;
}

/* C-61 */
START_TEST(a_refused_login_says_so_and_waits) /* timeout 30 */
{
	struct fixture f;

	if (!fixture_url())
		return;
	down_with(&f, url_with("nobody:secret", "/"));
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "403 ACCESS_REFUSED"));
	ck_assert_ptr_null(strstr(f.last_down.text, "secret"));
	ck_assert_int_eq(f.last_down.code, ERR_REFUSED);
	ck_assert_double_eq(f.last_retry_s, 2);
	ck_assert_int_eq(f.last_attempt, 1);
	ck_assert_int_eq(f.last_max, 100);
	fixture_run(&f, 1000);
	ck_assert_uint_eq(f.downs, 1);
	fixture_close(&f);
}
END_TEST

/* C-61 */
START_TEST(a_missing_vhost_says_so_and_waits) /* timeout 30 */
{
	struct fixture f;

	if (!fixture_url())
		return;
	down_with(&f, url_with("guest:guest", "no-such-vhost"));
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "530 NOT_ALLOWED"));
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "no-such-vhost"));
	ck_assert_double_eq(f.last_retry_s, 2);
	fixture_run(&f, 1000);
	ck_assert_uint_eq(f.downs, 1);
	fixture_close(&f);
}
END_TEST

/* C-59 */
START_TEST(nobody_listening_is_tried_again_after_2_then_4_seconds) /* timeout 30 */
{
	struct fixture f;

	down_with(&f, "amqp://127.0.0.1:1//");
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "Connection refused"));
	ck_assert_int_eq(f.last_down.code, ERR_IO);
	ck_assert_double_eq(f.last_retry_s, 2);
	ck_assert(!fixture_wait(&f, &f.downs, 2, 1700));
	ck_assert(fixture_wait(&f, &f.downs, 2, 1000));
	ck_assert_double_eq(f.last_retry_s, 4);
	ck_assert_int_eq(f.last_attempt, 2);
	fixture_close(&f);
}
END_TEST

/* C-58 */
START_TEST(the_next_url_of_a_list_is_tried_at_once)
{
	struct fixture f;
	char list[600];

	if (!fixture_url())
		return;
	snprintf(list, sizeof(list), "amqp://127.0.0.1:1//;%s", fixture_url());
	fixture_init(&f, list);
	fixture_open(&f);
	fixture_consume(&f, fixture_queue("failover"), NULL);
	broker_start(f.broker);
	ck_assert(fixture_wait(&f, &f.ups, 1, 1500));
	ck_assert_uint_eq(f.downs, 1);
	ck_assert_double_eq(f.last_retry_s, 0);
	fixture_close(&f);
}
END_TEST

START_TEST(without_retries_the_first_failure_is_the_last)
{
	struct fixture f;

	fixture_init(&f, "amqp://127.0.0.1:1//");
	f.options.retry_on_startup = false;
	fixture_open(&f);
	broker_start(f.broker);
	ck_assert(fixture_wait(&f, &f.downs, 1, 3000));
	ck_assert_double_lt(f.last_retry_s, 0);
	fixture_close(&f);
}
END_TEST

START_TEST(a_name_that_does_not_resolve_is_an_error_of_its_own) /* timeout 30 */
{
	struct fixture f;

	down_with(&f, "amqp://no-such-host.invalid//");
	ck_assert_ptr_nonnull(strstr(f.last_down.text, "no-such-host.invalid"));
	fixture_close(&f);
}
END_TEST

START_TEST(closing_while_connecting_is_quick)
{
	struct fixture f;

	fixture_init(&f, "amqp://10.255.255.1//"); /* swallows packets */
	fixture_open(&f);
	broker_start(f.broker);
	fixture_run(&f, 100);
	fixture_close(&f);
	ck_assert_uint_eq(f.closed, 1);
}
END_TEST

/* C-64 */
START_TEST(a_server_that_never_answers_is_given_up) /* timeout 30 */
{
	struct fixture f;
	char url[64];
	int fd = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(fd, 4), 0);
	ck_assert_int_eq(getsockname(fd, (struct sockaddr *)&address, &len), 0);
	snprintf(url, sizeof(url), "amqp://127.0.0.1:%d//", ntohs(address.sin_port));
	down_with(&f, url);
	ck_assert_int_eq(f.last_down.code, ERR_TIMEOUT);
	close(fd);
	fixture_close(&f);
}
END_TEST

static void refused_with(const char *url, const char *text)
{
	struct fixture f;
	struct err err = {0};

	fixture_init(&f, url);
	ck_assert_ptr_null(broker_open(&f.options, &err));
	ck_assert_msg(strstr(err.text, text) != NULL, "%s: %s", url, err.text);
	fixture_close(&f);
}

START_TEST(other_schemes_are_refused_with_what_to_use)
{
	refused_with("sqla+sqlite:///x.db", "filesystem://");
	refused_with("memory://", "filesystem://");
	refused_with("SQS://key@", "use amqps://");
	refused_with("amqps://h?ssl_ca_certs=/nowhere", "TLS: ca_certs /nowhere: No such file");
	refused_with("amqp://h;amqps://h?ssl_cert_reqs=7", "ssl_cert_reqs: use required");
	refused_with("ampq://h", "unknown broker scheme ampq://");
	refused_with("a.b://h", "Invalid transport scheme: 'a.b'");
	refused_with("", "empty");
	refused_with("amqp://h;redis://h", "fail-over");
	refused_with("amqp://h?heartbeat=x", "heartbeat");
	refused_with("amqp://u:p#w@h/v", "percent-encoded");
}
END_TEST

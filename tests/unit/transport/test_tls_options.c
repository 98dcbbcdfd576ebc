#include <check.h>
#include <openssl/ssl.h>
#include <string.h>

#include "base/mem.h"
#include "transport/tls_options.h"

static int read_with(struct tls_options *o, const char *setting, const char *text, struct err *err)
{
	struct url url;
	int rc;

	*o = (struct tls_options){0};
	ck_assert_int_eq(url_parse(&url, text, err), 0);
	rc = tls_options_read(o, TLS_FOR_REDIS_BROKER, setting, &url, err);
	url_clear(&url);
	return rc;
}

static void taken(struct tls_options *o, const char *setting, const char *url)
{
	struct err err = {0};

	ck_assert_msg(read_with(o, setting, url, &err) == 0, "%s %s: %s", setting, url, err.text);
}

START_TEST(nothing_true_and_false_are_told_apart)
{
	struct tls_options o;

	taken(&o, NULL, "amqp://h");
	ck_assert(!o.is_wanted && !o.is_bare);
	taken(&o, "false", "amqp://h");
	ck_assert(!o.is_wanted);
	taken(&o, "{}", "amqp://h");
	ck_assert(!o.is_wanted);
	taken(&o, "true", "amqp://h");
	ck_assert(o.is_wanted && o.is_bare && o.verify == TLS_VERIFY_UNSAID);
}
END_TEST

/* Names of py-amqp and of redis-py, and both in each other's place */
START_TEST(a_mapping_is_read_as_celery_writes_it)
{
	struct tls_options o;

	taken(&o,
	      "{\"keyfile\": \"/k\", \"certfile\": \"/c\", \"ca_certs\": \"/a\", "
	      "\"cert_reqs\": 2, \"server_hostname\": \"mq\", \"ciphers\": \"HIGH\", "
	      "\"do_handshake_on_connect\": true, \"server_side\": false, "
	      "\"ssl_version\": null, \"tls_minimum_version\": \"TLSv1_3\"}",
	      "amqp://h");
	ck_assert(o.is_wanted && !o.is_bare);
	ck_assert_str_eq(o.key_file, "/k");
	ck_assert_str_eq(o.cert_file, "/c");
	ck_assert_str_eq(o.ca_file, "/a");
	ck_assert_str_eq(o.server_name, "mq");
	ck_assert_str_eq(o.ciphers, "HIGH");
	ck_assert_int_eq(o.verify, TLS_VERIFY_REQUIRED);
	ck_assert_int_eq(o.min_version, TLS1_3_VERSION);
	tls_options_clear(&o);
	taken(&o,
	      "{\"ssl_keyfile\": \"/k\", \"ssl_certfile\": \"/c\", \"ssl_ca_path\": \"/d\", "
	      "\"ssl_cert_reqs\": \"CERT_NONE\", \"ssl_check_hostname\": false, "
	      "\"ssl_password\": \"p\", \"ssl_ca_data\": \"PEM\"}",
	      "redis://h");
	ck_assert_str_eq(o.key_file, "/k");
	ck_assert_str_eq(o.ca_dir, "/d");
	ck_assert_str_eq(o.ca_text, "PEM");
	ck_assert_str_eq(o.key_password, "p");
	ck_assert_int_eq(o.verify, TLS_VERIFY_NONE);
	ck_assert(o.is_any_name);
	tls_options_clear(&o);
	taken(&o,
	      "{\"context\": {\"cafile\": \"/a\", \"check_hostname\": false}, "
	      "\"server_hostname\": null}",
	      "amqp://h");
	ck_assert_str_eq(o.ca_file, "/a");
	ck_assert(o.is_any_name && o.server_name == NULL);
	tls_options_clear(&o);
}
END_TEST

START_TEST(each_form_of_cert_reqs_is_understood)
{
	static const struct {
		const char *text;
		enum tls_verify verify;
	} rows[] = {
		{"required", TLS_VERIFY_REQUIRED},
		{"optional", TLS_VERIFY_REQUIRED},
		{"none", TLS_VERIFY_NONE},
		{"CERT_REQUIRED", TLS_VERIFY_REQUIRED},
		{"CERT_OPTIONAL", TLS_VERIFY_REQUIRED},
		{"CERT_NONE", TLS_VERIFY_NONE},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		auto_free char *url = mem_printf("rediss://h?ssl_cert_reqs=%s", rows[i].text);
		struct tls_options o;

		taken(&o, NULL, url);
		ck_assert_int_eq(o.verify, rows[i].verify);
		ck_assert(o.is_wanted && !o.is_bare);
		tls_options_clear(&o);
	}
}
END_TEST

START_TEST(a_url_replaces_the_setting_whole)
{
	struct tls_options o;

	taken(&o, "{\"ssl_cert_reqs\": \"none\", \"ssl_certfile\": \"/c\"}",
	      "rediss://h:6380/1?ssl_ca_certs=%2Fetc%2Fca.pem&ssl_check_hostname=False");
	ck_assert_str_eq(o.ca_file, "/etc/ca.pem");
	ck_assert_int_eq(o.verify, TLS_VERIFY_UNSAID);
	ck_assert_ptr_null(o.cert_file);
	ck_assert(o.is_any_name);
	tls_options_clear(&o);
	taken(&o, "{\"ssl_cert_reqs\": \"none\"}", "rediss://h?virtual_host=3");
	ck_assert_int_eq(o.verify, TLS_VERIFY_NONE);
	tls_options_clear(&o);
}
END_TEST

static void decided(enum tls_use use, const char *setting, const char *text, int want,
		    enum tls_verify verify, const char *words)
{
	struct tls_options o = {0};
	struct err err = {0};
	struct url url;

	ck_assert_int_eq(url_parse(&url, text, &err), 0);
	ck_assert_msg(tls_options_decide(&o, use, setting, &url, &err) == want, "%s %s: %s", text,
		      setting ? setting : "", err.text);
	if (want > 0)
		ck_assert_msg(o.verify == verify, "%s", text);
	if (want < 0)
		ck_assert_msg(strstr(err.text, words) != NULL, "'%s' has no '%s'", err.text, words);
	else
		ck_assert_int_eq(o.is_lax, words != NULL);
	url_clear(&url);
	tls_options_clear(&o);
}

START_TEST(amqp_has_tls_by_its_scheme_or_the_setting)
{
	enum tls_verify yes = TLS_VERIFY_REQUIRED, no = TLS_VERIFY_NONE;

	decided(TLS_FOR_AMQP, NULL, "amqp://h", 0, 0, NULL);
	decided(TLS_FOR_AMQP, "false", "amqp://h", 0, 0, NULL);
	decided(TLS_FOR_AMQP, NULL, "amqps://h", 1, yes, NULL);
	decided(TLS_FOR_AMQP, "false", "amqps://h", 1, yes, NULL);
	decided(TLS_FOR_AMQP, "true", "amqp://h", 1, yes, NULL);
	decided(TLS_FOR_AMQP, "{\"cert_reqs\": 0}", "amqp://h", 1, no, NULL);
	decided(TLS_FOR_AMQP, "{\"cert_reqs\": 0}", "amqp://h?ssl_ca_certs=x", 1, yes, NULL);
}
END_TEST

START_TEST(a_redis_broker_is_verified_when_somebody_says_so)
{
	enum tls_verify yes = TLS_VERIFY_REQUIRED, no = TLS_VERIFY_NONE;

	decided(TLS_FOR_REDIS_BROKER, NULL, "redis://h", 0, 0, NULL);
	decided(TLS_FOR_REDIS_BROKER, NULL, "rediss://h", 1, no, "lax");
	decided(TLS_FOR_REDIS_BROKER, "true", "rediss://h", 1, yes, NULL);
	decided(TLS_FOR_REDIS_BROKER, "true", "redis://h", -1, 0, "write rediss://, or a mapping");
	decided(TLS_FOR_REDIS_BROKER, NULL, "rediss://h?ssl_ca_certs=x", 1, yes, NULL);
	decided(TLS_FOR_REDIS_BROKER, NULL, "redis://h?ssl_ca_certs=x", 1, yes, NULL);
	decided(TLS_FOR_REDIS_BROKER, NULL, "rediss://h?ssl_cert_reqs=none", 1, no, NULL);
	decided(TLS_FOR_REDIS_BROKER, "{\"ssl_certfile\": \"c\"}", "redis://h", 1, yes, NULL);
}
END_TEST

START_TEST(a_redis_backend_must_be_told_whether_to_verify)
{
	enum tls_verify yes = TLS_VERIFY_REQUIRED, no = TLS_VERIFY_NONE;

	decided(TLS_FOR_REDIS_BACKEND, NULL, "redis://h", 0, 0, NULL);
	decided(TLS_FOR_REDIS_BACKEND, NULL, "rediss://h", -1, 0, "ssl_cert_reqs is missing");
	decided(TLS_FOR_REDIS_BACKEND, "true", "rediss://h", -1, 0, "ssl_cert_reqs is missing");
	decided(TLS_FOR_REDIS_BACKEND, NULL, "rediss://h?ssl_cert_reqs=required", 1, yes, NULL);
	decided(TLS_FOR_REDIS_BACKEND, NULL, "rediss://h?ssl_cert_reqs=CERT_NONE", 1, no, NULL);
	decided(TLS_FOR_REDIS_BACKEND, NULL, "redis://h?ssl_cert_reqs=none", -1, 0, "rediss://");
	decided(TLS_FOR_REDIS_BACKEND, "{\"ssl_cert_reqs\": 0}", "redis://h", 1, no, NULL);
	decided(TLS_FOR_REDIS_BACKEND, "{\"ssl_cert_reqs\": 2}", "rediss://h?ssl_certfile=c", 1,
		yes, NULL);
}
END_TEST

START_TEST(what_cannot_be_meant_is_refused_with_its_name)
{
	static const struct {
		const char *setting, *words;
	} rows[] = {
		{"{\"cert_reqs\": \"maybe\"}", "cert_reqs: use required, optional or none"},
		{"{\"cert_reqs\": 3}", "cert_reqs: use"},
		{"{\"ca_certs\": 7}", "ca_certs: a text is wanted"},
		{"{\"ca_cert\": \"/a\"}", "ca_cert is no option of TLS; known are cert_reqs"},
		{"{\"keyfile\": \"/k\"}", "a keyfile needs its certfile"},
		{"{\"server_side\": true}", "server_side: only false"},
		{"{\"ssl_validate_ocsp\": true}", "ssl_validate_ocsp: only false"},
		{"{\"ssl_min_version\": \"TLSv1\"}", "use TLSv1_2 or TLSv1_3"},
		{"{\"ssl_version\": \"PROTOCOL_TLSv1\"}", "use tls_minimum_version"},
		{"{\"context\": {\"purpose\": 1}}", "context: purpose is no option"},
		{"{\"check_hostname\": 1}", "check_hostname: use true or false"},
		{"{\"tls_minimum_version\": 1.3, \"tls_maximum_version\": 1.2}", "is above"},
		{"[]", "use true, false or a mapping"},
		{"yes please", "use true, false or a mapping"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct tls_options o;
		struct err err = {0};

		ck_assert_msg(read_with(&o, rows[i].setting, "amqp://h", &err) != 0, "%s",
			      rows[i].setting);
		ck_assert_msg(strstr(err.text, rows[i].words) != NULL, "'%s' has no '%s'", err.text,
			      rows[i].words);
		tls_options_clear(&o);
	}
}
END_TEST

START_TEST(a_description_holds_no_secret)
{
	struct tls_options o;
	auto_str text = STR_INIT(500);

	taken(&o,
	      "{\"ca_certs\": \"/a\", \"certfile\": \"/c\", \"password\": \"hush\", "
	      "\"check_hostname\": false}",
	      "amqp://h");
	tls_options_describe(&o, &text);
	ck_assert_str_eq(text.data, "TLS, certificate verified by /a, for any host, client "
				    "certificate /c");
	tls_options_clear(&o);
}
END_TEST

#include <check.h>
#include <string.h>

#include "protocol/pyjson.h"
#include "worker/control/mask.h"

static void expect(const char *name, const char *value, const char *shown)
{
	json_t *json = pyjson_load(value, strlen(value), NULL);
	json_t *masked = mask_setting(name, json);
	auto_str text = STR_INIT(4096);

	pyjson_dump(&text, masked);
	ck_assert_msg(strcmp(text.data, shown) == 0, "%s: %s, not %s", name, text.data, shown);
	json_decref(json);
	json_decref(masked);
}

/* C-19: the right-hand column is Celery's. */
START_TEST(names_that_sound_secret_hide_their_value)
{
	expect("email_password", "\"x\"", "\"********\"");
	expect("security_key", "null", "\"********\"");
	expect("task_default_routing_key", "\"celery\"", "\"********\"");
	expect("Api_Url", "5", "\"********\"");
	expect("database_url", "\"x\"", "\"********\"");
	expect("timezone", "\"UTC\"", "\"UTC\"");
	expect("worker_concurrency", "4", "4");
}
END_TEST

START_TEST(mappings_are_searched_even_under_a_secret_name)
{
	expect("broker_transport_options", "{\"password\": \"x\", \"visibility_timeout\": 5}",
	       "{\"password\": \"********\", \"visibility_timeout\": 5}");
	expect("my_keys", "{\"a\": {\"token\": 1, \"b\": 2}}",
	       "{\"a\": {\"token\": \"********\", \"b\": 2}}");
}
END_TEST

/* C-69 */
START_TEST(broker_urls_lose_their_password_and_their_alternatives)
{
	expect("broker_url", "\"amqp://guest:secret@h:5673//\"",
	       "\"amqp://guest:********@h:5673//\"");
	expect("broker_url", "\"amqp://\"", "\"amqp://guest:********@localhost:5672//\"");
	expect("broker_url", "\"amqp://a:b@h1/v;amqp://c:d@h2/w\"",
	       "\"amqp://a:********@h1:5672/v\"");
	expect("broker_read_url", "\"amqp://a:p%40ss@h1/v\"", "\"amqp://a:********@h1:5672/v\"");
	expect("broker_write_url", "\"::nonsense://a:b@\"", "\"********\"");
	expect("broker_url", "null", "null");
}
END_TEST

START_TEST(result_stores_are_shown_without_passwords)
{
	expect("result_backend", "\"redis://:secret@localhost:6379/0\"",
	       "\"redis://:********@localhost:6379/0\"");
	expect("result_backend", "\"redis://me:se@cret;x@h/1\"", "\"redis://me:********@h/1\"");
	expect("result_backend", "\"sentinel://:a@h1:1;sentinel://:b@h2:2\"",
	       "\"sentinel://:********@h1:1;sentinel://:********@h2:2\"");
	expect("result_backend", "\"redis://me:a/b@h/1\"", "\"redis://me:********@h/1\"");
	expect("result_backend", "\"redis://h/1\"", "\"redis://h/1\"");
	expect("result_backend", "\"rediss://h/1?ssl_password=abc&ssl_keyfile=/k\"",
	       "\"rediss://h/1?ssl_password=********&ssl_keyfile=/k\"");
	expect("result_backend", "\"rediss://:p@h/1?x=1&ssl_password=abc\"",
	       "\"rediss://:********@h/1?x=1&ssl_password=********\"");
	expect("result_backend", "\"disabled\"", "\"disabled\"");
	expect("result_backend", "null", "null");
}
END_TEST

START_TEST(a_broker_url_is_read_with_kombus_defaults)
{
	struct broker_info info;

	ck_assert(broker_info_read(&info, "amqps://u@h"));
	ck_assert_str_eq(info.userid, "u");
	ck_assert_str_eq(info.virtual_host, "/");
	ck_assert_int_eq(info.port, 5671);
	ck_assert(info.is_tls);
	broker_info_clear(&info);
	ck_assert(broker_info_read(&info, "filesystem://"));
	ck_assert_str_eq(info.hostname, "localhost");
	ck_assert_ptr_null(info.userid);
	ck_assert_int_eq(info.port, 0);
	broker_info_clear(&info);
	ck_assert(broker_info_read(&info, "rediss://h/3?ssl_cert_reqs=none"));
	ck_assert_int_eq(info.port, 6379);
	ck_assert_str_eq(info.virtual_host, "3");
	broker_info_clear(&info);
	expect("broker_url", "\"rediss://:p@h/1?ssl_password=p\"",
	       "\"rediss://:********@h:6379/1\"");
	expect("broker_url", "\"redis://h\"", "\"redis://:********@h:6379//\"");
}
END_TEST

/* Compared with kombu's Connection(...).info() */
START_TEST(what_is_said_of_tls_is_shown_as_kombu_shows_it)
{
	static const struct {
		const char *url, *setting, *want;
	} rows[] = {
		{"redis://h/1", NULL, "false"},
		{"redis://h/1", "false", "false"},
		{"amqp://h", "false", "false"},
		{"amqps://h", "false", "true"},
		{"amqp://h", "true", "true"},
		{"amqps://h", "{\"ca_certs\": \"x\", \"password\": \"p\"}",
		 "{\"ca_certs\": \"x\", \"password\": \"********\"}"},
		{"rediss://h", NULL, "{\"ssl_cert_reqs\": 0}"},
		{"redis://h", "{\"ssl_cert_reqs\": 2}", "{\"ssl_cert_reqs\": 2}"},
		{"rediss://h?ssl_cert_reqs=required&ssl_ca_certs=/a", "{\"ssl_cert_reqs\": 0}",
		 "{\"ssl_ca_certs\": \"/a\", \"ssl_cert_reqs\": 2}"},
		{"rediss://h?ssl_check_hostname=False&ssl_cert_reqs=none", NULL,
		 "{\"ssl_cert_reqs\": 0, \"ssl_check_hostname\": false}"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		json_t *shown = broker_info_tls(rows[i].url, rows[i].setting);
		char *text = json_dumps(shown, JSON_ENCODE_ANY | JSON_SORT_KEYS);

		ck_assert_str_eq(text, rows[i].want);
		free(text);
		json_decref(shown);
	}
}
END_TEST

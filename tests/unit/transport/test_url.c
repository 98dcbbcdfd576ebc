#include <check.h>
#include <stdlib.h>

#include "base/mem.h"
#include "transport/url.h"

/* Each row was checked against kombu 5.7.0: url_to_parts(), and Connection(url).info() for what the
 * amqp driver fills in (host localhost, port 5672, guest/guest, vhost "/"). */
static const struct {
	const char *text;
	const char *scheme, *host;
	int port;
	const char *user, *password, *path;
} good[] = {
	{"amqp://", "amqp", NULL, 0, NULL, NULL, ""},
	{"amqp://h", "amqp", "h", 0, NULL, NULL, ""},
	{"amqp://h/", "amqp", "h", 0, NULL, NULL, ""},
	{"amqp://h//", "amqp", "h", 0, NULL, NULL, "/"},
	{"amqp://h/%2f", "amqp", "h", 0, NULL, NULL, "/"},
	{"amqp://h/v", "amqp", "h", 0, NULL, NULL, "v"},
	{"amqp://h//v", "amqp", "h", 0, NULL, NULL, "/v"},
	{"amqp://h/v/w", "amqp", "h", 0, NULL, NULL, "v/w"},
	{"amqp:///v", "amqp", NULL, 0, NULL, NULL, "v"},
	{"amqp://h/a+b", "amqp", "h", 0, NULL, NULL, "a+b"},
	{"amqp://h/v#fragment", "amqp", "h", 0, NULL, NULL, "v"},
	{"amqp://u@h/v", "amqp", "h", 0, "u", NULL, "v"},
	{"amqp://:p@h", "amqp", "h", 0, NULL, "p", ""},
	{"amqp://u:@h", "amqp", "h", 0, "u", NULL, ""},
	{"amqp://u:p%40ss@h", "amqp", "h", 0, "u", "p@ss", ""},
	{"amqp://u:p@ss@h/v", "amqp", "h", 0, "u", "p@ss", "v"},
	{"amqp://u:a:b@h/v", "amqp", "h", 0, "u", "a:b", "v"},
	{"amqp://u:p+w@h", "amqp", "h", 0, "u", "p+w", ""},
	{"amqp://u%3Ax:p%2Fss@h:5673/v%20x", "amqp", "h", 5673, "u:x", "p/ss", "v x"},
	{"amqp://user%:p@h", "amqp", "h", 0, "user%", "p", ""},
	{"amqp://guest:guest@localhost:5672//", "amqp", "localhost", 5672, "guest", "guest", "/"},
	{"amqp://h:/v", "amqp", "h", 0, NULL, NULL, "v"},
	{"amqp://[::1]:5673/v", "amqp", "::1", 5673, NULL, NULL, "v"},
	{"amqp://[::1]", "amqp", "::1", 0, NULL, NULL, ""},
	{"AMQP://H.Example/V", "amqp", "h.example", 0, NULL, NULL, "V"},
	{"amqps://h", "amqps", "h", 0, NULL, NULL, ""},
	{"pyamqp://", "pyamqp", NULL, 0, NULL, NULL, ""},
	{"h", "amqp", "h", 0, NULL, NULL, ""},
	{"h:5673", "amqp", "h:5673", 0, NULL, NULL, ""},
	{"redis://:pw@h:1/0", "redis", "h", 1, NULL, "pw", "0"},
	{"redis+socket:///tmp/x.sock?virtual_host=2", "redis+socket", NULL, 0, NULL, NULL,
	 "tmp/x.sock"},
	{"filesystem:///tmp/x", "filesystem", NULL, 0, NULL, NULL, "tmp/x"},
};

static void same(const char *text, const char *what, const char *got, const char *want)
{
	ck_assert_msg(!got == !want && (!got || strcmp(got, want) == 0), "%s: %s is %s, not %s",
		      text, what, got ? got : "NULL", want ? want : "NULL");
}

/* C-57 */
START_TEST(urls_are_read_as_kombu_reads_them)
{
	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		struct err err = {0};
		struct url url;
		ck_assert_msg(url_parse(&url, good[i].text, &err) == 0, "%s: %s", good[i].text,
			      err.text);
		same(good[i].text, "scheme", url.scheme, good[i].scheme);
		same(good[i].text, "host", url.host, good[i].host);
		same(good[i].text, "user", url.user, good[i].user);
		same(good[i].text, "password", url.password, good[i].password);
		same(good[i].text, "path", url.path, good[i].path);
		ck_assert_int_eq(url.port, good[i].port);
		url_clear(&url);
	}
}
END_TEST

/* C-57 */
START_TEST(bad_urls_are_refused_without_showing_secrets)
{
	static const char *const bad[][2] = {
		{"a.b://h", "Invalid transport scheme: 'a.b'"},
		{"x:y+z://h", "Invalid transport scheme: 'x:y'"},
		{"://h", "Invalid transport scheme"},
		{"amqp://h:99999", "port out of range"},
		{"amqp://h:abc", "no number"},
		{"amqp://u:secret#w@h/v", "percent-encoded"},
		{"amqp://[::1/v", "']'"},
		{"amqp://[::1]x/v", "']'"},
		{"amqp://h/a%00b", "%00"},
		{"amqp://h/a\nb", "control character"},
	};

	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		struct err err = {0};
		struct url url;
		ck_assert_msg(url_parse(&url, bad[i][0], &err) != 0, "%s", bad[i][0]);
		ck_assert_msg(strstr(err.text, bad[i][1]) != NULL, "%s: %s", bad[i][0], err.text);
		ck_assert_ptr_null(strstr(err.text, "secret"));
		ck_assert_ptr_null(url.scheme);
	}
}
END_TEST

START_TEST(query_parameters_are_decoded_and_the_last_one_counts)
{
	struct url url;

	ck_assert_int_eq(url_parse(&url, "redis://h?x=a%26b&x=c&y=1+2&z=&w#f", NULL), 0);
	auto_free char *x = url_query(&url, "x");
	auto_free char *y = url_query(&url, "y");
	ck_assert_str_eq(x, "c");
	ck_assert_str_eq(y, "1 2");
	ck_assert_ptr_null(url_query(&url, "z"));
	ck_assert_ptr_null(url_query(&url, "w"));
	ck_assert_ptr_null(url_query(&url, "f"));
	url_clear(&url);
}
END_TEST

START_TEST(passwords_and_queries_are_not_shown)
{
	static const char *const rows[][2] = {
		{"amqp://u%3Ax:secret@h:5673/v%20x?password=secret",
		 "amqp://u%3Ax:**@h:5673/v%20x"},
		{"amqp://guest:guest@localhost:5672//", "amqp://guest:**@localhost:5672//"},
		{"redis://:secret@h/0", "redis://:**@h/0"},
		{"redis://h/a/b", "redis://h/a/b"},
		{"amqp://u@[::1]:1/v", "amqp://u@[::1]:1/v"},
		{"redis://me:12/secret@h/1", "redis://me:12/**@h/1"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct url url;
		auto_str out;
		str_init(&out, 1000);
		ck_assert_int_eq(url_parse(&url, rows[i][0], NULL), 0);
		ck_assert_int_eq(url_format_redacted(&out, &url), 0);
		ck_assert_str_eq(out.data, rows[i][1]);
		url_clear(&url);
	}
}
END_TEST

/* C-58 */
START_TEST(a_list_is_split_at_semicolons)
{
	auto_free char *a = url_list_item("amqp://a; amqp://b ;;amqp://c;", 0);
	auto_free char *b = url_list_item("amqp://a; amqp://b ;;amqp://c;", 1);
	auto_free char *c = url_list_item("amqp://a; amqp://b ;;amqp://c;", 2);

	ck_assert_str_eq(a, "amqp://a");
	ck_assert_str_eq(b, "amqp://b");
	ck_assert_str_eq(c, "amqp://c");
	ck_assert_ptr_null(url_list_item("amqp://a; amqp://b ;;amqp://c;", 3));
	ck_assert_ptr_null(url_list_item(" ; ", 0));
}
END_TEST

/* Mails as bytes. The plug-in's files are compiled in: a plug-in links only the host's API. */
#include "tasks/email/address.c"
#include "tasks/email/buf.c"
#include "tasks/email/encode.c"
#include "tasks/email/header.c"
#include "tasks/email/message.c"
#include "tasks/email/money.c"

#include <check.h>

static struct mail_message m;
static struct fault fault;
static char *id;
static struct buf out;

static void begin(const char *to)
{
	mail_message_clear(&m);
	m = (struct mail_message){.subject = "Hi", .text = "Hello\n", .task_id = "1234-ab"};
	m.date = 1795268154; /* 2026-11-21 13:35:54 UTC */
	free(id);
	id = NULL;
	buf_clear(&out);
	fault.text[0] = '\0';
	ck_assert_int_eq(address_list_add(&m.from, "from", "Shop <shop@example.com>", &fault), 0);
	if (to)
		ck_assert_int_eq(address_list_add(&m.to, "to", to, &fault), 0);
}

static const char *build(void)
{
	buf_clear(&out);
	free(id);
	id = NULL;
	return mail_message_build(&out, &m, &id, &fault) < 0 ? fault.text : out.data;
}

/* The rules of every mail: CRLF only, no line above 78 columns but raw text's, ASCII. */
static void check_lines(const char *text)
{
	size_t line = 0;

	for (const char *p = text; *p; p++) {
		ck_assert_msg((unsigned char)*p < 0x80, "not ASCII: %s", text);
		if (*p == '\r')
			ck_assert_int_eq(p[1], '\n');
		if (*p == '\n')
			ck_assert_int_eq(p[-1], '\r');
		line = *p == '\n' ? 0 : line + 1;
		ck_assert_msg(line <= 79, "long line: %s", text);
	}
}

static const char *try_address(const char *text)
{
	struct address_list list = {0};
	static char spec[400];

	fault.text[0] = '\0';
	if (address_list_add(&list, "to", text, &fault) < 0) {
		address_list_clear(&list);
		return fault.text;
	}
	snprintf(spec, sizeof(spec), "%s|%s", list.items[0].name ? list.items[0].name : "",
		 list.items[0].spec);
	address_list_clear(&list);
	return spec;
}

START_TEST(a_field_has_at_most_a_thousand_addresses)
{
	struct address_list list = {0};

	for (unsigned i = 0; i < ADDRESS_MAX_COUNT; i++)
		ck_assert_int_eq(address_list_add(&list, "to", "a@b.c", &fault), 0);
	ck_assert_int_eq(address_list_add(&list, "to", "a@b.c", &fault), -1);
	ck_assert_ptr_nonnull(strstr(fault.text, "more than 1000 addresses"));
	address_list_clear(&list);
}
END_TEST

START_TEST(a_plain_mail_is_exactly_this)
{
	begin("a@b.example");
	ck_assert_str_eq(build(), "From: Shop <shop@example.com>\r\n"
				  "To: a@b.example\r\n"
				  "Subject: Hi\r\n"
				  "Date: Sat, 21 Nov 2026 13:35:54 +0000\r\n"
				  "Message-ID: <1234-ab@example.com>\r\n"
				  "MIME-Version: 1.0\r\n"
				  "Content-Type: text/plain; charset=\"utf-8\"\r\n"
				  "Content-Transfer-Encoding: 7bit\r\n"
				  "\r\n"
				  "Hello\r\n");
	ck_assert_str_eq(id, "<1234-ab@example.com>");
}
END_TEST

START_TEST(text_and_html_become_alternatives)
{
	begin("a@b.example");
	m.html = "<p>H\xc3\xa9llo</p>";
	build();
	check_lines(out.data);
	ck_assert_ptr_nonnull(strstr(out.data, "multipart/alternative; boundary=\"=_part_0_=\""));
	ck_assert_ptr_nonnull(strstr(out.data, "\r\n--=_part_0_=\r\nContent-Type: text/plain"));
	ck_assert_ptr_nonnull(strstr(out.data, "\r\n--=_part_0_=\r\nContent-Type: text/html"));
	ck_assert_ptr_nonnull(strstr(out.data, "<p>H=C3=A9llo</p>\r\n--=_part_0_=--\r\n"));
	ck_assert(strstr(out.data, "text/plain") < strstr(out.data, "text/html"));
}
END_TEST

START_TEST(the_boundary_is_not_in_the_text)
{
	begin("a@b.example");
	m.text = "--=_part_0_=\n--=_part_1_=--\n";
	m.html = "<p>x</p>";
	build();
	/* '=' alone forces no encoding, so the text is there as it is. */
	ck_assert_ptr_nonnull(strstr(out.data, "boundary=\"=_part_2_=\""));
}
END_TEST

START_TEST(bcc_is_nowhere_in_the_mail)
{
	begin("a@b.example");
	ck_assert_int_eq(address_list_add(&m.bcc, "bcc", "hidden@b.example", &fault), 0);
	ck_assert_int_eq(address_list_add(&m.cc, "cc", "seen@b.example", &fault), 0);
	build();
	ck_assert_ptr_null(strstr(out.data, "hidden"));
	ck_assert_ptr_nonnull(strstr(out.data, "\r\nCc: seen@b.example\r\n"));
}
END_TEST

START_TEST(encoded_words_are_short_and_whole)
{
	char subject[900] = "";

	begin("a@b.example");
	for (int i = 0; i < 100; i++)
		strncat(subject, "\xf0\x9f\x98\x80\xc3\xa4", sizeof(subject) - strlen(subject) - 1);
	m.subject = subject;
	build();
	check_lines(out.data);
	for (const char *p = strstr(out.data, "=?"); p; p = strstr(p, "=?")) {
		const char *end = strstr(p + 10, "?=");

		ck_assert_ptr_nonnull(end);
		ck_assert_int_le(end + 2 - p, 75);
		/* Base64 of whole characters: decoding the first bytes gives a lead byte. */
		ck_assert_int_eq(memcmp(p, "=?utf-8?b?", 10), 0);
		ck_assert_msg(p[10] == '8' || p[10] == 'w', "split character: %.20s", p);
		p = end;
	}
}
END_TEST

START_TEST(mostly_ascii_is_written_readably)
{
	begin("a@b.example");
	m.subject = "Caf\xc3\xa9 is open";
	ck_assert_ptr_nonnull(strstr(build(), "Subject: =?utf-8?q?Caf=C3=A9_is_open?=\r\n"));
}
END_TEST

START_TEST(long_ascii_subjects_fold_at_spaces)
{
	begin("a@b.example");
	m.subject = "one two three four five six seven eight nine ten eleven twelve thirteen "
		    "fourteen fifteen sixteen";
	build();
	check_lines(out.data);
	ck_assert_ptr_nonnull(strstr(out.data, "twelve\r\n thirteen fourteen"));
}
END_TEST

START_TEST(subjects_that_folding_would_change_are_encoded)
{
	static const char *const odd[] = {"a  b", " a", "a ", "=?utf-8?q?x?=", NULL};

	for (size_t i = 0; odd[i]; i++) {
		begin("a@b.example");
		m.subject = odd[i];
		ck_assert_ptr_nonnull(strstr(build(), "Subject: =?utf-8?"));
	}
	begin("a@b.example");
	m.subject = "";
	ck_assert_ptr_nonnull(strstr(build(), "\r\nSubject: \r\n"));
}
END_TEST

START_TEST(control_characters_are_refused_in_every_field)
{
	static const char *const bad[] = {"a\r\nBcc: x@y.z",
					  "a\nb",
					  "a\rb",
					  "a\tb",
					  "a\x7f"
					  "b",
					  "a\x01",
					  "\xc2\x85",
					  "\xe2\x80\xa8",
					  NULL};

	for (size_t i = 0; bad[i]; i++) {
		struct address_list list = {0};
		json_t *headers = json_object();

		begin("a@b.example");
		m.subject = bad[i];
		ck_assert_msg(strncmp(build(), "subject: control", 16) == 0, "%s", fault.text);
		m.subject = "ok";
		json_object_set_new(headers, "X-Tag", json_string(bad[i]));
		m.headers = headers;
		ck_assert_msg(strncmp(build(), "X-Tag: control", 14) == 0, "%s", fault.text);
		m.headers = NULL;
		json_decref(headers);
		ck_assert_int_eq(address_list_add_named(&list, "to", bad[i], "a@b.c", &fault), -1);
		ck_assert_int_eq(address_list_add_named(&list, "to", NULL, bad[i], &fault), -1);
		ck_assert_int_eq(address_list_add(&list, "to", bad[i], &fault), -1);
		ck_assert_uint_eq(list.count, 0);
	}
}
END_TEST

START_TEST(a_nul_in_a_json_address_is_refused)
{
	struct address_list list = {0};
	json_t *value = json_stringn("a@b.c\0x", 7);

	ck_assert_int_eq(address_list_add_json(&list, "to", value, &fault), -1);
	json_decref(value);
}
END_TEST

START_TEST(own_header_fields_cannot_be_set)
{
	static const char *const bad[] = {"Bcc", "from", "Content-Type", "Message-Id", "X Y",
					  "X:Y", "",	 "X-\xc3\xa4",	 "Resent-To",  "X\r\n",
					  NULL};

	for (size_t i = 0; bad[i]; i++) {
		json_t *headers = json_object();

		json_object_set_new(headers, bad[i], json_string("v"));
		begin("a@b.example");
		m.headers = headers;
		ck_assert_msg(strncmp(build(), "headers:", 8) == 0, "%s: %s", bad[i], fault.text);
		m.headers = NULL;
		json_decref(headers);
	}
}
END_TEST

START_TEST(header_fields_of_the_caller_are_written)
{
	json_t *headers = json_pack("{s:s, s:s}", "List-Unsubscribe", "<https://x.example/u?t=1>",
				    "X-Name", "J\xc3\xbcrgen");

	begin("a@b.example");
	m.headers = headers;
	build();
	ck_assert_ptr_nonnull(
		strstr(out.data, "\r\nList-Unsubscribe: <https://x.example/u?t=1>\r\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "\r\nX-Name: =?utf-8?q?J=C3=BCrgen?=\r\n"));
	m.headers = NULL;
	json_decref(headers);
}
END_TEST

START_TEST(addresses_are_read_as_people_write_them)
{
	ck_assert_str_eq(try_address("a@b.c"), "|a@b.c");
	ck_assert_str_eq(try_address("  Ann B <a@b.c> "), "Ann B|a@b.c");
	ck_assert_str_eq(try_address("\"B, \\\"Ann\\\"\" <a@b.c>"), "B, \"Ann\"|a@b.c");
	ck_assert_str_eq(try_address("<a@b.c>"), "|a@b.c");
	ck_assert_str_eq(try_address("o'neil+tag@sub.b.c"), "|o'neil+tag@sub.b.c");
	ck_assert_str_eq(try_address("\"a b\"@b.c"), "|\"a b\"@b.c");
	ck_assert_str_eq(try_address("a@[127.0.0.1]"), "|a@[127.0.0.1]");
	ck_assert_str_eq(try_address("root@localhost"), "|root@localhost");
}
END_TEST

START_TEST(domains_become_a_labels)
{
	ck_assert_str_eq(try_address("a@b\xc3\xbc"
				     "cher.example"),
			 "|a@xn--bcher-kva.example");
	ck_assert_str_eq(try_address("a@B\xc3\x9c"
				     "CHER.example"),
			 "|a@xn--bcher-kva.example");
}
END_TEST

START_TEST(wrong_addresses_are_refused)
{
	static const char *const bad[] = {"",
					  "a",
					  "@b.c",
					  "a@",
					  "a b@c.d",
					  "a@b c",
					  "a@b@c",
					  "a@b..c",
					  "a@-b.c",
					  ".a@b.c",
					  "a.@b.c",
					  "a..b@c.d",
					  "a@b.c>",
					  "<a@b.c",
					  "a@b.c,",
					  ",a@b.c",
					  "a@b.c;d@e.f",
					  "a@b/c",
					  "a@b%41.c",
					  "\xc3\xa4@b.c",
					  "a@b.c x",
					  "\"a\"b\"@c.d",
					  "a<b@c.d>e",
					  "\xff@b.c",
					  NULL};

	for (size_t i = 0; bad[i]; i++) {
		try_address(bad[i]);
		ck_assert_msg(strncmp(fault.text, "to: ", 4) == 0, "accepted '%s'", bad[i]);
	}
}
END_TEST

START_TEST(an_error_shows_whole_characters_of_a_long_address)
{
	char spec[200] = "x", domain[200] = "a@b=";

	for (int i = 0; i < 60; i++) {
		snprintf(spec + strlen(spec), sizeof(spec) - strlen(spec), "\u00fc");
		snprintf(domain + strlen(domain), sizeof(domain) - strlen(domain), "\u65e5");
	}
	try_address(spec);
	ck_assert_ptr_nonnull(strstr(fault.text, "\u00fc' is not a mail address"));
	ck_assert_int_eq(text_check("fault", fault.text, strlen(fault.text), &fault), 0);
	try_address(domain);
	ck_assert_ptr_nonnull(strstr(fault.text, "\u65e5' is not a domain name"));
	ck_assert_int_eq(text_check("fault", fault.text, strlen(fault.text), &fault), 0);
}
END_TEST

START_TEST(addresses_have_limits)
{
	char text[400];

	memset(text, 'a', sizeof(text));
	memcpy(text + 65, "@b.c", 5);
	ck_assert_ptr_nonnull(strstr(try_address(text), "1 to 64"));
	memset(text, 'a', sizeof(text));
	memcpy(text, "x@", 2);
	text[70] = '\0';
	ck_assert_ptr_nonnull(strstr(try_address(text), "not a domain name"));
	for (int i = 2; i < 300; i++)
		text[i] = i % 50 == 0 ? '.' : 'a';
	memcpy(text + 300, ".c", 3);
	ck_assert_ptr_nonnull(strstr(try_address(text), "longer than 254"));
}
END_TEST

START_TEST(lists_come_as_string_or_json)
{
	struct address_list list = {0};
	json_t *value = json_pack("[s, s]", "Ann <a@b.c>, d@e.f", "g@h.i");

	ck_assert_int_eq(address_list_add_json(&list, "to", value, &fault), 0);
	ck_assert_uint_eq(list.count, 3);
	ck_assert_str_eq(list.items[2].spec, "g@h.i");
	ck_assert_int_eq(address_list_add_json(&list, "to", json_null(), &fault), 0);
	json_decref(value);
	value = json_pack("[i]", 5);
	ck_assert_int_eq(address_list_add_json(&list, "to", value, &fault), -1);
	ck_assert_str_eq(fault.text, "to: must be a string or a list of strings");
	json_decref(value);
	address_list_clear(&list);
}
END_TEST

START_TEST(display_names_are_quoted_or_encoded)
{
	begin("Ann <a@b.c>");
	address_list_add_named(&m.to, "to", "Miller, \"Bob\"", "b@b.c", &fault);
	address_list_add_named(&m.to, "to", "J\xc3\xbcrgen", "j@b.c", &fault);
	address_list_add_named(&m.to, "to", "=?x?q?y?=", "k@b.c", &fault);
	build();
	check_lines(out.data);
	ck_assert_ptr_nonnull(strstr(out.data, "To: Ann <a@b.c>, \"Miller, \\\"Bob\\\"\" <b@b.c>, "
					       "=?utf-8?q?J=C3=BCrgen?= <j@b.c>,\r\n "
					       "=?utf-8?b?PT94P3E/eT89?= <k@b.c>\r\n"));
}
END_TEST

START_TEST(a_mail_needs_recipients_and_a_body)
{
	begin(NULL);
	ck_assert_str_eq(build(), "to: no recipient");
	begin("a@b.c");
	m.text = NULL;
	ck_assert_str_eq(build(), "body: neither text nor HTML was given");
}
END_TEST

START_TEST(message_ids_are_safe_for_any_task_id)
{
	begin("a@b.c");
	m.task_id = "x y>\r\n@<";
	build();
	ck_assert_str_eq(id, "<x_20y_3e_0d_0a_40_3c@example.com>");
	m.task_id = "";
	build();
	ck_assert_str_eq(id, "<_cbf29ce484222325@example.com>");
}
END_TEST

START_TEST(line_ends_are_made_crlf)
{
	begin("a@b.c");
	m.text = "a\nb\rc\r\nd\n\ne";
	ck_assert_ptr_nonnull(strstr(build(), "\r\n\r\na\r\nb\r\nc\r\nd\r\n\r\ne\r\n"));
	check_lines(out.data);
}
END_TEST

START_TEST(long_lines_and_odd_bytes_are_quoted)
{
	char text[400];

	begin("a@b.c");
	memset(text, 'x', 300);
	memcpy(text + 300, " \nend = \xc3\xa9\t\n", 13);
	m.text = text;
	build();
	check_lines(out.data);
	ck_assert_ptr_nonnull(strstr(out.data, "Encoding: quoted-printable\r\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "x=\r\nx"));
	ck_assert_ptr_nonnull(strstr(out.data, "=20\r\nend =3D =C3=A9=09\r\n"));
}
END_TEST

/* What quoted-printable writes, read back as RFC 2045 section 6.7 says. */
static void qp_read(struct buf *text, const char *p)
{
	while (*p) {
		unsigned code;

		if (strncmp(p, "=\r\n", 3) == 0) {
			p += 3;
		} else if (*p == '=') {
			ck_assert_int_eq(sscanf(p + 1, "%2X", &code), 1);
			buf_addc(text, (char)code);
			p += 3;
		} else {
			buf_addc(text, *p++);
		}
	}
}

/* One line: `at` letters, `odd`, letters up to `len`. False when it does not survive. */
static bool is_quoted_well(size_t len, size_t at, const char *odd)
{
	struct buf line = {0}, quoted = {0}, back = {0};
	bool is_good;

	for (size_t i = 0; i < len; i++) {
		if (i == at)
			buf_puts(&line, odd);
		buf_addc(&line, 'a');
	}
	buf_puts(&line, at == len ? odd : "");
	buf_puts(&line, "\r\n");
	encoding_write(&quoted, ENCODING_QP, line.data, line.len);
	qp_read(&back, quoted.data);
	is_good = strcmp(back.data, line.data) == 0;
	for (const char *p = quoted.data; *p; p = strstr(p, "\r\n") + 2) {
		size_t width = strcspn(p, "\r");

		is_good = is_good && width <= 76 && !strchr(" \t", p[width - 1]);
	}
	buf_clear(&line);
	buf_clear(&quoted);
	buf_clear(&back);
	return is_good;
}

/* Lines of every length around the limits, with every kind of character near the end. */
START_TEST(quoted_lines_read_back_and_fit)
{
	static const char *const odd[] = {"x", " ", "\t", "=", "\xc3\xa4", "\xf0\x9f\x98\x80"};

	for (size_t len = 1; len < 240; len++)
		for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
			for (size_t at = len > 14 ? len - 14 : 0; at <= len; at++)
				if (!is_quoted_well(len, at, odd[i]))
					ck_abort_msg("%zu letters, '%s' at %zu", len, odd[i], at);
}
END_TEST

/* No text makes building slow: 1 MB of each, where squares would take minutes. */
START_TEST(line_ends_without_end_cost_no_time)
{
	static const char *const patterns[] = {"\r", "\n", "\n\r", ".", "\r.", " "};

	for (size_t i = 0; i < sizeof(patterns) / sizeof(patterns[0]); i++) {
		size_t size = (size_t)1 << 20, len = strlen(patterns[i]);
		char *text = malloc(size + 1);

		for (size_t at = 0; at < size; at++)
			text[at] = patterns[i][at % len];
		text[size] = '\0';
		begin("a@b.c");
		m.text = text;
		build();
		ck_assert_uint_gt(out.len, size);
		free(text);
	}
}
END_TEST

START_TEST(foreign_scripts_go_as_base64)
{
	begin("a@b.c");
	m.text = "\xd0\x9f\xd1\x80\xd0\xb8\xd0\xb2\xd0\xb5\xd1\x82";
	ck_assert_ptr_nonnull(strstr(build(), "Encoding: base64\r\n\r\n0J/RgNC40LLQtdGC\r\n"));
	check_lines(out.data);
}
END_TEST

START_TEST(money_has_two_decimals)
{
	static const char *const pairs[][2] = {
		{"99.99", "99.99"},
		{"99.9", "99.90"},
		{"100", "100.00"},
		{"0.005", "0.01"},
		{".5", "0.50"},
		{"-3.149", "-3.15"},
		{"9.999", "10.00"},
		{"007", "7.00"},
		{"1e3", "1000.00"},
		{"0", "0.00"},
		{"123456789012345678901.10", "123456789012345678901.10"}};
	static const char *const bad[] = {"", "abc", "1.2.3", "-", ".", "1,5", "nan", "1e99", NULL};
	char text[40];

	for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++) {
		ck_assert_int_eq(money_format(pairs[i][0], text, sizeof(text)), 0);
		ck_assert_str_eq(text, pairs[i][1]);
	}
	for (size_t i = 0; bad[i]; i++)
		ck_assert_int_eq(money_format(bad[i], text, sizeof(text)), -1);
}
END_TEST

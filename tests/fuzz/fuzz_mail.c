/*
 * Mails built from anything a caller may give, read back by a reader of our own: only the fields
 * that were meant, each with the value that was given, the texts as they were, no line that SMTP
 * would refuse. Input: one byte of choices, then pieces that end with a NUL: from, to, cc,
 * reply_to, subject, a header's value, task id, text; the rest is the HTML.
 */
#include "tasks/email/message.h"

#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "tests/fuzz/fuzz.h"

enum { HAS_TEXT = 1, HAS_HTML = 2, HAS_HEADER = 4, HAS_LIST = 8 };

#define LINE_MAX_BYTES 998
#define WORD_MAX_BYTES 75
#define HEADER_NAME    "X-Tenant"

/* Of SMTP and RFC 5322: 7 bit, CRLF at the end of each line and nowhere else half of it. */
static void check_lines(const struct buf *out)
{
	size_t line = 0;

	fuzz_check(out->len >= 2 && memcmp(out->data + out->len - 2, "\r\n", 2) == 0);
	for (size_t i = 0; i < out->len; i++) {
		unsigned char c = (unsigned char)out->data[i];

		fuzz_check(c != '\0' && c < 0x80);
		if (c == '\n') {
			fuzz_check(line > 0 && out->data[i - 1] == '\r');
			line = 0;
			continue;
		}
		fuzz_check(line == 0 || out->data[i - 1] != '\r');
		fuzz_check(++line <= LINE_MAX_BYTES + 1);
	}
}

/* Takes the next field off *at, unfolded; its value is what stands behind "Name: ". */
static char *field_take(const char **at, const char *name)
{
	size_t len = strlen(name);
	const char *p = *at + len + 1;
	struct str value;

	fuzz_check(strncmp(*at, name, len) == 0 && (*at)[len] == ':');
	str_init(&value, STR_MAX_DEFAULT);
	str_puts(&value, ""); /* so that there is a text */
	for (;;) {
		const char *end = strstr(p, "\r\n");

		str_add(&value, p, (size_t)(end - p));
		p = end + 2;
		if (*p != ' ')
			break;
		/* A line of blanks would end the head for some readers. */
		fuzz_check(strspn(p, " ") != strcspn(p, "\r"));
	}
	*at = p;
	fuzz_check(value.len >= 1 && value.data[0] == ' ');
	str_consume(&value, 1);
	return str_detach(&value);
}

static int hex_value(char c)
{
	fuzz_check((c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'));
	return c <= '9' ? c - '0' : c - 'A' + 10;
}

/* `is_word`: the Q form of header fields. */
static void qp_decode(struct str *out, const char *text, size_t len, bool is_word)
{
	for (size_t i = 0; i < len; i++) {
		if (is_word && text[i] == '_') {
			str_addc(out, ' ');
		} else if (text[i] != '=') {
			str_addc(out, text[i]);
		} else if (!is_word && i + 2 < len && memcmp(text + i, "=\r\n", 3) == 0) {
			i += 2;
		} else {
			fuzz_check(i + 2 < len);
			str_addc(out, (char)(hex_value(text[i + 1]) << 4 | hex_value(text[i + 2])));
			i += 2;
		}
	}
}

/* A field's value as RFC 2047 has it read: plain, or encoded words and nothing else. */
static char *words_decode(const char *value)
{
	struct str out;

	if (!strstr(value, "=?"))
		return mem_strdup(value);
	str_init(&out, STR_MAX_DEFAULT);
	while (*value) {
		const char *text = value + 10, *end = strstr(text, "?=");
		size_t before = out.len;

		fuzz_check(strncmp(value, "=?utf-8?", 8) == 0 && value[9] == '?' && end);
		fuzz_check(end + 2 - value <= WORD_MAX_BYTES);
		if (value[8] == 'q')
			qp_decode(&out, text, (size_t)(end - text), true);
		else
			fuzz_check(base64_decode(&out, text, (size_t)(end - text), NULL) == 0);
		fuzz_check(utf8_is_valid(out.data + before, out.len - before));
		value = end + 2;
		fuzz_check(*value == '\0' || (value[0] == ' ' && value[1]));
		value += *value == ' ';
	}
	return str_detach(&out);
}

static void check_text_field(const char **at, const char *name, const char *given)
{
	auto_free char *value = field_take(at, name);
	auto_free char *read = words_decode(value);

	fuzz_check(strcmp(read, given) == 0);
}

static void check_address_field(const char **at, const char *name, const struct address_list *given)
{
	struct address_list read = {0};
	struct fault fault = {0};
	auto_free char *value = NULL;

	if (given->count == 0)
		return;
	value = field_take(at, name);
	if (address_list_add(&read, name, value, &fault) != 0) {
		/* Encoded it is longer than a name may be given. */
		fuzz_check(strstr(fault.text, "the name is longer"));
		address_list_clear(&read);
		return;
	}
	fuzz_check(read.count == given->count);
	for (size_t i = 0; i < read.count; i++) {
		auto_free char *person =
			read.items[i].name ? words_decode(read.items[i].name) : NULL;

		fuzz_check(strcmp(read.items[i].spec, given->items[i].spec) == 0);
		fuzz_check(!person == !given->items[i].name);
		fuzz_check(!person || strcmp(person, given->items[i].name) == 0);
	}
	address_list_clear(&read);
}

/* Every line end as CRLF, whichever it was. */
static void lines_normalize(struct str *out, const char *text)
{
	str_puts(out, "");
	for (; *text; text++) {
		if (text[0] == '\r' && text[1] == '\n')
			continue;
		if (*text == '\r' || *text == '\n')
			str_puts(out, "\r\n");
		else
			str_addc(out, *text);
	}
}

/* `body` up to `end` is the part `type` of the text `given`. */
static void check_part(const char *head, const char *body, const char *end, const char *type,
		       const char *given)
{
	auto_free char *content = field_take(&head, "Content-Type");
	auto_free char *want = mem_printf("%s; charset=\"utf-8\"", type);
	auto_free char *encoding = field_take(&head, "Content-Transfer-Encoding");
	size_t len = (size_t)(end - body);
	auto_str text, read;

	fuzz_check(strcmp(content, want) == 0);
	str_init(&text, STR_MAX_DEFAULT);
	str_init(&read, STR_MAX_DEFAULT);
	lines_normalize(&text, given);
	str_puts(&read, "");
	if (strcmp(encoding, "base64") == 0) {
		fuzz_check(base64_decode(&read, body, len, NULL) == 0);
	} else if (strcmp(encoding, "quoted-printable") == 0) {
		qp_decode(&read, body, len, false);
	} else {
		fuzz_check(strcmp(encoding, "7bit") == 0);
		str_add(&read, body, len);
	}
	fuzz_check(read.len == text.len && memcmp(read.data, text.data, read.len) == 0);
}

static void check_parts(const char *at, const struct mail_message *m)
{
	const char *const types[] = {"text/plain", "text/html"}, *const given[] = {m->text,
										   m->html};
	const char *head = at;
	auto_free char *type = field_take(&at, "Content-Type");
	auto_free char *boundary = NULL;
	size_t len;

	if (!m->text || !m->html) {
		const char *body = strstr(head, "\r\n\r\n") + 4, *end = body + strlen(body);
		struct str text;

		str_init(&text, STR_MAX_DEFAULT);
		lines_normalize(&text, given[!m->text]);
		/* A line end was added to what had none. */
		if (end > body &&
		    (text.len < 2 || memcmp(text.data + text.len - 2, "\r\n", 2) != 0))
			end -= 2;
		str_clear(&text);
		check_part(head, body, end, types[!m->text], given[!m->text]);
		return;
	}
	fuzz_check(strncmp(type, "multipart/alternative; boundary=\"", 33) == 0);
	boundary = mem_printf("\r\n--%.*s", (int)strcspn(type + 33, "\""), type + 33);
	len = strlen(boundary);
	fuzz_check(strncmp(at, boundary, len) == 0);
	for (int i = 0; i < 2; i++) {
		const char *body, *end;

		at += len;
		fuzz_check(strncmp(at, "\r\n", 2) == 0);
		body = strstr(at, "\r\n\r\n") + 4;
		/* An empty part's boundary has its line end in common with the empty line. */
		end = strstr(body - 2, boundary);
		fuzz_check(end);
		check_part(at + 2, body, end < body ? body : end, types[i], given[i]);
		at = end;
	}
	fuzz_check(strcmp(at + len, "--\r\n") == 0);
}

static void check_mail(const struct buf *out, const struct mail_message *m, const char *id)
{
	const char *at = out->data;
	auto_free char *date = NULL, *shown_id = NULL, *version = NULL;

	check_lines(out);
	check_address_field(&at, "From", &m->from);
	check_address_field(&at, "To", &m->to);
	check_address_field(&at, "Cc", &m->cc);
	check_address_field(&at, "Reply-To", &m->reply_to);
	check_text_field(&at, "Subject", m->subject);
	date = field_take(&at, "Date");
	fuzz_check(strlen(date) >= 30);
	shown_id = field_take(&at, "Message-ID");
	fuzz_check(strcmp(shown_id, id) == 0 && id[0] == '<' && id[strlen(id) - 1] == '>');
	fuzz_check(strcspn(id, " \t") == strlen(id));
	if (m->headers)
		check_text_field(&at, HEADER_NAME,
				 json_string_value(json_object_get(m->headers, HEADER_NAME)));
	version = field_take(&at, "MIME-Version");
	check_parts(at, m);
}

static void build(const struct mail_message *m, struct fault *fault)
{
	struct buf out = {0};
	char *id = NULL;

	if (mail_message_build(&out, m, &id, fault) == 0) {
		check_mail(&out, m, id);
		free(id);
	} else {
		fuzz_check(out.len == 0 && !id);
	}
	buf_clear(&out);
}

/* As text, or as a JSON list. */
static int add_recipients(struct address_list *list, const char *field, const char *text,
			  bool is_list, struct fault *fault)
{
	json_t *value =
		is_list ? json_pack("[s, s]", text, "second@example.com") : json_string(text);
	int result = value ? address_list_add_json(list, field, value, fault)
			   : fault_set(fault, "not UTF-8");

	json_decref(value);
	return result;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	enum { FROM, TO, CC, REPLY_TO, SUBJECT, HEADER, TASK_ID, TEXT, HTML, PIECES };
	struct mail_message m = {.date = 1700000000};
	struct fault fault = {0};
	char *pieces[PIECES];
	uint8_t choices = size ? data[0] : 0;

	if (!size)
		return 0;
	data++;
	size--;
	for (int i = 0; i < PIECES; i++)
		pieces[i] = fuzz_cut(&data, &size, '\0', NULL);
	m.subject = pieces[SUBJECT];
	m.task_id = pieces[TASK_ID];
	m.text = choices & HAS_TEXT ? pieces[TEXT] : NULL;
	m.html = choices & HAS_HTML ? pieces[HTML] : NULL;
	if (choices & HAS_HEADER)
		m.headers = json_pack("{s:s}", HEADER_NAME, pieces[HEADER]);
	if (address_list_add(&m.from, "from", pieces[FROM], &fault) == 0 &&
	    add_recipients(&m.to, "to", pieces[TO], choices & HAS_LIST, &fault) == 0 &&
	    add_recipients(&m.cc, "cc", pieces[CC], false, &fault) == 0 &&
	    add_recipients(&m.reply_to, "reply_to", pieces[REPLY_TO], false, &fault) == 0)
		build(&m, &fault);
	fuzz_check(utf8_is_valid(fault.text, strlen(fault.text)));
	fuzz_check_one_line(fault.text);
	json_decref(m.headers);
	mail_message_clear(&m);
	for (int i = 0; i < PIECES; i++)
		free(pieces[i]);
	return 0;
}

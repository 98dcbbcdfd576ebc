#include "tasks/email/message.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tasks/email/encode.h"
#include "tasks/email/header.h"

#define HEADER_NAME_MAX	 50 /* leaves room for an encoded word beside it */
#define HEADER_COUNT_MAX 100
#define HEADER_VALUE_MAX 8000
#define SUBJECT_MAX	 4000
#define HEADERS_GUESS	 1000 /* of most mails, those of the parts included */
/* The mail itself is bounded by what a worker takes as a message; this keeps the arithmetic safe.
 */
#define BODY_MAX ((size_t)256 << 20)

/* A text part, ready to be written. */
struct part {
	const char *type; /* "text/plain" */
	enum encoding encoding;
	struct buf text;
};

static void put_date(struct buf *out, time_t date)
{
	static const char *const days[] = {"Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"};
	static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun",
					     "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};
	struct tm tm;

	/* Not strftime: its names depend on the locale. */
	gmtime_r(&date, &tm);
	buf_printf(out, "Date: %s, %02d %s %d %02d:%02d:%02d +0000\r\n", days[tm.tm_wday],
		   tm.tm_mday, months[tm.tm_mon], tm.tm_year + 1900, tm.tm_hour, tm.tm_min,
		   tm.tm_sec);
}

/* Task ids are UUIDs, but a producer may choose any text: what RFC 5322 does not allow in an id is
 * written as its code, and a long one is cut and told apart by a hash. */
static void put_id_left(struct buf *out, const char *task_id)
{
	uint64_t hash = UINT64_C(0xcbf29ce484222325);
	size_t start = out->len;

	for (const unsigned char *p = (const unsigned char *)task_id; *p; p++) {
		hash = (hash ^ *p) * UINT64_C(0x100000001b3);
		if (out->len - start > 64)
			continue;
		if ((*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
		    (*p >= 'a' && *p <= 'z') || *p == '-')
			buf_addc(out, (char)*p);
		else
			buf_printf(out, "_%02x", *p);
	}
	if (out->len - start > 64 || out->len == start)
		buf_printf(out, "_%016llx", (unsigned long long)hash);
}

static char *message_id(const struct mail_message *m)
{
	struct buf id = {0};

	buf_addc(&id, '<');
	put_id_left(&id, m->task_id);
	buf_printf(&id, "@%s>", address_domain(&m->from.items[0]));
	return id.data;
}

/* Fields that this file writes, or that only a server may write. */
static bool is_own_field(const char *name)
{
	static const char *const own[] = {"From",	  "To",		 "Cc",	     "Bcc",
					  "Reply-To",	  "Subject",	 "Date",     "Message-ID",
					  "MIME-Version", "Return-Path", "Received", NULL};

	if (strncasecmp(name, "Content-", 8) == 0 || strncasecmp(name, "Resent-", 7) == 0)
		return true;
	for (size_t i = 0; own[i]; i++)
		if (strcasecmp(name, own[i]) == 0)
			return true;
	return false;
}

static int check_header(const char *name, const json_t *value, struct fault *fault)
{
	size_t len = strlen(name);
	const char *text = json_string_value(value);

	if (len == 0 || len > HEADER_NAME_MAX)
		return fault_set(fault, "headers: a name must have 1 to %d characters",
				 HEADER_NAME_MAX);
	for (size_t i = 0; i < len; i++)
		if (name[i] <= ' ' || name[i] >= 0x7f || name[i] == ':')
			return fault_set(fault, "headers: a name holds a character that is not "
						"allowed");
	if (is_own_field(name))
		return fault_set(fault, "headers: %s is set by the worker", name);
	if (!text)
		return fault_set(fault, "headers: %s must be a string", name);
	if (strlen(text) != json_string_length(value))
		return fault_set(fault, "headers: %s: control character 0x00 is not allowed", name);
	if (strlen(text) > HEADER_VALUE_MAX)
		return fault_set(fault, "headers: %s is longer than %d bytes", name,
				 HEADER_VALUE_MAX);
	if (text_check(name, text, strlen(text), fault) < 0)
		return -1;
	return 0;
}

static int check_headers(json_t *headers, struct fault *fault)
{
	void *iter;

	if (!headers || json_is_null(headers))
		return 0;
	if (!json_is_object(headers))
		return fault_set(fault, "headers: must be a dict of strings");
	if (json_object_size(headers) > HEADER_COUNT_MAX)
		return fault_set(fault, "headers: more than %d", HEADER_COUNT_MAX);
	for (iter = json_object_iter(headers); iter; iter = json_object_iter_next(headers, iter))
		if (check_header(json_object_iter_key(iter), json_object_iter_value(iter), fault) <
		    0)
			return -1;
	return 0;
}

static int check(const struct mail_message *m, struct fault *fault)
{
	if (m->from.count != 1)
		return fault_set(fault, "from: exactly one address is needed");
	if (m->to.count == 0)
		return fault_set(fault, "to: no recipient");
	if (m->to.count + m->cc.count + m->bcc.count > ADDRESS_MAX_COUNT)
		return fault_set(fault, "to, cc, bcc: more than %d recipients", ADDRESS_MAX_COUNT);
	if (strlen(m->subject) > SUBJECT_MAX)
		return fault_set(fault, "subject: longer than %d bytes", SUBJECT_MAX);
	if (text_check("subject", m->subject, strlen(m->subject), fault) < 0)
		return -1;
	if (!m->text && !m->html)
		return fault_set(fault, "body: neither text nor HTML was given");
	if ((m->text && strlen(m->text) > BODY_MAX) || (m->html && strlen(m->html) > BODY_MAX))
		return fault_set(fault, "body: too long");
	return check_headers(m->headers, fault);
}

static void part_init(struct part *part, const char *type, const char *text)
{
	part->type = type;
	part->text = (struct buf){0};
	crlf_normalize(&part->text, text, strlen(text));
	part->encoding = encoding_choose(part->text.data, part->text.len);
}

/* Content fields, empty line, encoded text. */
static void part_write(struct buf *out, const struct part *part)
{
	buf_printf(out,
		   "Content-Type: %s; charset=\"utf-8\"\r\n"
		   "Content-Transfer-Encoding: %s\r\n\r\n",
		   part->type, encoding_name(part->encoding));
	encoding_write(out, part->encoding, part->text.data, part->text.len);
}

/* "=_" cannot occur in quoted-printable or base64; plain text is searched. */
static char *boundary_choose(const struct part *parts, size_t count)
{
	struct buf boundary = {0};
	bool is_free = false;

	for (unsigned n = 0; !is_free; n++) {
		buf_clear(&boundary);
		buf_printf(&boundary, "=_part_%u_=", n);
		is_free = true;
		for (size_t i = 0; i < count; i++)
			if (parts[i].encoding == ENCODING_7BIT &&
			    strstr(parts[i].text.data, boundary.data))
				is_free = false;
	}
	return boundary.data;
}

static void put_body(struct buf *out, const struct mail_message *m)
{
	struct part parts[2];
	size_t count = 0;
	char *boundary;

	if (m->text)
		part_init(&parts[count++], "text/plain", m->text);
	if (m->html)
		part_init(&parts[count++], "text/html", m->html);
	buf_puts(out, "MIME-Version: 1.0\r\n");
	if (count == 1) {
		part_write(out, &parts[0]);
		if (out->len < 2 || memcmp(out->data + out->len - 2, "\r\n", 2) != 0)
			buf_puts(out, "\r\n");
		buf_clear(&parts[0].text);
		return;
	}
	boundary = boundary_choose(parts, count);
	buf_printf(out, "Content-Type: multipart/alternative; boundary=\"%s\"\r\n\r\n", boundary);
	for (size_t i = 0; i < count; i++) {
		buf_printf(out, "--%s\r\n", boundary);
		part_write(out, &parts[i]);
		buf_puts(out, "\r\n");
		buf_clear(&parts[i].text);
	}
	buf_printf(out, "--%s--\r\n", boundary);
	free(boundary);
}

/* Room for a text once it is encoded, in the usual case. */
static size_t text_len(const char *text)
{
	size_t len = text ? strlen(text) : 0;

	return len + len / 8;
}

int mail_message_build(struct buf *out, const struct mail_message *m, char **ret_id,
		       struct fault *fault)
{
	char *id;
	void *iter;

	if (check(m, fault) < 0)
		return -1;
	id = message_id(m);
	buf_reserve(out, HEADERS_GUESS + text_len(m->text) + text_len(m->html));
	header_addresses(out, "From", &m->from);
	header_addresses(out, "To", &m->to);
	header_addresses(out, "Cc", &m->cc);
	header_addresses(out, "Reply-To", &m->reply_to);
	header_text(out, "Subject", m->subject);
	put_date(out, m->date);
	header_raw(out, "Message-ID", id);
	iter = m->headers ? json_object_iter(m->headers) : NULL;
	for (; iter; iter = json_object_iter_next(m->headers, iter))
		header_text(out, json_object_iter_key(iter),
			    json_string_value(json_object_iter_value(iter)));
	put_body(out, m);
	*ret_id = id;
	return 0;
}

void mail_message_clear(struct mail_message *m)
{
	address_list_clear(&m->from);
	address_list_clear(&m->reply_to);
	address_list_clear(&m->to);
	address_list_clear(&m->cc);
	address_list_clear(&m->bcc);
}

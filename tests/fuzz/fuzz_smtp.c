/*
 * A mail over a kept connection to a server that answers anything: the envelope goes out as given,
 * the mail arrives as it was once the dots are taken off, and the result says no more than the
 * answers did. Input: one byte of choices, the mail up to a NUL, then what the server says.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"
#include "tasks/email/smtp.h"
#include "tasks/email/smtp_pipeline.h"
#include "tests/fuzz/fuzz.h"

enum { COUNT_MASK = 3, HAS_SIZE = 4, MUST_RESET = 8 };

static const char *const recipients[] = {"a@example.com", "b@example.com", "c@example.com",
					 "\"d d\"@example.com"};

/* All that was sent. */
static void drain(int fd, struct str *out)
{
	char chunk[8192];
	ssize_t got;

	str_init(out, STR_MAX_DEFAULT);
	str_puts(out, "");
	while ((got = recv(fd, chunk, sizeof(chunk), MSG_DONTWAIT)) > 0)
		str_add(out, chunk, (size_t)got);
}

static const char *eat(const char *at, const char *text)
{
	size_t len = strlen(text);

	fuzz_check(strncmp(at, text, len) == 0);
	return at + len;
}

static const char *check_envelope(const char *at, const struct smtp_mail *mail, uint8_t choices)
{
	auto_free char *size = mem_printf(" SIZE=%zu", mail->len);

	at = eat(at, choices & MUST_RESET ? "RSET\r\n" : "");
	at = eat(at, "MAIL FROM:<sender@example.com>");
	at = eat(eat(at, choices & HAS_SIZE ? size : ""), "\r\n");
	for (size_t i = 0; i < mail->count; i++)
		at = eat(eat(eat(at, "RCPT TO:<"), recipients[i]), ">\r\n");
	return eat(at, "DATA\r\n");
}

/* As a server reads it: up to the line of one dot, which must be the last. */
static void check_content(const char *at, const char *end, const struct smtp_mail *mail)
{
	auto_str read;
	bool is_line_start = true, is_over = false;

	str_init(&read, STR_MAX_DEFAULT);
	for (; at < end; at++) {
		fuzz_check(!is_over);
		if (is_line_start && *at == '.') {
			is_over = end - at == 3 && memcmp(at, ".\r\n", 3) == 0;
			if (is_over)
				break;
			fuzz_check(end - at > 3 || at[1] != '\r');
			at++;
		}
		str_addc(&read, *at);
		is_line_start = *at == '\n';
	}
	fuzz_check(is_over && read.len >= mail->len);
	fuzz_check(mail->len == 0 || memcmp(read.data, mail->data, mail->len) == 0);
	fuzz_check(read.len <= mail->len + 2);
}

static void check_reply(const struct smtp_reply *reply)
{
	fuzz_check(memchr(reply->text, '\0', sizeof(reply->text)));
	fuzz_check_one_line(reply->text);
}

static void check_result(const struct smtp_result *ret, enum pipeline_end end, size_t count)
{
	size_t good = 0;

	check_reply(&ret->reply);
	fuzz_check_one_line(ret->text);
	for (size_t i = 0; i < count; i++) {
		check_reply(&ret->recipients[i]);
		good += ret->recipients[i].code / 100 == 2;
	}
	if (ret->end == SMTP_SENT)
		fuzz_check(end != PIPELINE_STALE && good > 0 && ret->reply.code / 100 == 2);
	fuzz_check(end != PIPELINE_OPEN || ret->end != SMTP_LOST);
}

static void check_sent(const struct str *out, const struct smtp_mail *mail, uint8_t choices,
		       const struct smtp_result *ret)
{
	const char *at = check_envelope(out->data, mail, choices), *end = out->data + out->len;

	/* Nothing, an empty mail that nobody gets, or the mail. */
	if (ret->end == SMTP_SENT)
		check_content(at, end, mail);
	else if (at < end && end - at > 3)
		check_content(at, end, mail);
}

/* CRLF at the end of each line and nowhere else half of it, as the mail's builder gives it. */
static char *mail_lines(const char *text, size_t *ret_len)
{
	struct str out;

	str_init(&out, STR_MAX_DEFAULT);
	str_puts(&out, "");
	for (; *text; text++)
		if (*text == '\n')
			str_puts(&out, "\r\n");
		else if (*text != '\r')
			str_addc(&out, *text);
	*ret_len = out.len;
	return str_detach(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct smtp_server server = {.host = "localhost", .port = "25", .timeout_ms = 100};
	struct smtp_mail mail = {.sender = "sender@example.com", .recipients = recipients};
	struct smtp_reply replies[4] = {0};
	struct smtp_result ret = {.recipients = replies};
	struct smtp_pipeline pipe = {0};
	auto_free char *text = NULL, *lines = NULL;
	enum pipeline_end end;
	uint8_t choices;
	struct str out;
	int pair[2];

	if (size == 0 || size > 60000) /* the sockets hold that much */
		return 0;
	choices = *data++;
	size--;
	text = fuzz_cut(&data, &size, '\0', NULL);
	lines = mail_lines(text, &mail.len);
	mail.data = lines;
	mail.count = (choices & COUNT_MASK) + 1;
	fuzz_check(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, pair) == 0);
	fuzz_check(send(pair[1], data, size, 0) == (ssize_t)size);
	shutdown(pair[1], SHUT_WR);
	pipe.fd = pair[0];
	pipe.has_size = choices & HAS_SIZE;
	pipe.must_reset = choices & MUST_RESET;
	end = smtp_pipeline_send(&pipe, &server, &mail, NULL, &ret);
	drain(pair[1], &out);
	check_result(&ret, end, mail.count);
	check_sent(&out, &mail, choices, &ret);
	str_clear(&out);
	close(pair[0]);
	close(pair[1]);
	return 0;
}

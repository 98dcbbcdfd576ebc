#include "tasks/email/smtp_pipeline.h"

#include <errno.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#include "tasks/email/buf.h"

#define PATIENCE_MS	200 /* how often a waiting slot looks whether its time is over */
#define REPLY_LINES_MAX 100
#define REPLY_BYTES_MAX ((size_t)64 << 10) /* what we do not keep included */

/* One mail under way. */
struct exchange {
	struct smtp_pipeline *pipe;
	const struct smtp_server *server;
	const struct smtp_mail *mail;
	const struct smtp_patience *patience;
	struct smtp_result *ret;
	int64_t deadline;	    /* of the whole mail */
	bool is_begun, is_all_sent; /* MAIL was answered 2xx; the final dot may have left */
	bool has_waited;	    /* for the reply or the piece of mail at hand */
	char in[2048];
	size_t pos, len; /* what is unread of it */
	size_t received; /* of the reply at hand */
};

/* The connection is of no use any more. */
static int lose(struct exchange *x)
{
	if (x->is_all_sent)
		smtp_result_text(x->ret, SMTP_UNKNOWN,
				 "connection lost after the mail was sent: it may have been taken");
	else
		smtp_result_text(x->ret, SMTP_LOST, "connection lost, or no answer within %g s",
				 x->server->timeout_ms / 1000.0);
	return -1;
}

/* Is there time to wait until then? */
static int check_time(struct exchange *x, int64_t end)
{
	int64_t now = smtp_now_ms();

	if (x->patience && x->patience->is_over(x->patience->arg)) {
		smtp_result_text(x->ret, SMTP_EXPIRED, "no answer from %s:%s in time",
				 x->server->host, x->server->port);
		return -1;
	}
	return now >= end || now >= x->deadline ? lose(x) : 0;
}

/* A signal interrupts the waiting: the soft time limit. */
static int wait_for(struct exchange *x, short events)
{
	struct pollfd pfd = {.fd = x->pipe->fd, .events = events};
	int64_t end = 0;
	int slice = x->server->timeout_ms < PATIENCE_MS ? x->server->timeout_ms : PATIENCE_MS;

	/* With a server that dribbles no wait is ever long. */
	if (x->has_waited && check_time(x, INT64_MAX) < 0)
		return -1;
	x->has_waited = true;
	while (poll(&pfd, 1, slice) <= 0) {
		end = end ? end : smtp_now_ms() + x->server->timeout_ms - slice;
		if (check_time(x, end) < 0)
			return -1;
	}
	return 0;
}

/* After a transfer that moved nothing. */
static int wait_again(struct exchange *x, int moved, short events)
{
	int want;

	if (!x->pipe->ssl)
		return moved < 0 && (errno == EAGAIN || errno == EINTR) ? wait_for(x, events)
									: lose(x);
	want = SSL_get_error(x->pipe->ssl, moved);
	if (want != SSL_ERROR_WANT_READ && want != SSL_ERROR_WANT_WRITE)
		return lose(x);
	return wait_for(x, want == SSL_ERROR_WANT_READ ? POLLIN : POLLOUT);
}

static int transmit(struct exchange *x, const char *data, size_t len)
{
	x->has_waited = false;
	while (len) {
		int chunk = len < INT32_MAX ? (int)len : INT32_MAX, moved;

		ERR_clear_error(); /* SSL_get_error looks at it */
		moved = x->pipe->ssl ? SSL_write(x->pipe->ssl, data, chunk)
				     : (int)send(x->pipe->fd, data, (size_t)chunk, MSG_NOSIGNAL);
		if (moved <= 0 && wait_again(x, moved, POLLOUT) < 0)
			return -1;
		if (moved > 0) {
			data += moved;
			len -= (size_t)moved;
		}
	}
	return 0;
}

static int receive(struct exchange *x)
{
	int moved = 0;

	x->pos = x->len = 0;
	/* In clear an answer is seldom there at once: waiting first saves a call. */
	if (!x->pipe->ssl && wait_for(x, POLLIN) < 0)
		return -1;
	while (moved <= 0) {
		ERR_clear_error();
		moved = x->pipe->ssl ? SSL_read(x->pipe->ssl, x->in, sizeof(x->in))
				     : (int)recv(x->pipe->fd, x->in, sizeof(x->in), 0);
		if (moved <= 0 && wait_again(x, moved, POLLIN) < 0)
			return -1;
	}
	x->len = (size_t)moved;
	x->received += x->len;
	return x->received > REPLY_BYTES_MAX ? lose(x) : 0;
}

/* One line without its end; what does not fit is dropped. */
static int read_line(struct exchange *x, char *line, size_t size, size_t *len)
{
	*len = 0;
	for (;;) {
		const char *from, *end;
		size_t take, room = size - 1 - *len;

		if (x->pos == x->len && receive(x) < 0)
			return -1;
		from = x->in + x->pos;
		end = memchr(from, '\n', x->len - x->pos);
		take = end ? (size_t)(end - from) : x->len - x->pos;
		memcpy(line + *len, from, take < room ? take : room);
		*len += take < room ? take : room;
		x->pos += take + (end != NULL);
		if (end)
			break;
	}
	if (*len && line[*len - 1] == '\r')
		--*len;
	line[*len] = '\0';
	return 0;
}

/* How much of a further line is code and enhanced status, which the first line had already. */
static size_t repeated(const char *first, const char *line, size_t len)
{
	size_t status = len > 4 ? strspn(line + 4, "0123456789.") : 0;

	if (status && line[4 + status] == ' ' && strncmp(first + 4, line + 4, status + 1) == 0)
		return 4 + status + 1;
	return len < 4 ? len : 4;
}

/* A reply of one line or more, as one line. */
static int read_reply(struct exchange *x, struct smtp_reply *reply)
{
	char text[sizeof(reply->text) + 8], line[sizeof(text)];
	size_t used = 0, len;
	bool is_last = false;

	x->has_waited = false;
	x->received = 0;
	for (int count = 0; !is_last; count++) {
		if (count == REPLY_LINES_MAX || read_line(x, line, sizeof(line), &len) < 0)
			return count == REPLY_LINES_MAX ? lose(x) : -1;
		is_last = len < 4 || line[3] != '-';
		if (count == 0) {
			memcpy(text, line, len + 1);
			used = len;
		} else {
			used += (size_t)snprintf(text + used, sizeof(text) - used, " %s",
						 line + repeated(text, line, len));
			used = used < sizeof(text) ? used : sizeof(text) - 1;
		}
	}
	smtp_reply_set(reply, text, used);
	return reply->code >= 200 && reply->code < 600 ? 0 : lose(x);
}

static int send_envelope(struct exchange *x)
{
	const struct smtp_mail *mail = x->mail;
	auto_buf out = {0};

	buf_puts(&out, x->pipe->must_reset ? "RSET\r\n" : "");
	buf_printf(&out, "MAIL FROM:<%s>", mail->sender);
	if (x->pipe->has_size)
		buf_printf(&out, " SIZE=%zu", mail->len);
	buf_puts(&out, "\r\n");
	for (size_t i = 0; i < mail->count; i++)
		buf_printf(&out, "RCPT TO:<%s>\r\n", mail->recipients[i]);
	buf_puts(&out, "DATA\r\n");
	return transmit(x, out.data, out.len);
}

/* Fills the result with the answers to the envelope. */
static int read_envelope_replies(struct exchange *x, struct smtp_reply *data)
{
	struct smtp_reply ignored, *recipients = x->ret->recipients;
	struct smtp_reply *sender = &x->ret->reply;

	if (x->pipe->must_reset && read_reply(x, sender) < 0)
		return -1;
	if (read_reply(x, sender) < 0)
		return -1;
	/* A server that was about to close. */
	if (sender->code == 421)
		return lose(x);
	x->is_begun = sender->code / 100 == 2;
	for (size_t i = 0; i < x->mail->count; i++)
		if (read_reply(x, x->is_begun ? &recipients[i] : &ignored) < 0)
			return -1;
	return read_reply(x, data);
}

static bool has_recipient(const struct exchange *x)
{
	for (size_t i = 0; i < x->mail->count; i++)
		if (x->ret->recipients[i].code / 100 == 2)
			return true;
	return false;
}

static const char *next_dotted_line(const char *from, const char *end)
{
	while ((from = memchr(from, '\n', (size_t)(end - from))))
		if (++from < end && *from == '.')
			return from;
	return NULL;
}

/* Lines that begin with a dot get another. */
static void stuff(struct buf *out, const char *data, size_t len)
{
	const char *from = data, *end = data + len;
	const char *dot = len && *data == '.' ? data : next_dotted_line(data, end);

	buf_reserve(out, len + 8);
	for (; dot; dot = next_dotted_line(from, end)) {
		buf_add(out, from, (size_t)(dot - from));
		buf_addc(out, '.');
		from = dot;
	}
	buf_add(out, from, (size_t)(end - from));
	if (len < 2 || memcmp(end - 2, "\r\n", 2) != 0)
		buf_puts(out, "\r\n");
}

/* The server waits for the mail: sends it, or nothing when nobody is to get it. */
static int send_content(struct exchange *x, bool must_send)
{
	auto_buf out = {0};

	if (must_send)
		stuff(&out, x->mail->data, x->mail->len);
	buf_puts(&out, ".\r\n");
	if (transmit(x, out.data, out.len) < 0)
		return -1;
	x->is_all_sent = must_send;
	return 0;
}

static int carry_out(struct exchange *x)
{
	struct smtp_reply data = {0};
	bool must_send;

	if (send_envelope(x) < 0 || read_envelope_replies(x, &data) < 0)
		return -1;
	x->pipe->must_reset = true;
	must_send = x->is_begun && has_recipient(x);
	if (data.code / 100 == 3) {
		if (send_content(x, must_send) < 0 || read_reply(x, &data) < 0)
			return -1;
		x->pipe->must_reset = false;
	} else if (data.code / 100 == 2) {
		/* Not a refusal, and nothing was sent that it could accept. */
		smtp_result_text(x->ret, SMTP_LOST, "the server answered DATA with %d", data.code);
		return -1;
	}
	if (!x->is_begun) {
		x->ret->end = SMTP_REFUSED_SENDER;
		return 0;
	}
	x->ret->reply = data;
	smtp_result_settle(x->ret, x->mail->count);
	return 0;
}

enum pipeline_end smtp_pipeline_send(struct smtp_pipeline *pipe, const struct smtp_server *server,
				     const struct smtp_mail *mail,
				     const struct smtp_patience *patience, struct smtp_result *ret)
{
	struct exchange x = {.pipe = pipe,
			     .server = server,
			     .mail = mail,
			     .patience = patience,
			     .ret = ret,
			     .deadline = smtp_now_ms() + smtp_time_limit_ms(server, mail->len)};

	if (carry_out(&x) == 0 && x.pos == x.len)
		return ret->reply.code == 421 ? PIPELINE_CLOSED : PIPELINE_OPEN;
	return ret->end == SMTP_LOST && !x.is_begun ? PIPELINE_STALE : PIPELINE_CLOSED;
}

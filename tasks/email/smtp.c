#include "tasks/email/smtp.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define STEPS_MAX 12 /* of a session with one mail, each with the server's timeout */

/* Set when the server wanted what libesmtp cannot do; lasts as long as the thread. */
static _Thread_local bool must_use_curl;

static const struct smtp_engine *engine_choose(const char *name, const struct smtp_server *server)
{
	/* libesmtp has no TLS from the first byte and takes "::1:25" for the host "". */
	if (server->tls == SMTP_TLS_IMPLICIT || strchr(server->host, ':'))
		return &smtp_curl;
	if (strcmp(name, "esmtp") == 0)
		return &smtp_esmtp;
	return strcmp(name, "curl") == 0 || must_use_curl ? &smtp_curl : &smtp_kept;
}

static bool should_fall_over(const char *name, const struct smtp_engine *engine,
			     const struct smtp_result *ret)
{
	return ret->end == SMTP_NO_AUTH_MECHANISM && engine == &smtp_kept &&
	       strcmp(name, "esmtp") != 0;
}

static void result_reset(struct smtp_result *ret, size_t count)
{
	struct smtp_reply *recipients = ret->recipients;

	memset(ret, 0, sizeof(*ret));
	ret->recipients = recipients;
	if (recipients)
		memset(recipients, 0, count * sizeof(*recipients));
}

void smtp_send(const char *engine, const struct smtp_server *server, const struct smtp_mail *mail,
	       const struct smtp_patience *patience, struct smtp_result *ret)
{
	const struct smtp_engine *chosen = engine_choose(engine, server);

	result_reset(ret, mail->count);
	chosen->send(server, mail, patience, ret);
	if (should_fall_over(engine, chosen, ret)) {
		must_use_curl = true;
		result_reset(ret, mail->count);
		smtp_curl.send(server, mail, patience, ret);
	}
}

void smtp_probe(const char *engine, const struct smtp_server *server, struct smtp_result *ret)
{
	const struct smtp_engine *chosen = engine_choose(engine, server);

	result_reset(ret, 0);
	chosen->probe(server, ret);
	if (should_fall_over(engine, chosen, ret)) {
		result_reset(ret, 0);
		smtp_curl.probe(server, ret);
	}
}

void smtp_close(void)
{
	smtp_esmtp.close();
	smtp_curl.close();
}

int64_t smtp_now_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

long smtp_time_limit_ms(const struct smtp_server *server, size_t len)
{
	/* 10 kB/s */
	return STEPS_MAX * (long)server->timeout_ms + (long)(len / 10);
}

void smtp_reply_set(struct smtp_reply *reply, const char *line, size_t len)
{
	char code[4] = "";

	while (len && (line[len - 1] == '\r' || line[len - 1] == '\n' || line[len - 1] == ' '))
		len--;
	memcpy(code, line, len < 3 ? len : 3);
	reply->code = (int)strtol(code, NULL, 10);
	line += len < 4 ? len : 4;
	len -= len < 4 ? len : 4;
	if (len >= sizeof(reply->text))
		len = sizeof(reply->text) - 1;
	for (size_t i = 0; i < len; i++)
		reply->text[i] =
			(char)((unsigned char)line[i] < 32 || line[i] == 127 ? ' ' : line[i]);
	reply->text[len] = '\0';
}

void smtp_result_text(struct smtp_result *ret, enum smtp_end end, const char *fmt, ...)
{
	va_list ap;

	ret->end = end;
	va_start(ap, fmt);
	vsnprintf(ret->text, sizeof(ret->text), fmt, ap);
	va_end(ap);
}

void smtp_result_settle(struct smtp_result *ret, size_t count)
{
	size_t good = 0;

	for (size_t i = 0; i < count; i++)
		good += ret->recipients[i].code / 100 == 2;
	if (good == 0)
		ret->end = SMTP_REFUSED_RECIPIENTS;
	else
		ret->end = ret->reply.code / 100 == 2 ? SMTP_SENT : SMTP_REFUSED_DATA;
}

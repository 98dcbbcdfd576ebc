#include "transport/redis_sentinel.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "transport/redis_codec.h"
#include "transport/redis_replies.h"
#include "transport/stream.h"

#define SWITCH_CHANNEL	  "+switch-master"
#define MAX_OUTPUT_BYTES  4096
#define MAX_REPLY_BYTES	  ((size_t)1 << 20)
#define MAX_TROUBLE_BYTES 400
#define ANSWER_TIMEOUT_S  4 /* unless the settings say less */

/* The answers come in this order. */
enum question_step { STEP_LOGIN, STEP_PLACE, STEP_OTHERS, STEP_LISTEN };

struct redis_sentinel {
	struct redis_sentinel_options options;
	unsigned asked; /* how many have been tried, the one at hand included */
	enum question_step step;
	struct stream *stream;
	struct redis_replies replies;
	uv_timer_t timer;
	char *host; /* as told */
	int port;
	struct str trouble;
};

static void ask_next(struct redis_sentinel *q);

static const struct redis_address *sentinel_at_hand(const struct redis_sentinel *q)
{
	unsigned index = (q->options.first + q->asked - 1) % q->options.count;

	return &q->options.sentinels[index];
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct redis_sentinel *q = handle->data;

	redis_replies_clear(&q->replies);
	str_clear(&q->trouble);
	free(q->host);
	free(q);
}

void redis_sentinel_cancel(struct redis_sentinel *q)
{
	if (q == NULL)
		return;
	stream_close(q->stream);
	q->stream = NULL;
	uv_close((uv_handle_t *)&q->timer, on_timer_closed);
}

static void answer_failed(struct redis_sentinel *q)
{
	struct err err = {0};

	err_set(&err, ERR_IO, "no Sentinel tells where the master '%.60s' is%s",
		q->options.settings->master_name, q->trouble.len ? q->trouble.data : "");
	uv_timer_stop(&q->timer);
	q->options.events->failed(q->options.ctx, &err);
}

/* Whoever answers there may say anything; it is for the log. */
static void keep_one_line(struct str *text)
{
	for (size_t i = 0; i < text->len; i++)
		if ((unsigned char)text->data[i] < ' ' || text->data[i] == 0x7f)
			text->data[i] = '?';
}

/* This one did not help: the next. */
static void pass_over(struct redis_sentinel *q, const char *why)
{
	const struct redis_address *s = sentinel_at_hand(q);

	/* What failed to connect says itself to whom. */
	if (strstr(why, s->host))
		str_addf(&q->trouble, "; %.150s", why);
	else
		str_addf(&q->trouble, "; %.60s:%d: %.100s", s->host, s->port, why);
	keep_one_line(&q->trouble);
	stream_close(q->stream);
	q->stream = NULL;
	ask_next(q);
}

static int send_words(struct redis_sentinel *q, const char *const *words, int count)
{
	struct redis_arg args[3];

	for (int i = 0; i < count; i++)
		args[i] = (struct redis_arg){words[i], strlen(words[i])};
	return redis_command_write(stream_output(q->stream), args, count);
}

static void on_connected(void *ctx)
{
	struct redis_sentinel *q = ctx;
	const struct redis_address *s = sentinel_at_hand(q);
	const char *name = q->options.settings->master_name;
	int rc = 0;

	q->step = STEP_PLACE;
	if (s->user || s->password) {
		const char *words[] = {"AUTH", s->user, s->password ? s->password : ""};

		q->step = STEP_LOGIN;
		if (s->user == NULL)
			words[1] = s->password;
		rc = send_words(q, words, s->user ? 3 : 2);
	}
	rc |= send_words(q, (const char *[]){"SENTINEL", "GET-MASTER-ADDR-BY-NAME", name}, 3);
	if (q->options.settings->min_other_sentinels > 0)
		rc |= send_words(q, (const char *[]){"SENTINEL", "MASTER", name}, 3);
	if (rc < 0)
		pass_over(q, "the login or the master's name is too long");
}

/* 1 once the question was cancelled. */
static int answer_found(struct redis_sentinel *q)
{
	unsigned index = (q->options.first + q->asked - 1) % q->options.count;

	q->step = STEP_LISTEN;
	uv_timer_stop(&q->timer);
	/* Fits: no more than the question itself is in there. */
	send_words(q, (const char *[]){"SUBSCRIBE", SWITCH_CHANNEL}, 2);
	q->options.events->found(q->options.ctx, q->host, q->port, index);
	return q->stream ? 0 : 1;
}

/* Answers. 0: more is to come; 1: this Sentinel is done with. */

static int read_place(struct redis_sentinel *q, const redisReply *reply)
{
	const redisReply *host, *port;
	int number;

	if (reply->type == REDIS_REPLY_NIL) {
		pass_over(q, "does not know this master");
		return 1;
	}
	host = reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 ? reply->element[0] : NULL;
	port = host ? reply->element[1] : NULL;
	number = port && port->type == REDIS_REPLY_STRING ? (int)strtol(port->str, NULL, 10) : 0;
	if (number < 1 || number > 65535 || host->type != REDIS_REPLY_STRING || host->len == 0 ||
	    strlen(host->str) != host->len || host->len > 255) {
		pass_over(q, "is no Sentinel, by its answer");
		return 1;
	}
	free(q->host);
	q->host = mem_strdup(host->str);
	q->port = number;
	if (q->options.settings->min_other_sentinels > 0) {
		q->step = STEP_OTHERS;
		return 0;
	}
	return answer_found(q);
}

/* A flat list of names and values. */
static unsigned count_others(const redisReply *reply)
{
	if (reply->type != REDIS_REPLY_ARRAY)
		return 0;
	for (size_t i = 0; i + 1 < reply->elements; i += 2) {
		const redisReply *name = reply->element[i], *value = reply->element[i + 1];

		if (name->type == REDIS_REPLY_STRING && value->type == REDIS_REPLY_STRING &&
		    strcmp(name->str, "num-other-sentinels") == 0)
			return (unsigned)strtoul(value->str, NULL, 10);
	}
	return 0;
}

static int read_others(struct redis_sentinel *q, const redisReply *reply)
{
	unsigned others = count_others(reply);
	char why[80];

	if (others >= q->options.settings->min_other_sentinels)
		return answer_found(q);
	snprintf(why, sizeof(why), "sees %u other Sentinels, wanted are %u", others,
		 q->options.settings->min_other_sentinels);
	pass_over(q, why);
	return 1;
}

/* "message", the channel, and "name old-host old-port new-host new-port"; or the confirmation of
 * the subscription. */
static int read_news(struct redis_sentinel *q, const redisReply *reply)
{
	const char *name = q->options.settings->master_name;
	const redisReply *news = NULL;

	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 3)
		news = reply->element[2];
	if (news == NULL || news->type != REDIS_REPLY_STRING ||
	    strncmp(news->str, name, strlen(name)) != 0 || news->str[strlen(name)] != ' ')
		return 0;
	q->options.events->moved(q->options.ctx);
	return q->stream ? 0 : 1;
}

static int on_reply(void *ctx, const redisReply *reply, struct err *err)
{
	struct redis_sentinel *q = ctx;

	(void)err;
	if (q->step == STEP_LISTEN)
		return read_news(q, reply);
	if (reply->type == REDIS_REPLY_ERROR) {
		/* The server's words only: our AUTH is not repeated in them. */
		pass_over(q, reply->str);
		return 1;
	}
	if (q->step == STEP_LOGIN) {
		q->step = STEP_PLACE;
		return 0;
	}
	return q->step == STEP_PLACE ? read_place(q, reply) : read_others(q, reply);
}

static void sentinel_lost(struct redis_sentinel *q, const char *why)
{
	if (q->step != STEP_LISTEN) {
		pass_over(q, why);
		return;
	}
	stream_close(q->stream);
	q->stream = NULL;
}

static size_t on_data(void *ctx, const char *data, size_t len)
{
	struct redis_sentinel *q = ctx;
	struct err err = {0};
	size_t used = len;

	if (redis_replies_feed(&q->replies, data, len, &used, on_reply, q, &err) < 0)
		sentinel_lost(q, err.text);
	return used;
}

static void on_failed(void *ctx, const struct err *why)
{
	sentinel_lost(ctx, why->text);
}

static void on_deadline(uv_timer_t *timer)
{
	pass_over(timer->data, "no answer in time");
}

static const struct stream_events stream_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_failed = on_failed,
};

static double first_set(double a, double b, double c)
{
	return a > 0 ? a : b > 0 ? b : c;
}

static void ask_next(struct redis_sentinel *q)
{
	const struct redis_settings *settings = q->options.settings;
	struct stream_options options = {
		.loop = q->options.loop,
		.keepalive = settings->keepalive,
		.connect_timeout_s =
			first_set(settings->sentinel_connect_timeout_s, settings->connect_timeout_s,
				  q->options.connect_timeout_s),
		.max_output = MAX_OUTPUT_BYTES,
		.events = &stream_events,
		.ctx = q,
	};
	double answer_s = first_set(settings->sentinel_answer_timeout_s, 0, ANSWER_TIMEOUT_S);

	if (q->asked == q->options.count) {
		answer_failed(q);
		return;
	}
	q->asked++;
	q->step = STEP_PLACE;
	options.host = sentinel_at_hand(q)->host;
	options.port = sentinel_at_hand(q)->port;
	options.tls = sentinel_at_hand(q)->tls;
	redis_replies_reset(&q->replies, MAX_REPLY_BYTES);
	q->stream = stream_open(&options);
	uv_timer_start(&q->timer, on_deadline,
		       (uint64_t)((options.connect_timeout_s + answer_s) * 1000), 0);
}

struct redis_sentinel *redis_sentinel_ask(const struct redis_sentinel_options *options)
{
	struct redis_sentinel *q = mem_calloc(1, sizeof(*q));

	q->options = *options;
	str_init(&q->trouble, MAX_TROUBLE_BYTES);
	uv_timer_init(options->loop, &q->timer);
	q->timer.data = q;
	ask_next(q);
	return q;
}

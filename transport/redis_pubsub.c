#include "transport/redis_pubsub.h"

#include <stdlib.h>
#include <string.h>

#include "base/list.h"
#include "base/map.h"
#include "base/mem.h"

struct redis_pubsub {
	struct redis_conn *conn;
	struct redis_pubsub_events events;
	void *ctx;
	struct map *names; /* -> struct name */
	struct list_node asked;
	int64_t client_id;
	bool is_connected, is_up, is_closing;
};

struct name {
	bool is_pattern, is_refused;
};

/* A command without its answer, in order. */
struct question {
	struct list_node node;
	char *name; /* that is subscribed to, or NULL */
};

static void question_free(struct question *q)
{
	list_remove(&q->node);
	free(q->name);
	free(q);
}

/* Everything it was told has been answered. */
static void step(struct redis_pubsub *p)
{
	if (p->is_up || !list_is_empty(&p->asked) || !p->is_connected || p->is_closing)
		return;
	p->is_up = true;
	p->events.on_up(p->ctx, p->client_id);
}

static void on_answer(void *ctx, const redisReply *reply)
{
	struct redis_pubsub *p = ctx;
	struct question *q = list_entry(p->asked.next, struct question, node);
	struct name *name = q->name ? map_get(p->names, q->name) : NULL;
	bool is_error = reply && reply->type == REDIS_REPLY_ERROR;

	if (name)
		name->is_refused = is_error;
	if (!q->name && reply && reply->type == REDIS_REPLY_INTEGER)
		p->client_id = reply->integer;
	/* An ACL without this channel: the others are good nevertheless. */
	if (name && is_error)
		p->events.on_refused(p->ctx, q->name, reply->str);
	question_free(q);
	if (reply)
		step(p);
}

static void ask(struct redis_pubsub *p, const char *verb, const char *text, bool is_name)
{
	const struct redis_arg args[] = {{verb, strlen(verb)}, {text, strlen(text)}};
	struct question *q;

	if (redis_conn_command(p->conn, args, 2, on_answer, p) < 0)
		return;
	q = mem_calloc(1, sizeof(*q));
	q->name = is_name ? mem_strdup(text) : NULL;
	list_append(&p->asked, &q->node);
}

static void subscribe(struct redis_pubsub *p, const char *text, const struct name *name)
{
	ask(p, name->is_pattern ? "PSUBSCRIBE" : "SUBSCRIBE", text, true);
}

static void on_conn_up(void *ctx)
{
	struct redis_pubsub *p = ctx;

	p->is_connected = true;
	p->client_id = 0;
	/* First: a subscriber may not ask. */
	ask(p, "CLIENT", "ID", false);
	for (struct map_entry *e = map_first(p->names); e; e = map_next(e))
		subscribe(p, map_key(e), map_value(e));
}

static void on_conn_down(void *ctx, const struct err *why)
{
	struct redis_pubsub *p = ctx;

	p->is_connected = p->is_up = false;
	p->events.on_down(p->ctx, why);
}

/* message, channel, data; or pmessage, pattern, channel, data. */
static void on_push(void *ctx, const redisReply *message)
{
	struct redis_pubsub *p = ctx;
	const redisReply *name = message->element[1];
	const redisReply *data = message->element[message->elements - 1];

	if (p->is_closing || !name->str)
		return;
	if (strcmp(name->str, REDIS_INVALIDATIONS) == 0)
		p->events.on_invalidate(p->ctx);
	else if (map_has(p->names, name->str) && data->type == REDIS_REPLY_STRING)
		p->events.on_message(p->ctx, name->str, data->str, data->len);
}

static void pubsub_free(struct redis_pubsub *p)
{
	while (!list_is_empty(&p->asked))
		question_free(list_entry(p->asked.next, struct question, node));
	for (struct map_entry *e = map_first(p->names); e; e = map_next(e))
		free(map_value(e));
	map_free(p->names);
	free(p);
}

static void on_conn_closed(void *ctx)
{
	struct redis_pubsub *p = ctx;
	struct redis_pubsub_events events = p->events;
	void *user = p->ctx;

	pubsub_free(p);
	events.on_closed(user);
}

static const struct redis_conn_events conn_events = {
	.on_up = on_conn_up,
	.on_down = on_conn_down,
	.on_closed = on_conn_closed,
	.on_push = on_push,
};

struct redis_pubsub *redis_pubsub_open(const struct redis_pubsub_options *options, struct err *err)
{
	struct redis_pubsub *p = mem_calloc(1, sizeof(*p));
	struct redis_conn_options conn = options->conn;

	p->events = *options->events;
	p->ctx = options->ctx;
	p->names = map_new();
	list_init(&p->asked);
	conn.events = &conn_events;
	conn.ctx = p;
	p->conn = redis_conn_open(&conn, err);
	if (p->conn)
		return p;
	pubsub_free(p);
	return NULL;
}

void redis_pubsub_subscribe(struct redis_pubsub *p, const char *text, bool is_pattern)
{
	struct name *name;

	if (map_has(p->names, text))
		return;
	name = mem_calloc(1, sizeof(*name));
	name->is_pattern = is_pattern;
	map_put(p->names, text, name);
	if (!p->is_connected)
		return;
	p->is_up = false;
	subscribe(p, text, name);
}

void redis_pubsub_unsubscribe(struct redis_pubsub *p, const char *text)
{
	struct name *name = map_del(p->names, text);

	if (name && p->is_connected)
		ask(p, name->is_pattern ? "PUNSUBSCRIBE" : "UNSUBSCRIBE", text, true);
	free(name);
}

void redis_pubsub_retry(struct redis_pubsub *p)
{
	for (struct map_entry *e = map_first(p->names); e && p->is_connected; e = map_next(e))
		if (((const struct name *)map_value(e))->is_refused)
			subscribe(p, map_key(e), map_value(e));
}

const char *redis_pubsub_host(const struct redis_pubsub *p)
{
	return redis_conn_host(p->conn);
}

void redis_pubsub_restart(struct redis_pubsub *p, const char *reason)
{
	redis_conn_restart(p->conn, reason);
}

bool redis_pubsub_is_up(const struct redis_pubsub *p)
{
	return p->is_up;
}

void redis_pubsub_close(struct redis_pubsub *p)
{
	p->is_closing = true;
	redis_conn_close(p->conn);
}

#include "transport/redis_popper.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "transport/redis_keys.h"

#define WAIT_S	   "1" /* then it asks anew, for queues that were added */
#define AT_ONCE	   "100"
#define QUEUES_MAX 64 /* that are waited for; a program has one or two */

struct redis_popper {
	struct redis_conn *conn;
	struct redis_popper_options options;
	struct map *keys; /* list -> name of its queue (char *) */
	char *draining;	  /* the list at hand */
	bool is_up, is_asking, is_closing;
};

static void ask(struct redis_popper *p);

static void deliver(struct redis_popper *p, const char *key, const redisReply *text)
{
	const char *queue = map_get(p->keys, key);

	if (queue && text->type == REDIS_REPLY_STRING && !p->is_closing)
		p->options.on_message(p->options.ctx, queue, text->str, text->len);
}

static void on_drained(void *ctx, const redisReply *reply)
{
	struct redis_popper *p = ctx;

	p->is_asking = false;
	if (!reply)
		return;
	for (size_t i = 0; reply->type == REDIS_REPLY_ARRAY && i < reply->elements; i++)
		deliver(p, p->draining, reply->element[i]);
	if (reply->type != REDIS_REPLY_ERROR)
		ask(p);
}

/* Where one was, there may be more. */
static void drain(struct redis_popper *p, const char *key)
{
	const struct redis_arg args[] = {REDIS_ARG("RPOP"), {key, strlen(key)}, REDIS_ARG(AT_ONCE)};

	free(p->draining);
	p->draining = mem_strdup(key);
	p->is_asking = redis_conn_command(p->conn, args, 3, on_drained, p) == 0;
}

static void on_popped(void *ctx, const redisReply *reply)
{
	struct redis_popper *p = ctx;

	p->is_asking = false;
	if (!reply || reply->type == REDIS_REPLY_ERROR)
		return; /* the tick asks again */
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 && reply->element[0]->str) {
		drain(p, reply->element[0]->str);
		deliver(p, reply->element[0]->str, reply->element[1]);
	}
	ask(p);
}

static void ask(struct redis_popper *p)
{
	struct redis_arg args[QUEUES_MAX * REDIS_MAX_STEPS + 2];
	int argc = 0;

	if (!p->is_up || p->is_asking || p->is_closing || map_count(p->keys) == 0)
		return;
	args[argc++] = REDIS_ARG("BRPOP");
	for (struct map_entry *e = map_first(p->keys); e; e = map_next(e)) {
		if (argc == QUEUES_MAX * REDIS_MAX_STEPS + 1)
			break;
		args[argc++] = (struct redis_arg){map_key(e), strlen(map_key(e))};
	}
	args[argc++] = REDIS_ARG(WAIT_S);
	p->is_asking = redis_conn_command(p->conn, args, argc, on_popped, p) == 0;
}

static void on_up(void *ctx)
{
	struct redis_popper *p = ctx;

	p->is_up = true;
	p->is_asking = false;
	ask(p);
}

static void on_down(void *ctx, const struct err *why)
{
	(void)why; /* the broker's own connection says it */
	((struct redis_popper *)ctx)->is_up = false;
}

static void popper_free(struct redis_popper *p)
{
	for (struct map_entry *e = map_first(p->keys); e; e = map_next(e))
		free(map_value(e));
	map_free(p->keys);
	free(p->draining);
	free(p);
}

static void on_closed(void *ctx)
{
	struct redis_popper *p = ctx;
	struct redis_popper_options options = p->options;

	popper_free(p);
	options.on_closed(options.ctx);
}

static const struct redis_conn_events events = {
	.on_up = on_up,
	.on_down = on_down,
	.on_closed = on_closed,
};

struct redis_popper *redis_popper_open(const struct redis_popper_options *options, struct err *err)
{
	struct redis_popper *p = mem_calloc(1, sizeof(*p));
	struct redis_conn_options conn = options->conn;

	p->options = *options;
	p->keys = map_new();
	conn.events = &events;
	conn.ctx = p;
	p->conn = redis_conn_open(&conn, err);
	if (p->conn)
		return p;
	popper_free(p);
	return NULL;
}

void redis_popper_add(struct redis_popper *p, const char *queue)
{
	for (unsigned step = 0; step < p->options.names->step_count; step++) {
		auto_free char *key = redis_queue_key(p->options.names, queue, step);

		if (!map_has(p->keys, key))
			map_put(p->keys, key, mem_strdup(queue));
	}
	ask(p);
}

void redis_popper_remove(struct redis_popper *p, const char *queue)
{
	for (unsigned step = 0; step < p->options.names->step_count; step++) {
		auto_free char *key = redis_queue_key(p->options.names, queue, step);

		free(map_del(p->keys, key));
	}
}

bool redis_popper_is_idle(const struct redis_popper *p)
{
	return map_count(p->keys) == 0;
}

void redis_popper_tick(struct redis_popper *p)
{
	ask(p);
}

void redis_popper_close(struct redis_popper *p)
{
	p->is_closing = true;
	redis_conn_close(p->conn);
}

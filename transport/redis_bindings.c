#include "transport/redis_bindings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/redis_answer.h"
#include "transport/redis_binding.h"
#include "transport/redis_keys.h"

#define MEMBER_MAX ((size_t)64 << 10)
/* Kombu's: nobody loses bindings because he stands still for a while. */
#define LIFETIME_MIN_MS 3600000.0
#define LIFETIME_FACTOR 2
/* Also what lasts is written again: somebody may have emptied the database. */
#define REFRESH_MS  600000
#define PASSING_MAX 256

struct binding {
	struct list_node node;
	char *queue, *exchange, *member;
	char *id; /* among the known ones */
	double expires_s;
	bool goes, is_passing;
};

static struct binding *binding_of(struct list_node *node)
{
	return list_entry(node, struct binding, node);
}

static void binding_free(struct redis_bindings *b, struct binding *one)
{
	map_del(b->known, one->id);
	b->passing_count -= one->is_passing;
	list_remove(&one->node);
	free(one->id);
	free(one->queue);
	free(one->exchange);
	free(one->member);
	free(one);
}

static struct redis_arg arg_of(const char *text)
{
	return (struct redis_arg){text, strlen(text)};
}

/* Told once, until everything is written. */
static void on_bound(void *ctx, const redisReply *reply)
{
	struct redis_bindings *b = ctx;
	auto_free char *text = NULL;

	b->unanswered--;
	if (reply && b->unanswered == 0)
		b->on_written(b->ctx);
	if (!reply || reply->type != REDIS_REPLY_ERROR)
		return;
	b->needs_retry = true;
	redis_script_is_gone(b->wire->scripts, REDIS_SCRIPT_BIND, reply);
	if (strncmp(reply->str, "NOSCRIPT", 8) == 0 || b->is_told)
		return;
	b->is_told = true;
	text = mem_printf("Redis refuses a binding (it is tried again): %.200s", reply->str);
	b->wire->notice(b->wire->ctx, true, text);
}

static void on_unbound(void *ctx, const redisReply *reply)
{
	struct redis_bindings *b = ctx;

	b->unanswered--;
	if (reply)
		redis_script_is_gone(b->wire->scripts, REDIS_SCRIPT_UNBIND, reply);
	if (reply && b->unanswered == 0)
		b->on_written(b->ctx);
}

static void add_to_set(struct redis_bindings *b, const char *key, const struct binding *one)
{
	const struct redis_arg args[] = {REDIS_ARG("SADD"), arg_of(key), arg_of(one->member)};

	if (redis_conn_command(b->wire->conn, args, 3, on_bound, b) == 0)
		b->unanswered++;
	else
		b->needs_retry = true;
}

static void add_for_a_time(struct redis_bindings *b, const char *key, const struct binding *one)
{
	auto_free char *deadlines = redis_key(b->wire->options, REDIS_BINDING_DEADLINES);
	double ms = one->expires_s * 1000 * LIFETIME_FACTOR;
	char lifetime[32];
	struct redis_arg args[8];

	snprintf(lifetime, sizeof(lifetime), "%.0f", ms > LIFETIME_MIN_MS ? ms : LIFETIME_MIN_MS);
	args[2] = REDIS_ARG("2");
	args[3] = arg_of(key);
	args[4] = arg_of(deadlines);
	args[5] = arg_of(one->member);
	args[6] = arg_of(one->exchange);
	args[7] = arg_of(lifetime);
	if (redis_script_call(b->wire->scripts, b->wire->conn, REDIS_SCRIPT_BIND, args, 8, on_bound,
			      b) == 0)
		b->unanswered++;
	else
		b->needs_retry = true;
}

static void write_binding(struct redis_bindings *b, const struct binding *one)
{
	auto_free char *key = redis_binding_key(b->wire->options, one->exchange);
	auto_free char *permanent = redis_binding_permanent_key(b->wire->options, one->exchange);

	if (!b->wire->conn)
		return;
	if (one->expires_s >= 0) {
		add_for_a_time(b, key, one);
		return;
	}
	/* This one first: it keeps others from deleting the table. */
	add_to_set(b, permanent, one);
	add_to_set(b, key, one);
}

static void write_all(struct redis_bindings *b)
{
	struct list_node *pos;

	b->needs_retry = false;
	b->refreshed_ms = uv_now(b->wire->loop);
	list_foreach (pos, &b->all)
		write_binding(b, binding_of(pos));
}

void redis_bindings_init(struct redis_bindings *b, struct redis_wire *wire,
			 void (*on_written)(void *ctx), void *ctx)
{
	*b = (struct redis_bindings){.wire = wire, .on_written = on_written, .ctx = ctx};
	list_init(&b->all);
	b->known = map_new();
}

static void forget_oldest(struct redis_bindings *b)
{
	struct list_node *pos;

	list_foreach (pos, &b->all) {
		if (!binding_of(pos)->is_passing)
			continue;
		binding_free(b, binding_of(pos));
		return;
	}
}

int redis_bindings_add(struct redis_bindings *b, const struct redis_binding_def *def,
		       struct err *err)
{
	auto_str member = STR_INIT(MEMBER_MAX);
	auto_free char *id = NULL;
	struct binding *one;

	if (!def->exchange || !*def->exchange)
		return 0;
	if (redis_exchange_type_check(def->exchange, def->type, err) < 0)
		return -1;
	if (redis_binding_write(&member, b->wire->options, def->type, def->key, def->queue) < 0)
		return err_set(err, ERR_LIMIT, "binding key '%.40s...' is too long", def->key);
	id = mem_printf("%s\n%s", def->exchange, member.data);
	one = map_get(b->known, id);
	if (one) {
		b->passing_count -= one->is_passing && !def->is_passing;
		one->is_passing = one->is_passing && def->is_passing;
		one->goes = one->goes || def->goes;
		return 0;
	}
	if (def->is_passing && b->passing_count >= PASSING_MAX)
		forget_oldest(b);
	one = mem_calloc(1, sizeof(*one));
	one->queue = mem_strdup(def->queue);
	one->exchange = mem_strdup(def->exchange);
	one->member = str_detach(&member);
	one->id = mem_strdup(id);
	one->expires_s = def->expires_s;
	one->goes = def->goes;
	one->is_passing = def->is_passing;
	b->passing_count += one->is_passing;
	list_append(&b->all, &one->node);
	map_put(b->known, one->id, one);
	write_binding(b, one);
	return 0;
}

static void delete_binding(struct redis_bindings *b, const struct binding *one)
{
	const struct redis_options *o = b->wire->options;
	auto_free char *key = redis_binding_key(o, one->exchange);
	auto_free char *permanent = redis_binding_permanent_key(o, one->exchange);
	auto_free char *deadlines = redis_key(o, REDIS_BINDING_DEADLINES);
	char *lists[REDIS_MAX_STEPS], count[16];
	struct redis_arg args[8 + REDIS_MAX_STEPS];
	int argc = 3;

	snprintf(count, sizeof(count), "%u", 3 + o->step_count);
	args[2] = arg_of(count);
	args[argc++] = arg_of(key);
	args[argc++] = arg_of(permanent);
	args[argc++] = arg_of(deadlines);
	for (unsigned i = 0; i < o->step_count; i++) {
		lists[i] = redis_queue_key(o, one->queue, i);
		args[argc++] = arg_of(lists[i]);
	}
	args[argc++] = arg_of(one->member);
	args[argc++] = arg_of(one->exchange);
	if (redis_script_call(b->wire->scripts, b->wire->conn, REDIS_SCRIPT_UNBIND, args, argc,
			      on_unbound, b) == 0)
		b->unanswered++;
	for (unsigned i = 0; i < o->step_count; i++)
		free(lists[i]);
}

void redis_bindings_leave(struct redis_bindings *b, const char *queue)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, &b->all) {
		struct binding *one = binding_of(pos);

		if (!one->goes || (queue && strcmp(one->queue, queue) != 0))
			continue;
		if (b->wire->conn)
			delete_binding(b, one);
		binding_free(b, one);
	}
}

void redis_bindings_up(struct redis_bindings *b)
{
	b->unanswered = 0;
	write_all(b);
}

void redis_bindings_tick(struct redis_bindings *b)
{
	bool is_due = uv_now(b->wire->loop) - b->refreshed_ms >= REFRESH_MS;

	if (!b->wire->conn || b->unanswered > 0)
		return;
	if (b->needs_retry || is_due)
		write_all(b);
	else
		b->is_told = false;
}

void redis_bindings_clear(struct redis_bindings *b)
{
	while (!list_is_empty(&b->all))
		binding_free(b, binding_of(b->all.next));
	map_free(b->known);
}

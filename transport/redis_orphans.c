#include "transport/redis_orphans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "transport/broker_redis.h"

#define PERIOD_US   ((int64_t)60 * 1000000)
#define PAGES_MOST  20 /* a second, of about a thousand names */
#define OWNERS_MOST 1000

void redis_orphans_init(struct broker_redis *r)
{
	r->orphans.owners = map_new();
	r->orphans.period_us = PERIOD_US;
}

static void owner_forget(struct redis_orphans *o, const char *id)
{
	free(map_del(o->owners, id));
}

/* The missing */

static void note(struct broker_redis *r, const char *field)
{
	struct redis_orphans *o = &r->orphans;
	char id[REDIS_ID_LEN + 1];
	int64_t *since;

	if (!redis_sweep_id_of(field, id) || strcmp(id, r->lease.id) == 0 ||
	    redis_sweep_is_known(r, id) || map_has(o->owners, id) ||
	    map_count(o->owners) >= OWNERS_MOST)
		return;
	since = mem_alloc(sizeof(*since));
	*since = clock_mono_us();
	map_put(o->owners, id, since);
}

/* A live node would have renewed its entry long ago. */
static void judge(struct broker_redis *r, int64_t now)
{
	struct redis_orphans *o = &r->orphans;

	for (struct map_entry *e = map_first(o->owners), *next; e; e = next) {
		auto_free char *id = mem_strdup(map_key(e));
		int64_t since = *(const int64_t *)map_value(e);

		next = map_next(e);
		if (since < r->lease.contact_us)
			since = r->lease.contact_us;
		if (redis_sweep_is_known(r, id)) {
			owner_forget(o, id);
		} else if (r->lease.contact_us != 0 && now - since >= REDIS_LEASE_US) {
			redis_lease_bury(r, id, "");
			owner_forget(o, id);
		}
	}
}

/* The pass */

static void pass_next(struct broker_redis *r);

static void on_page(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;
	struct redis_orphans *o = &r->orphans;

	o->is_asking = false;
	if (!redis_sweep_is_page(reply)) {
		o->is_passing = false;
		return;
	}
	for (size_t i = 0; i < reply->element[1]->elements; i += 2)
		if (reply->element[1]->element[i]->type == REDIS_REPLY_STRING)
			note(r, reply->element[1]->element[i]->str);
	snprintf(o->cursor, sizeof(o->cursor), "%s", reply->element[0]->str);
	o->is_passing = strcmp(o->cursor, "0") != 0;
	pass_next(r);
}

static void pass_next(struct broker_redis *r)
{
	struct redis_orphans *o = &r->orphans;
	const struct redis_arg args[] = {REDIS_ARG("ZSCAN"),
					 {r->index, strlen(r->index)},
					 {o->cursor, strlen(o->cursor)},
					 REDIS_ARG("COUNT"),
					 REDIS_ARG("1000")};

	if (!o->is_passing || o->is_asking || o->pages >= PAGES_MOST)
		return;
	o->pages++;
	o->is_asking = redis_conn_command(r->conn, args, 5, on_page, r) == 0;
}

/* Nil: another does it, or did so a moment ago. */
static void on_turn(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;
	struct redis_orphans *o = &r->orphans;

	o->is_asking = false;
	if (reply == NULL || reply->type != REDIS_REPLY_STATUS)
		return;
	o->is_passing = true;
	snprintf(o->cursor, sizeof(o->cursor), "0");
	pass_next(r);
}

static void ask_turn(struct broker_redis *r)
{
	struct redis_orphans *o = &r->orphans;
	auto_free char *key = mem_printf("%s.pass", r->nodes);
	char hold[24];
	const struct redis_arg args[] = {REDIS_ARG("SET"), {key, strlen(key)}, {r->lease.id, 32},
					 REDIS_ARG("NX"),  REDIS_ARG("PX"),    {hold, 0}};
	struct redis_arg all[6];

	memcpy(all, args, sizeof(all));
	snprintf(hold, sizeof(hold), "%lld", (long long)(o->period_us / 1000 * 9 / 10));
	all[5].len = strlen(hold);
	o->is_asking = redis_conn_command(r->conn, all, 6, on_turn, r) == 0;
}

void redis_orphans_tick(struct broker_redis *r)
{
	struct redis_orphans *o = &r->orphans;
	int64_t now = clock_mono_us();

	o->pages = 0;
	judge(r, now);
	if (o->is_passing || o->is_asking) {
		pass_next(r);
	} else if (now >= o->next_us) {
		o->next_us = now + o->period_us;
		ask_turn(r);
	}
}

void redis_orphans_down(struct broker_redis *r)
{
	r->orphans.is_passing = r->orphans.is_asking = false;
}

void redis_orphans_clear(struct broker_redis *r)
{
	struct redis_orphans *o = &r->orphans;

	if (o->owners == NULL)
		return;
	for (struct map_entry *e = map_first(o->owners); e; e = map_next(e))
		free(map_value(e));
	map_free(o->owners);
}

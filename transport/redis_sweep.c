#include "transport/redis_sweep.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "transport/broker_redis.h"

#define FOUND_MOST   10000000
#define EXPIRED_MOST ((size_t)10000) /* at once */

static int compare(const void *a, const void *b)
{
	const uint64_t *left = a, *right = b;

	return *left < *right ? -1 : *left > *right;
}

static void found_add(struct redis_sweep *s, uint64_t number)
{
	if (s->found_count == s->found_cap) {
		s->found_cap = s->found_cap ? s->found_cap * 2 : 256;
		s->found = mem_realloc(s->found, s->found_cap * sizeof(*s->found));
	}
	s->found[s->found_count++] = number;
}

bool redis_sweep_id_of(const char *field, char id[REDIS_ID_LEN + 1])
{
	size_t len = strspn(field, "0123456789abcdef");

	if (len != REDIS_ID_LEN || field[len] != ':')
		return false;
	snprintf(id, REDIS_ID_LEN + 1, "%.32s", field);
	return true;
}

bool redis_sweep_is_known(const struct broker_redis *r, const char *id)
{
	char dead[REDIS_ID_LEN + sizeof(REDIS_NODE_DEAD)];

	snprintf(dead, sizeof(dead), REDIS_NODE_DEAD "%.32s", id);
	return map_has(r->lease.nodes, id) || map_has(r->lease.nodes, dead);
}

/* The end of a scan */

/* What was taken last is put back first, so that what was first is served first. */
static void put_back_found(struct broker_redis *r)
{
	struct redis_sweep *s = &r->sweep;
	char field[REDIS_FIELD_BYTES];

	if (s->found_count == 0) {
		auto_free char *name = mem_printf(REDIS_NODE_DEAD "%s", s->node);
		struct redis_node *node = map_get(r->lease.nodes, name);

		if (node != NULL)
			node->is_clean = true;
		return;
	}
	auto_free char *text = mem_printf("Redis: a worker has gone without a word; the %zu "
					  "messages that it held are put back",
					  s->found_count);

	redis_notice(r, false, text);
	qsort(s->found, s->found_count, sizeof(*s->found), compare);
	for (size_t i = s->found_count; i-- > 0;) {
		snprintf(field, sizeof(field), "%s:%llu", s->node, (unsigned long long)s->found[i]);
		redis_unacked_put_back(r, field, 'R');
	}
}

/* Of our own, what we neither hold nor are about to put back was answered. */
static void ack_forgotten(struct broker_redis *r)
{
	struct redis_sweep *s = &r->sweep;

	for (size_t i = 0; i < s->found_count; i++)
		if (s->found[i] < s->known_below &&
		    !bsearch(&s->found[i], s->known, s->known_count, sizeof(*s->known), compare))
			redis_unacked_ack(r, s->found[i]);
}

static void scan_end(struct broker_redis *r, bool is_whole)
{
	struct redis_sweep *s = &r->sweep;
	bool is_own = strcmp(s->node, r->lease.id) == 0;

	s->is_busy = false;
	if (is_whole && is_own)
		ack_forgotten(r);
	else if (is_whole && s->generation == r->lease.generation)
		put_back_found(r);
	s->found_count = 0;
	s->node[0] = '\0';
	s->goes_on = is_whole && !is_own;
	redis_wake(r);
}

/* Scanning the index: it has all names, and no message */

static void scan_next(struct broker_redis *r);

bool redis_sweep_is_page(const redisReply *reply)
{
	return reply != NULL && reply->type == REDIS_REPLY_ARRAY && reply->elements == 2 &&
	       reply->element[0]->type == REDIS_REPLY_STRING &&
	       reply->element[1]->type == REDIS_REPLY_ARRAY;
}

static void on_scanned(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;
	struct redis_sweep *s = &r->sweep;
	size_t len = strlen(s->node);

	if (!redis_sweep_is_page(reply)) {
		if (reply != NULL)
			redis_trouble(r, "looking for messages of dead workers", reply);
		scan_end(r, false);
		return;
	}
	for (size_t i = 0; i < reply->element[1]->elements; i += 2) {
		const redisReply *member = reply->element[1]->element[i];

		if (member->type == REDIS_REPLY_STRING && strncmp(member->str, s->node, len) == 0 &&
		    member->str[len] == ':' && s->found_count < FOUND_MOST)
			found_add(s, strtoull(member->str + len + 1, NULL, 10));
	}
	snprintf(s->cursor, sizeof(s->cursor), "%s", reply->element[0]->str);
	if (strcmp(s->cursor, "0") == 0)
		scan_end(r, true);
	else
		scan_next(r);
}

static void scan_next(struct broker_redis *r)
{
	struct redis_sweep *s = &r->sweep;
	char pattern[sizeof(s->node) + 4];
	struct redis_arg args[] = {REDIS_ARG("ZSCAN"),
				   {r->index, strlen(r->index)},
				   {s->cursor, strlen(s->cursor)},
				   REDIS_ARG("MATCH"),
				   {pattern, 0},
				   REDIS_ARG("COUNT"),
				   REDIS_ARG("1000")};

	snprintf(pattern, sizeof(pattern), "%s:*", s->node);
	args[4].len = strlen(pattern);
	if (redis_conn_command(r->conn, args, 7, on_scanned, r) < 0)
		scan_end(r, false);
}

static void scan_begin(struct broker_redis *r, const char *id)
{
	struct redis_sweep *s = &r->sweep;

	s->is_busy = true;
	s->generation = r->lease.generation;
	s->found_count = 0;
	snprintf(s->node, sizeof(s->node), "%s", id);
	snprintf(s->cursor, sizeof(s->cursor), "0");
	scan_next(r);
}

void redis_sweep_node(struct broker_redis *r, const char *id)
{
	auto_free char *name = mem_printf(REDIS_NODE_DEAD "%s", id);
	struct redis_node *node = map_get(r->lease.nodes, name);

	if (r->sweep.is_busy || r->answers.back_count > 0 || strlen(id) != REDIS_ID_LEN)
		return;
	if (node != NULL)
		node->swept = r->lease.round;
	scan_begin(r, id);
}

void redis_sweep_next(struct broker_redis *r)
{
	const size_t len = strlen(REDIS_NODE_DEAD);

	if (!r->sweep.goes_on || r->sweep.is_busy || r->answers.back_count > 0 ||
	    !r->lease.is_registered)
		return;
	r->sweep.goes_on = false;
	for (struct map_entry *e = map_first(r->lease.nodes); e; e = map_next(e)) {
		const struct redis_node *node = map_value(e);

		if (!node->is_clean && node->swept != r->lease.round &&
		    strncmp(map_key(e), REDIS_NODE_DEAD, len) == 0) {
			redis_sweep_node(r, map_key(e) + len);
			return;
		}
	}
}

/* Numbers that are known now; what is under way or taken from now on has higher ones. */
static void scan_own(struct broker_redis *r)
{
	struct redis_sweep *s = &r->sweep;
	uint64_t tags[256];
	size_t n = r->answers.back_count, got;
	unsigned at = 0;

	s->wants_own = false;
	free(s->known);
	s->known = mem_calloc(n + r->ahead.count + r->held.used + 1, sizeof(*s->known));
	redis_back_numbers(r, s->known);
	n += redis_ahead_numbers(r, s->known + n);
	while ((got = redis_held_list(&r->held, &at, tags, 256)) > 0)
		for (size_t i = 0; i < got; i++)
			s->known[n++] = redis_held_number(tags[i]);
	s->known_count = n;
	s->known_below = r->take.flight_count > 0 ? r->take.flights[0].first : r->take.next_number;
	qsort(s->known, n, sizeof(*s->known), compare);
	scan_begin(r, r->lease.id);
}

/* Python workers */

static bool is_of_node(const struct broker_redis *r, const char *field)
{
	char id[REDIS_ID_LEN + 1];

	return redis_sweep_id_of(field, id) && redis_sweep_is_known(r, id);
}

static void ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply;
}

static void unlock(struct broker_redis *r)
{
	struct redis_arg args[] = {{0},
				   {0},
				   REDIS_ARG("1"),
				   {r->mutex, strlen(r->mutex)},
				   {r->sweep.token, strlen(r->sweep.token)}};

	(void)redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_UNLOCK, args, 5, ignore, NULL);
}

static void on_expired(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;
	size_t count = 0;

	if (reply == NULL || reply->type == REDIS_REPLY_NIL ||
	    redis_script_is_gone(&r->scripts, REDIS_SCRIPT_EXPIRED, reply))
		return;
	if (reply->type != REDIS_REPLY_ARRAY) {
		redis_trouble(r, "looking for unacked messages", reply);
		return;
	}
	/* The oldest is the first of the answer, and is to be the next that is served. */
	for (size_t i = reply->elements; i-- > 0;) {
		const redisReply *field = reply->element[i];

		if (field->type != REDIS_REPLY_STRING || is_of_node(r, field->str))
			continue;
		redis_unacked_put_back(r, field->str, 'R');
		count++;
	}
	unlock(r);
	if (count > 0) {
		auto_free char *text =
			mem_printf("Redis: %zu messages that were unacked for more than the "
				   "visibility timeout of %g s are put back",
				   count, r->options.visibility_timeout_s);

		redis_notice(r, false, text);
	}
}

static void look_for_expired(struct broker_redis *r)
{
	char hold[32], timeout[32], most[32];
	struct redis_arg args[] = {{0},
				   {0},
				   REDIS_ARG("2"),
				   {r->mutex, strlen(r->mutex)},
				   {r->index, strlen(r->index)},
				   {r->sweep.token, 36},
				   {hold, 0},
				   {timeout, 0},
				   {most, 0}};
	double hold_ms = r->options.unacked_mutex_expire_s * 1000;

	uuid4(r->sweep.token);
	snprintf(hold, sizeof(hold), "%.0f", hold_ms < 1 ? 1 : hold_ms);
	snprintf(timeout, sizeof(timeout), "%.3f", r->options.visibility_timeout_s);
	snprintf(most, sizeof(most), "%zu",
		 r->options.restore_limit < EXPIRED_MOST ? r->options.restore_limit : EXPIRED_MOST);
	args[6].len = strlen(hold);
	args[7].len = strlen(timeout);
	args[8].len = strlen(most);
	(void)redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_EXPIRED, args, 9, on_expired, r);
}

/* Time */

void redis_sweep_up(struct broker_redis *r)
{
	r->sweep.wants_own = r->lease.epoch > 1;
	r->sweep.expired_next_us = 0;
}

void redis_sweep_down(struct broker_redis *r)
{
	r->sweep.is_busy = false;
	r->sweep.goes_on = false;
	redis_orphans_down(r);
}

void redis_sweep_tick(struct broker_redis *r)
{
	int64_t now = clock_mono_us();

	if (!r->is_connected || !r->lease.is_registered)
		return;
	if (r->sweep.wants_own && !r->sweep.is_busy)
		scan_own(r);
	redis_orphans_tick(r);
	/* Once who is alive is known. */
	if (now >= r->sweep.expired_next_us && r->answers.back_count == 0) {
		r->sweep.expired_next_us = now + (int64_t)(r->options.restore_interval_s * 1e6);
		look_for_expired(r);
	}
}

void redis_sweep_clear(struct broker_redis *r)
{
	free(r->sweep.found);
	free(r->sweep.known);
	redis_orphans_clear(r);
}

#include "worker/report/election.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"

#define ID_MAX	 1024
#define TEXT_MAX ((size_t)1 << 20)

/* The best candidate so far is all that has to be kept of them. */
struct election_one {
	bool is_ours; /* we stand, so we count the answers */
	size_t answers;
	uint64_t clock;
	char *leader; /* NULL = nobody yet */
	json_t *topic, *action;
};

static void one_free(struct election_one *one)
{
	free(one->leader);
	json_decref(one->topic);
	json_decref(one->action);
	free(one);
}

static struct span text_of(struct str *out, const json_t *value)
{
	struct str *s = out;

	if (!value || pyjson_dump(s, value) < 0)
		return (struct span){"null", 4};
	return (struct span){s->data, s->len};
}

/* NULL when the id is none. */
static struct election_one *one_of(struct election *e, const json_t *id)
{
	auto_str key = STR_INIT(ID_MAX);
	struct election_one *one;

	if (!id || pyjson_dump(&key, id) < 0)
		return NULL;
	one = map_get(e->all, key.data);
	if (one)
		return one;
	/* Those that others stand for but we do not never end here. */
	if (map_count(e->all) >= ELECTIONS_MAX)
		one_free(map_del(e->all, map_key(map_first(e->all))));
	one = mem_calloc(1, sizeof(*one));
	map_put(e->all, key.data, one);
	return one;
}

static void end(struct election *e, const json_t *id)
{
	auto_str key = STR_INIT(ID_MAX);

	if (pyjson_dump(&key, id) == 0)
		one_free(map_del(e->all, key.data));
}

void election_stand(struct election *e, const json_t *id, const json_t *topic, const json_t *action)
{
	struct election_one *one = one_of(e, id);
	auto_str id_text = STR_INIT(ID_MAX);
	auto_str topic_text = STR_INIT(TEXT_MAX);
	auto_str action_text = STR_INIT(TEXT_MAX);

	if (!one) {
		log_error("gossip: an election without a usable id");
		return;
	}
	one->is_ours = true;
	one->answers = 0;
	events_elect(e->events, text_of(&id_text, id), text_of(&topic_text, topic),
		     text_of(&action_text, action));
}

static bool is_complete(const json_t *event)
{
	static const char *const names[] = {"id",    "clock",  "hostname", "pid",
					    "topic", "action", "cver"};

	for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
		if (json_object_get(event, names[i]))
			continue;
		log_error("election request missing field '%s'", names[i]);
		return false;
	}
	return json_is_integer(json_object_get(event, "clock")) &&
	       json_is_string(json_object_get(event, "hostname")) &&
	       json_is_integer(json_object_get(event, "pid"));
}

static bool is_before(uint64_t clock, const char *name, const struct election_one *one)
{
	if (!one->leader || clock != one->clock)
		return !one->leader || clock < one->clock;
	return strcmp(name, one->leader) < 0;
}

void election_heard(struct election *e, const json_t *event)
{
	const json_t *id = json_object_get(event, "id");
	auto_str id_text = STR_INIT(ID_MAX);

	if (!is_complete(event))
		return;
	struct election_one *one = one_of(e, id);
	uint64_t clock = (uint64_t)json_integer_value(json_object_get(event, "clock"));
	auto_free char *name = mem_printf("%s.%" JSON_INTEGER_FORMAT,
					  json_string_value(json_object_get(event, "hostname")),
					  json_integer_value(json_object_get(event, "pid")));

	if (one && is_before(clock, name, one)) {
		free(one->leader);
		one->leader = mem_strdup(name);
		one->clock = clock;
		json_decref(one->topic);
		json_decref(one->action);
		one->topic = json_incref(json_object_get(event, "topic"));
		one->action = json_incref(json_object_get(event, "action"));
	}
	events_elect_ack(e->events, text_of(&id_text, id));
}

static void decide(const struct election *e, const struct election_one *one, const char *id)
{
	const char *topic = json_string_value(one->topic);

	if (strcmp(one->leader, e->self) != 0) {
		log_info("node %s elected for %s", one->leader, id);
		return;
	}
	log_info("I won the election %s", id);
	if (topic && strcmp(topic, "task") == 0)
		e->on_won(e->ctx, one->action);
	else
		log_error("Unknown election topic %s", topic ? topic : "");
}

void election_acked(struct election *e, const json_t *event, size_t others)
{
	const json_t *id = json_object_get(event, "id");
	auto_str key = STR_INIT(ID_MAX);
	struct election_one *one;

	if (!id || pyjson_dump(&key, id) < 0)
		return;
	one = map_get(e->all, key.data);
	if (!one || !one->is_ours || ++one->answers < others || !one->leader)
		return;
	decide(e, one, key.data);
	end(e, id);
}

void election_init(struct election *e, struct events *events, election_won_fn *on_won, void *ctx)
{
	*e = (struct election){.events = events, .on_won = on_won, .ctx = ctx};
	e->all = map_new();
	e->self = mem_printf("%s.%d", events->config->node_name, (int)getpid());
}

void election_clear(struct election *e)
{
	for (struct map_entry *entry = map_first(e->all); entry; entry = map_next(entry))
		one_free(map_value(entry));
	map_free(e->all);
	free(e->self);
}

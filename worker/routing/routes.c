#include "worker/routing/routes.h"

#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/map.h"
#include "base/mem.h"
#include "protocol/pidbox.h"
#include "worker/routing/queue_options.h"

#define PATTERNS_MAX 10000

static const char *const route_keys[] = {
	"queue", "exchange", "exchange_type", "routing_key", "priority", "delivery_mode", NULL};

/* One mapping of names. */
struct router {
	struct map *names; /* -> struct route */
	struct pattern {
		const char *text;
		const struct route *route;
	} * patterns;
	size_t pattern_count;
};

struct routes {
	struct router *all;
	size_t count;
	struct arena texts;
};

void routes_free(struct routes *r)
{
	if (!r)
		return;
	for (size_t i = 0; i < r->count; i++) {
		map_free(r->all[i].names);
		free(r->all[i].patterns);
	}
	free(r->all);
	arena_clear(&r->texts);
	free(r);
}

static struct route *read_options(struct routes *r, const char *what, const json_t *value,
				  struct err *err)
{
	struct route *route = arena_alloc(&r->texts, sizeof(*route));
	struct queue_options o = {.values = value, .what = what, .texts = &r->texts, .err = err};
	double priority;

	*route = ROUTE_NONE;
	options_only(&o, route_keys);
	route->queue = options_text(&o, "queue");
	route->exchange = options_text(&o, "exchange");
	route->exchange_type = options_text(&o, "exchange_type");
	route->routing_key = options_text(&o, "routing_key");
	route->delivery_mode = options_delivery_mode(&o, "delivery_mode");
	if (options_number(&o, "priority", &priority))
		route->priority = priority <= 255 ? (int)priority : 255;
	return route;
}

/* {"queue": ...}, or the name of a queue alone. */
static struct route *read_route(struct routes *r, const char *task, const json_t *value,
				struct err *err)
{
	auto_free char *what = mem_printf("task_routes: '%.100s'", task);

	if (json_is_object(value))
		return read_options(r, what, value, err);
	json_t *as_object = json_is_string(value)
				    ? json_pack("{s:s}", "queue", json_string_value(value))
				    : NULL;
	if (!as_object) {
		err_set(err, ERR_INVALID, "%s must lead to the name of a queue or to a mapping",
			what);
		return NULL;
	}
	struct route *route = read_options(r, what, as_object, err);

	json_decref(as_object);
	return route;
}

static void router_add(struct routes *r, struct router *to, const char *task, const json_t *value,
		       struct err *err)
{
	struct route *route = read_route(r, task, value, err);

	if (!route)
		return;
	if (!strchr(task, '*')) {
		map_put(to->names, task, route);
		return;
	}
	if (to->pattern_count >= PATTERNS_MAX || strlen(task) > PIDBOX_MAX_PATTERN) {
		err_set(err, ERR_LIMIT,
			"task_routes: more than %d patterns, or one of over %d bytes", PATTERNS_MAX,
			PIDBOX_MAX_PATTERN);
		return;
	}
	to->patterns = mem_realloc(to->patterns, (to->pattern_count + 1) * sizeof(*to->patterns));
	to->patterns[to->pattern_count++] =
		(struct pattern){.text = arena_strdup(&r->texts, task), .route = route};
}

static struct router *router_new(struct routes *r)
{
	struct router *router;

	r->all = mem_realloc(r->all, (r->count + 1) * sizeof(*r->all));
	router = &r->all[r->count++];
	*router = (struct router){.names = map_new()};
	return router;
}

static void read_pairs(struct routes *r, const json_t *list, struct err *err)
{
	struct router *to = router_new(r);
	size_t i;
	json_t *pair;

	json_array_foreach (list, i, pair) {
		const char *task = json_string_value(json_array_get(pair, 0));

		if (!task || json_array_size(pair) != 2)
			err_set(err, ERR_INVALID,
				"task_routes: a list within the list must hold pairs: [name, "
				"route]");
		else
			router_add(r, to, task, json_array_get(pair, 1), err);
	}
}

static void read_mapping(struct routes *r, const json_t *mapping, struct err *err)
{
	struct router *to = router_new(r);
	const char *task;
	json_t *value, *values = NULL;

	memcpy(&values, &mapping, sizeof(values)); /* it is only read */
	json_object_foreach (values, task, value)
		router_add(r, to, task, value, err);
}

static void read_router(struct routes *r, const json_t *router, struct err *err)
{
	if (json_is_object(router))
		read_mapping(r, router, err);
	else if (json_is_array(router))
		read_pairs(r, router, err);
	else if (json_is_string(router))
		err_set(err, ERR_UNSUPPORTED,
			"task_routes: '%.100s' names a router in Python, which smallage does not "
			"run; write what it answers as a mapping of task names to queues",
			json_string_value(router));
	else
		err_set(err, ERR_INVALID,
			"task_routes must be a mapping of task names, or a list of such");
}

struct routes *routes_read(const json_t *setting, struct err *err)
{
	struct routes *r = mem_calloc(1, sizeof(*r));
	struct err found = {0};
	size_t i;
	json_t *router;

	if (json_is_array(setting))
		json_array_foreach (setting, i, router)
			read_router(r, router, &found);
	else if (setting && !json_is_null(setting))
		read_router(r, setting, &found);
	if (found.code == ERR_NONE)
		return r;
	err_set(err, found.code, "%s", found.text);
	routes_free(r);
	return NULL;
}

const struct route *routes_find(const struct routes *r, const char *task)
{
	for (size_t i = 0; i < r->count; i++) {
		const struct router *router = &r->all[i];
		const struct route *route = map_get(router->names, task);

		for (size_t k = 0; !route && k < router->pattern_count; k++)
			if (pidbox_glob(router->patterns[k].text, strlen(router->patterns[k].text),
					task, strlen(task)))
				route = router->patterns[k].route;
		if (route)
			return route;
	}
	return NULL;
}

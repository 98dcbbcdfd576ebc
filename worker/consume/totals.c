#include "worker/consume/totals.h"

#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"

/* What shadow names beyond the most are counted under. */
#define OTHERS "(other names)"

void totals_init(struct totals *t, const struct registry *registry)
{
	memset(t, 0, sizeof(*t));
	t->registry = registry;
	t->by_task = mem_calloc(registry_count(registry) + 1, sizeof(*t->by_task));
}

void totals_clear(struct totals *t)
{
	for (struct map_entry *e = t->by_shadow ? map_first(t->by_shadow) : NULL; e;
	     e = map_next(e))
		free(map_value(e));
	map_free(t->by_shadow);
	free(t->by_task);
	memset(t, 0, sizeof(*t));
}

static void add_shadow(struct totals *t, const char *name)
{
	uint64_t *count;

	if (!t->by_shadow)
		t->by_shadow = map_new();
	count = map_get(t->by_shadow, name);
	if (!count && map_count(t->by_shadow) >= TOTALS_SHADOWS_MAX) {
		name = OTHERS;
		count = map_get(t->by_shadow, name);
	}
	if (!count) {
		count = mem_calloc(1, sizeof(*count));
		map_put(t->by_shadow, name, count);
	}
	++*count;
}

void totals_add(struct totals *t, const struct request *r)
{
	if (r->message.shadow && *r->message.shadow)
		add_shadow(t, r->message.shadow);
	else
		t->by_task[r->task->index]++;
}

static void add_to(json_t *object, const char *name, uint64_t count)
{
	json_int_t before = json_integer_value(json_object_get(object, name));

	if (count > 0)
		json_object_set_new(object, name, json_integer(before + (json_int_t)count));
}

json_t *totals_json(const struct totals *t)
{
	json_t *object = json_object();

	for (unsigned i = 0; i < registry_count(t->registry); i++)
		add_to(object, registry_at(t->registry, i)->name, t->by_task[i]);
	for (struct map_entry *e = t->by_shadow ? map_first(t->by_shadow) : NULL; e;
	     e = map_next(e))
		add_to(object, map_key(e), *(uint64_t *)map_value(e));
	return object;
}

#include "transport/filesystem_slots.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

static unsigned free_index(struct filesystem_slots *s)
{
	unsigned index;

	if (s->free > 0) {
		index = s->free - 1;
		s->free = s->all[index].next_free;
		return index;
	}
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 16;
		s->all = mem_realloc(s->all, s->cap * sizeof(*s->all));
	}
	return s->count++;
}

uint64_t filesystem_slots_put(struct filesystem_slots *s, const char *name)
{
	unsigned index = free_index(s);

	s->all[index].name = mem_strdup(name);
	s->all[index].tag = ++s->serial << FILESYSTEM_SLOT_BITS | index;
	s->used++;
	return s->all[index].tag;
}

char *filesystem_slots_take(struct filesystem_slots *s, uint64_t tag)
{
	unsigned index = (unsigned)(tag & (FILESYSTEM_MAX_SLOTS - 1));
	char *name;

	if (index >= s->count || s->all[index].name == NULL || s->all[index].tag != tag)
		return NULL;
	name = s->all[index].name;
	s->all[index].name = NULL;
	s->all[index].next_free = s->free;
	s->free = index + 1;
	s->used--;
	return name;
}

void filesystem_slots_clear(struct filesystem_slots *s)
{
	for (unsigned i = 0; i < s->count; i++)
		free(s->all[i].name);
	free(s->all);
	memset(s, 0, sizeof(*s));
}

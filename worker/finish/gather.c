#include "worker/finish/gather.h"

#include <stdlib.h>

#include "base/mem.h"

#define WINDOW 64 /* reads under way: the first task that has not ended makes the rest needless */

struct gather {
	struct finish *finish;
	struct join *join;
	const char **ids;
	size_t count, next, under_way;
	bool is_unready;
	struct err err;
	gather_done_fn *done;
	void *ctx;
};

struct reading {
	struct gather *gather;
	const char *id;
};

static void gather_end(struct gather *g)
{
	gather_done_fn *done = g->done;
	void *ctx = g->ctx;
	struct err err = g->err;
	bool is_ready = !g->is_unready;

	free(g->ids);
	free(g);
	done(ctx, is_ready, err.code == ERR_NONE ? NULL : &err);
}

static void read_more(struct gather *g);

static void on_record(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct reading *reading = ctx;
	struct gather *g = reading->gather;
	struct err why = {0};
	int found = 0;

	if (record && !err)
		found = join_add_record(g->join, reading->id, record, len, &why);
	if (found == 0)
		g->is_unready = true;
	if (g->err.code == ERR_NONE && (err || found < 0))
		g->err = err ? *err : why;
	free(reading);
	g->under_way--;
	read_more(g);
}

static void read_more(struct gather *g)
{
	bool is_over = g->is_unready || g->err.code != ERR_NONE;

	while (!is_over && g->under_way < WINDOW && g->next < g->count) {
		struct reading *reading = mem_calloc(1, sizeof(*reading));

		*reading = (struct reading){.gather = g, .id = g->ids[g->next++]};
		g->under_way++;
		backend_get(g->finish->backend, reading->id, on_record, reading);
	}
	if (g->under_way == 0)
		gather_end(g);
}

void gather_start(struct finish *f, struct join *join, gather_done_fn *done, void *ctx)
{
	struct gather *g = mem_calloc(1, sizeof(*g));

	g->finish = f;
	g->join = join;
	g->count = join_ids(join, NULL, 0);
	g->ids = mem_calloc(g->count + 1, sizeof(*g->ids));
	join_ids(join, g->ids, g->count);
	g->done = done;
	g->ctx = ctx;
	read_more(g);
}

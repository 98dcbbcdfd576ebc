/* No result store: every record is taken and forgotten, every key is absent. The shortest driver,
 * to be read first. Mirrors celery/backends/base.py, DisabledBackend. */
#include "backend/driver.h"

#include "base/list.h"
#include "base/mem.h"

struct backend_disabled {
	struct backend base;
	struct backend_options options;
	uv_timer_t timer;	/* runs `calls` in the next turn of the loop */
	struct list_node calls; /* struct call */
	uint64_t stored;
	bool is_closing;
};

/* A callback that is due; exactly one of the two functions is set. */
struct call {
	struct list_node node;
	backend_done_fn *done;
	backend_got_fn *got;
	void *ctx;
};

static void on_handle_closed(uv_handle_t *handle)
{
	struct backend_disabled *d = handle->data;

	if (d->options.on_closed)
		d->options.on_closed(d->options.ctx);
	mem_free_ptr(&d);
}

static void on_timer(uv_timer_t *timer)
{
	struct backend_disabled *d = timer->data;
	struct list_node *node;

	while ((node = list_pop(&d->calls)) != NULL) {
		struct call *call = list_entry(node, struct call, node);

		if (call->done)
			call->done(call->ctx, NULL);
		else
			call->got(call->ctx, NULL, 0, NULL);
		mem_free_ptr(&call);
	}
	if (d->is_closing)
		uv_close((uv_handle_t *)&d->timer, on_handle_closed);
}

static struct backend *disabled_open(const struct backend_options *options, struct err *err)
{
	struct backend_disabled *d = mem_calloc(1, sizeof(*d));

	(void)err;
	d->base.driver = &backend_disabled_driver;
	d->options = *options;
	list_init(&d->calls);
	uv_timer_init(options->loop, &d->timer);
	d->timer.data = d;
	return &d->base;
}

static void call_later(struct backend_disabled *d, backend_done_fn *done, backend_got_fn *got,
		       void *ctx)
{
	struct call *call = mem_calloc(1, sizeof(*call));

	call->done = done;
	call->got = got;
	call->ctx = ctx;
	list_append(&d->calls, &call->node);
	uv_timer_start(&d->timer, on_timer, 0, 0);
}

static void disabled_store(struct backend *b, const struct backend_record *record,
			   backend_done_fn *done, void *ctx)
{
	struct backend_disabled *d = (struct backend_disabled *)b;

	(void)record;
	d->stored++;
	if (done)
		call_later(d, done, NULL, ctx);
}

static void disabled_get(struct backend *b, const char *task_id, backend_got_fn *done, void *ctx)
{
	(void)task_id;
	call_later((struct backend_disabled *)b, NULL, done, ctx);
}

static bool disabled_is_full(const struct backend *b)
{
	(void)b;
	return false;
}

static void disabled_close(struct backend *b, double deadline_s)
{
	struct backend_disabled *d = (struct backend_disabled *)b;

	(void)deadline_s;
	d->is_closing = true;
	uv_timer_start(&d->timer, on_timer, 0, 0);
}

static void disabled_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	const struct backend_disabled *d = (const struct backend_disabled *)b;

	ret_stats->is_up = true;
	ret_stats->stored = d->stored;
}

static const char *const disabled_schemes[] = {"disabled", NULL};

const struct backend_driver backend_disabled_driver = {
	.schemes = disabled_schemes,
	.open = disabled_open,
	.store = disabled_store,
	.get = disabled_get,
	.is_full = disabled_is_full,
	.close = disabled_close,
	.stats = disabled_stats,
};

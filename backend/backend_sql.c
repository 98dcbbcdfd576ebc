/*
 * Results in the tables of Celery's SQLAlchemy backend, in SQLite or PostgreSQL. What waits goes to
 * the database in batches, each a transaction, one at a time: the next one gathers meanwhile, so
 * the more there is to store the less each record costs. A batch that a lost connection or a
 * database in trouble has undone is run again, in order. Mirrors celery/backends/database.
 * contract: tasks.md 5.6.
 */
#include <stdlib.h>
#include <string.h>

#include "backend/sql.h"
#include "base/clock.h"
#include "base/mem.h"

#define BATCH_OPS   256
#define BATCH_BYTES ((size_t)4 << 20)
#define RETRY_MS    200

struct backend_sql {
	struct backend base;
	struct pending pending;
	struct sql_place place;
	struct sql_names names;
	struct content_form form;
	char *serializer;
	struct sql_engine *engine;
	struct list_node batch; /* given to the engine; struct sql_op */
	uv_timer_t retry_timer, close_timer;
	unsigned open_handles; /* the two timers and the engine */
	bool is_up, was_up, is_holding, is_closing, is_closed;
};

static struct sql_op *op_of(struct list_node *node)
{
	return (struct sql_op *)list_entry(node, struct pending_op, node);
}

static void op_free(struct pending_op *base)
{
	struct sql_op *op = (struct sql_op *)base;

	str_clear(&op->bytes);
	free(op->statement);
	free(op);
}

static void sql_free(struct backend_sql *s)
{
	pending_clear(&s->pending);
	sql_place_clear(&s->place);
	sql_names_clear(&s->names);
	free(s->serializer);
	free(s);
}

static void handle_gone(struct backend_sql *s)
{
	if (--s->open_handles > 0)
		return;
	if (s->pending.options.on_closed)
		s->pending.options.on_closed(s->pending.options.ctx);
	sql_free(s);
}

static void on_timer_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void close_all(struct backend_sql *s)
{
	if (s->is_closed)
		return;
	s->is_closed = true;
	s->is_up = false;
	s->engine->driver->close(s->engine);
	uv_close((uv_handle_t *)&s->retry_timer, on_timer_closed);
	uv_close((uv_handle_t *)&s->close_timer, on_timer_closed);
}

/* Batches */

static void fill_batch(struct backend_sql *s)
{
	struct pending_op *op;
	size_t count = 0, bytes = 0;

	while (count < BATCH_OPS && bytes < BATCH_BYTES && (op = pending_first(&s->pending))) {
		list_remove(&op->node);
		list_append(&s->batch, &op->node);
		bytes += op->bytes;
		count++;
	}
}

static void run_batch(struct backend_sql *s)
{
	if (!s->is_up || s->is_holding || !list_is_empty(&s->batch))
		return;
	fill_batch(s);
	if (!list_is_empty(&s->batch))
		s->engine->driver->run(s->engine, &s->batch);
}

static void end_read(struct backend_sql *s, struct sql_op *op)
{
	auto_str record = STR_INIT(STR_MAX_DEFAULT);
	struct err err = {0};

	if (!op->is_found)
		pending_found(&s->pending, &op->base, NULL, 0);
	else if (sql_op_record(op, s->serializer, &record, &err) < 0)
		pending_end(&s->pending, &op->base, &err);
	else
		pending_found(&s->pending, &op->base, record.data, record.len);
}

static void end_op(struct backend_sql *s, struct sql_op *op)
{
	if (op->err.code != ERR_NONE)
		pending_end(&s->pending, &op->base, &op->err);
	else if (op->base.got)
		end_read(s, op);
	else
		pending_end(&s->pending, &op->base, NULL);
}

/* What has ended is told; the rest waits again, where it stood. */
static void settle_batch(struct backend_sql *s)
{
	struct list_node ended, *node, *next;

	list_init(&ended);
	list_foreach_safe (node, next, &s->batch) {
		if (!op_of(node)->has_ended)
			continue;
		list_remove(node);
		list_append(&ended, node);
	}
	pending_take_back(&s->pending, &s->batch);
	while (!list_is_empty(&ended))
		end_op(s, op_of(ended.next));
	pending_check_room(&s->pending);
}

static void go_on(struct backend_sql *s)
{
	if (s->is_closing && s->pending.count == 0)
		close_all(s);
	else
		run_batch(s);
}

static void on_retry(uv_timer_t *timer)
{
	struct backend_sql *s = timer->data;

	s->is_holding = false;
	run_batch(s);
}

static void on_batch(void *ctx, const char *why)
{
	struct backend_sql *s = ctx;

	settle_batch(s);
	if (why) {
		pending_say_down(&s->pending, why);
		s->is_holding = true;
		uv_timer_start(&s->retry_timer, on_retry, RETRY_MS, 0);
	} else {
		pending_say_up(&s->pending);
	}
	go_on(s);
}

static void on_up(void *ctx)
{
	struct backend_sql *s = ctx;

	s->is_up = true;
	if (s->was_up)
		s->pending.reconnects++;
	s->was_up = true;
	if (s->pending.count == 0)
		pending_say_up(&s->pending); /* else the first batch tells */
	go_on(s);
}

static void on_down(void *ctx, const char *why)
{
	struct backend_sql *s = ctx;

	s->is_up = false;
	pending_take_back(&s->pending, &s->batch);
	pending_say_down(&s->pending, why);
}

static void on_notice(void *ctx, const char *text)
{
	const struct backend_sql *s = ctx;

	pending_notice(&s->pending, false, text);
}

/* Now nothing is answered that is gone. */
static void on_engine_closed(void *ctx)
{
	struct backend_sql *s = ctx;

	settle_batch(s);
	pending_give_up(&s->pending);
	handle_gone(s);
}

static const struct sql_engine_events engine_events = {
	.on_up = on_up,
	.on_down = on_down,
	.on_batch = on_batch,
	.on_notice = on_notice,
	.on_closed = on_engine_closed,
};

/* The driver */

static int open_engine(struct backend_sql *s, const struct backend_options *options,
		       enum sql_dialect dialect, struct err *err)
{
	const struct sql_engine_driver *driver =
		dialect == SQL_SQLITE ? &sql_sqlite_engine : &sql_postgres_engine;
	const struct sql_engine_options engine = {
		.loop = options->loop,
		.place = &s->place,
		.names = &s->names,
		.connect_timeout_s = options->connect_timeout_s,
		.events = &engine_events,
		.ctx = s,
	};

	s->engine = driver->open(&engine, err);
	return s->engine ? 0 : -1;
}

static struct backend *sql_open(const struct backend_options *options, struct err *err)
{
	struct backend_sql *s = mem_calloc(1, sizeof(*s));
	enum sql_dialect dialect;

	s->base.driver = &backend_sql_driver;
	list_init(&s->batch);
	s->form = options->form;
	s->form.compression = NULL;
	s->serializer = mem_strdup(options->serializer ? options->serializer : "json");
	if (sql_place_read(&s->place, options->url, &dialect, err) < 0 ||
	    sql_names_read(&s->names, options->table_names, options->table_schemas, err) < 0) {
		sql_free(s);
		return NULL;
	}
	pending_init(&s->pending, options, mem_strdup(s->place.label), op_free);
	if (open_engine(s, options, dialect, err) < 0) {
		sql_free(s);
		return NULL;
	}
	uv_timer_init(options->loop, &s->retry_timer);
	uv_timer_init(options->loop, &s->close_timer);
	s->retry_timer.data = s->close_timer.data = s;
	s->open_handles = 3;
	return &s->base;
}

static struct sql_op *op_new(void)
{
	struct sql_op *op = mem_calloc(1, sizeof(*op));

	str_init(&op->bytes, STR_MAX_DEFAULT);
	return op;
}

static void sql_store(struct backend *b, const struct backend_record *record, backend_done_fn *done,
		      void *ctx)
{
	struct backend_sql *s = (struct backend_sql *)b;
	struct sql_op *op = op_new();

	/* An operation that cannot be run has ended before it begins. */
	if (!record->fields)
		err_set(&op->err, ERR_INTERNAL, "a record without its fields");
	else
		sql_op_fill(op, record->fields, &s->form, &op->err);
	op->has_ended = op->err.code != ERR_NONE;
	pending_add_store(&s->pending, &op->base, record, op->bytes.cap, done, ctx);
	run_batch(s);
}

static void sql_get(struct backend *b, const char *task_id, backend_got_fn *got, void *ctx)
{
	struct backend_sql *s = (struct backend_sql *)b;
	struct sql_op *op = op_new();

	sql_op_set(op, SQL_TASK_ID, task_id, strlen(task_id));
	pending_add_read(&s->pending, &op->base, task_id, got, ctx);
	run_batch(s);
}

static void on_cleaned(void *ctx, const struct err *err)
{
	const struct backend_sql *s = ctx;
	auto_free char *text = NULL;

	if (!err)
		return;
	text = mem_printf("keeps what has expired: %s", err->text);
	pending_notice(&s->pending, true, text);
}

static void clean(struct backend_sql *s, char *statement)
{
	const struct backend_record record = {.task_id = "celery.backend_cleanup"};
	struct sql_op *op = op_new();

	op->statement = statement;
	pending_add_store(&s->pending, &op->base, &record, strlen(statement), on_cleaned, s);
}

static void sql_cleanup(struct backend *b)
{
	struct backend_sql *s = (struct backend_sql *)b;
	double expires_s = s->pending.options.result_expires_s;
	char *task, *group;

	if (expires_s <= 0)
		return;
	sql_cleanup_texts(&s->names, clock_wall_us() - (int64_t)(expires_s * 1e6), &task, &group);
	clean(s, task);
	clean(s, group);
	run_batch(s);
}

static bool sql_is_full(const struct backend *b)
{
	return pending_is_full(&((const struct backend_sql *)b)->pending);
}

static void on_close_deadline(uv_timer_t *timer)
{
	close_all(timer->data);
}

static void sql_close(struct backend *b, double deadline_s)
{
	struct backend_sql *s = (struct backend_sql *)b;

	s->is_closing = true;
	if (s->pending.count == 0)
		close_all(s);
	else
		uv_timer_start(&s->close_timer, on_close_deadline, (uint64_t)(deadline_s * 1000),
			       0);
}

static void sql_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	const struct backend_sql *s = (const struct backend_sql *)b;

	pending_stats(&s->pending, s->is_up && !s->pending.is_outage, ret_stats);
}

static const char *const sql_schemes[] = {"db", "db+", "database", "database+", NULL};

const struct backend_driver backend_sql_driver = {
	.schemes = sql_schemes,
	.open = sql_open,
	.store = sql_store,
	.get = sql_get,
	.chords = BACKEND_CHORDS_POLLED,
	.cleanup = sql_cleanup,
	.is_full = sql_is_full,
	.close = sql_close,
	.stats = sql_stats,
};

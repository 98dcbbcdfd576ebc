/*
 * Batches in an SQLite file, each in a thread of libuv's pool: a commit waits for the disk, and for
 * the locks of other processes. The connection is used by one thread at a time.
 */
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "backend/sql.h"
#include "base/library.h"
#include "base/mem.h"

#define TEXT_MAX   ((size_t)64 << 10)
#define MAX_WAIT_S 10.0 /* a stop waits for the thread */
#define RETRY_MS   500

struct library {
	__typeof__(sqlite3_open_v2) *open;
	__typeof__(sqlite3_close_v2) *close;
	__typeof__(sqlite3_errmsg) *errmsg;
	__typeof__(sqlite3_busy_timeout) *busy_timeout;
	__typeof__(sqlite3_exec) *exec;
	__typeof__(sqlite3_prepare_v2) *prepare;
	__typeof__(sqlite3_finalize) *finalize;
	__typeof__(sqlite3_bind_text) *bind_text;
	__typeof__(sqlite3_bind_blob) *bind_blob;
	__typeof__(sqlite3_clear_bindings) *clear_bindings;
	__typeof__(sqlite3_step) *step;
	__typeof__(sqlite3_reset) *reset;
	__typeof__(sqlite3_column_type) *column_type;
	__typeof__(sqlite3_column_blob) *column_blob;
	__typeof__(sqlite3_column_bytes) *column_bytes;
	__typeof__(sqlite3_column_text) *column_text;
};

struct sqlite_engine {
	struct sql_engine base;
	struct library lib;
	uv_timer_t timer; /* the first look at the file, and the next one when that failed */
	uv_work_t work;
	bool is_up, is_working, is_closing;
	/* The thread's, while it works. */
	struct list_node *batch; /* NULL: only open the file */
	sqlite3 *db;
	sqlite3_stmt *store, *revoke, *read;
	unsigned columns;
	dev_t device;
	ino_t inode;
	struct err why; /* of a batch that is to be run again */
};

static int load(struct library *lib, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"sqlite3_open_v2", &lib->open},
		{"sqlite3_close_v2", &lib->close},
		{"sqlite3_errmsg", &lib->errmsg},
		{"sqlite3_busy_timeout", &lib->busy_timeout},
		{"sqlite3_exec", &lib->exec},
		{"sqlite3_prepare_v2", &lib->prepare},
		{"sqlite3_finalize", &lib->finalize},
		{"sqlite3_bind_text", &lib->bind_text},
		{"sqlite3_bind_blob", &lib->bind_blob},
		{"sqlite3_clear_bindings", &lib->clear_bindings},
		{"sqlite3_step", &lib->step},
		{"sqlite3_reset", &lib->reset},
		{"sqlite3_column_type", &lib->column_type},
		{"sqlite3_column_blob", &lib->column_blob},
		{"sqlite3_column_bytes", &lib->column_bytes},
		{"sqlite3_column_text", &lib->column_text},
	};

	return library_load("libsqlite3.so.0", "libsqlite3-0", symbols,
			    sizeof(symbols) / sizeof(*symbols), err);
}

/* In the thread */

static int fail(struct sqlite_engine *e)
{
	return err_set(&e->why, ERR_IO, "%.300s",
		       e->db ? e->lib.errmsg(e->db) : "it cannot be opened");
}

static void disconnect(struct sqlite_engine *e)
{
	e->lib.finalize(e->store);
	e->lib.finalize(e->revoke);
	e->lib.finalize(e->read);
	e->lib.close(e->db);
	e->store = e->revoke = e->read = NULL;
	e->db = NULL;
}

static int run(struct sqlite_engine *e, const char *text)
{
	return e->lib.exec(e->db, text, NULL, NULL, NULL) == SQLITE_OK ? 0 : fail(e);
}

static int prepare(struct sqlite_engine *e, const char *text, sqlite3_stmt **ret)
{
	return e->lib.prepare(e->db, text, -1, ret, NULL) == SQLITE_OK ? 0 : fail(e);
}

static int look_for_columns(struct sqlite_engine *e)
{
	const struct sql_names *names = e->base.options.names;
	auto_free char *info = NULL;
	const char *dot = strstr(names->task, "\".\"");
	sqlite3_stmt *statement;
	int step;

	/* PRAGMA schema.table_info(name) */
	info = dot ? mem_printf("PRAGMA %.*s.table_info(%s)", (int)(dot + 1 - names->task),
				names->task, dot + 2)
		   : mem_printf("PRAGMA table_info(%s)", names->task);
	e->columns = 0;
	if (prepare(e, info, &statement) < 0)
		return -1;
	while ((step = e->lib.step(statement)) == SQLITE_ROW)
		e->columns |= sql_column_bit((const char *)e->lib.column_text(statement, 1));
	e->lib.finalize(statement);
	return step == SQLITE_DONE ? 0 : fail(e);
}

/* Tables of older versions of Celery lack columns. */
static int make_tables(struct sqlite_engine *e)
{
	const struct sql_names *names = e->base.options.names;
	auto_str text = STR_INIT(TEXT_MAX);

	if (look_for_columns(e) < 0)
		return -1;
	if (e->columns == 0) {
		sql_add_create(&text, SQL_SQLITE, names);
		return run(e, text.data) < 0 ? -1 : look_for_columns(e);
	}
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		if (e->columns & 1U << i)
			continue;
		str_reset(&text);
		sql_add_column(&text, SQL_SQLITE, names, (enum sql_column)i);
		if (run(e, text.data) < 0)
			return -1;
	}
	return look_for_columns(e);
}

static int prepare_all(struct sqlite_engine *e)
{
	const struct sql_names *names = e->base.options.names;
	auto_str text = STR_INIT(TEXT_MAX);

	sql_add_store(&text, SQL_SQLITE, names, e->columns, false);
	if (prepare(e, text.data, &e->store) < 0)
		return -1;
	str_reset(&text);
	sql_add_store(&text, SQL_SQLITE, names, e->columns, true);
	if (prepare(e, text.data, &e->revoke) < 0)
		return -1;
	str_reset(&text);
	sql_add_read(&text, SQL_SQLITE, names, e->columns);
	return prepare(e, text.data, &e->read);
}

/* A file that was removed or replaced would be written to by nobody else. */
static bool is_same_file(const struct sqlite_engine *e)
{
	struct stat st;

	return stat(e->base.options.place->path, &st) == 0 && st.st_dev == e->device &&
	       st.st_ino == e->inode;
}

static int file_open(struct sqlite_engine *e)
{
	const struct sql_place *place = e->base.options.place;
	double wait_s = place->wait_s < MAX_WAIT_S ? place->wait_s : MAX_WAIT_S;
	struct stat st;

	if (e->db && is_same_file(e))
		return 0;
	disconnect(e);
	if (e->lib.open(place->path, &e->db,
			SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX,
			NULL) != SQLITE_OK)
		return fail(e);
	e->lib.busy_timeout(e->db, (int)(wait_s * 1000));
	if (run(e, "BEGIN IMMEDIATE") < 0 || make_tables(e) < 0 || run(e, "COMMIT") < 0 ||
	    prepare_all(e) < 0)
		return -1;
	if (stat(place->path, &st) < 0)
		return err_errno(&e->why, "%.200s", place->path);
	e->device = st.st_dev;
	e->inode = st.st_ino;
	return 0;
}

static void bind_op(struct sqlite_engine *e, sqlite3_stmt *statement, const struct sql_op *op)
{
	int number = 0;

	e->lib.clear_bindings(statement);
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		enum sql_column column = (enum sql_column)i;
		const char *data = sql_op_value(op, column);
		int len = (int)op->values[i].len;

		if (!(e->columns & 1U << i))
			continue;
		number++;
		if (!data)
			continue;
		if (sql_column_is_bytes(column))
			e->lib.bind_blob(statement, number, data, len, SQLITE_STATIC);
		else
			e->lib.bind_text(statement, number, data, len, SQLITE_STATIC);
	}
}

static void take_row(struct sqlite_engine *e, struct sql_op *op)
{
	int number = 0;

	op->is_found = true;
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		if (!(e->columns & 1U << i))
			continue;
		if (e->lib.column_type(e->read, number) == SQLITE_NULL)
			op->values[i].is_set = false;
		else if (e->lib.column_bytes(e->read, number) == 0)
			sql_op_set(op, (enum sql_column)i, "", 0);
		else
			sql_op_set(op, (enum sql_column)i, e->lib.column_blob(e->read, number),
				   (size_t)e->lib.column_bytes(e->read, number));
		number++;
	}
}

/* Refused for good, whatever is tried. */
static bool is_final(int code)
{
	return (code & 0xff) == SQLITE_TOOBIG || (code & 0xff) == SQLITE_CONSTRAINT ||
	       (code & 0xff) == SQLITE_MISMATCH;
}

static int run_op(struct sqlite_engine *e, struct sql_op *op)
{
	sqlite3_stmt *statement = op->base.got	       ? e->read
				  : op->base.is_revoke ? e->revoke
						       : e->store;
	int code;

	if (op->has_ended)
		return 0;
	if (op->statement)
		return run(e, op->statement);
	if (op->base.got)
		e->lib.bind_text(statement, 1, op->base.id, -1, SQLITE_STATIC);
	else
		bind_op(e, statement, op);
	code = e->lib.step(statement);
	if (code == SQLITE_ROW && op->base.got)
		take_row(e, op);
	else if (is_final(code))
		err_set(&op->err, ERR_REFUSED, "SQLite: %.300s", e->lib.errmsg(e->db));
	else if (code != SQLITE_DONE && code != SQLITE_ROW)
		fail(e);
	e->lib.reset(statement);
	return e->why.code == ERR_NONE ? 0 : -1;
}

static struct sql_op *op_of(struct list_node *node)
{
	return (struct sql_op *)list_entry(node, struct pending_op, node);
}

static int run_all(struct sqlite_engine *e)
{
	struct list_node *node;

	if (file_open(e) < 0)
		return -1;
	if (!e->batch)
		return 0;
	if (run(e, "BEGIN IMMEDIATE") < 0)
		return -1;
	list_foreach (node, e->batch) {
		if (run_op(e, op_of(node)) < 0)
			return -1;
	}
	return run(e, "COMMIT");
}

/* What an operation found in a transaction counts only when that is committed. */
static void settle(const struct sqlite_engine *e, bool is_committed)
{
	struct list_node *node;

	list_foreach (node, e->batch) {
		struct sql_op *op = op_of(node);

		if (op->has_ended)
			continue;
		op->has_ended = is_committed;
		if (is_committed)
			continue;
		op->is_found = false;
		err_clear(&op->err);
	}
}

static void on_work(uv_work_t *work)
{
	struct sqlite_engine *e = work->data;
	bool is_committed;

	err_clear(&e->why);
	is_committed = run_all(e) == 0;
	if (e->batch)
		settle(e, is_committed);
	if (!is_committed)
		disconnect(e); /* with it the transaction */
}

/* In the loop */

static void on_timer_closed(uv_handle_t *handle)
{
	struct sqlite_engine *e = handle->data;
	const struct sql_engine_options options = e->base.options;

	disconnect(e);
	options.events->on_closed(options.ctx);
	free(e);
}

static void on_timer(uv_timer_t *timer);

static void on_work_done(uv_work_t *work, int status)
{
	struct sqlite_engine *e = work->data;
	const struct sql_engine_options *options = &e->base.options;

	(void)status; /* work is never cancelled */
	e->is_working = false;
	if (e->is_closing) {
		uv_close((uv_handle_t *)&e->timer, on_timer_closed);
	} else if (e->is_up) {
		options->events->on_batch(options->ctx,
					  e->why.code == ERR_NONE ? NULL : e->why.text);
	} else if (e->why.code == ERR_NONE) {
		e->is_up = true;
		options->events->on_up(options->ctx);
	} else {
		uv_timer_start(&e->timer, on_timer, RETRY_MS, 0);
		options->events->on_down(options->ctx, e->why.text);
	}
}

static void begin(struct sqlite_engine *e, struct list_node *batch)
{
	e->batch = batch;
	e->is_working = true;
	uv_queue_work(e->base.options.loop, &e->work, on_work, on_work_done);
}

static void on_timer(uv_timer_t *timer)
{
	begin(timer->data, NULL);
}

static struct sql_engine *sqlite_open(const struct sql_engine_options *options, struct err *err)
{
	struct sqlite_engine *e = mem_calloc(1, sizeof(*e));

	e->base = (struct sql_engine){.driver = &sql_sqlite_engine, .options = *options};
	if (load(&e->lib, err) < 0) {
		free(e);
		return NULL;
	}
	uv_timer_init(options->loop, &e->timer);
	e->timer.data = e->work.data = e;
	uv_timer_start(&e->timer, on_timer, 0, 0);
	return &e->base;
}

static void sqlite_run(struct sql_engine *base, struct list_node *batch)
{
	begin((struct sqlite_engine *)base, batch);
}

static void sqlite_close(struct sql_engine *base)
{
	struct sqlite_engine *e = (struct sqlite_engine *)base;

	e->is_closing = true;
	if (!e->is_working)
		uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

const struct sql_engine_driver sql_sqlite_engine = {
	.open = sqlite_open,
	.run = sqlite_run,
	.close = sqlite_close,
};

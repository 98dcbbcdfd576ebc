#include <stdlib.h>
#include <string.h>

#include "backend/sql_postgres.h"
#include "base/mem.h"

#define ANSWER_MS	 30000 /* a batch may wait for a lock that another process holds */
#define TEXT_MAX	 ((size_t)64 << 10)
#define MAX_TABLE_LOSSES 3

/* Setting up */

static void send_step(struct postgres_engine *e, enum postgres_state state, int is_sent)
{
	e->state = state;
	err_clear(&e->why);
	if (!is_sent)
		postgres_lost(e, e->lib.error_message(e->conn));
	else if (postgres_flush(e) == 0)
		postgres_await(e, ANSWER_MS);
}

static void look(struct postgres_engine *e)
{
	static const char question[] =
		"SELECT attname FROM pg_attribute WHERE attrelid = to_regclass($1) AND "
		"attnum > 0 AND NOT attisdropped";
	const char *values[] = {e->base.options.names->task};

	e->columns = 0;
	send_step(e, POSTGRES_LOOKING,
		  e->lib.send_query_params(e->conn, question, 1, NULL, values, NULL, NULL, 0));
}

static void create(struct postgres_engine *e)
{
	auto_str text = STR_INIT(TEXT_MAX);

	e->has_created = true;
	sql_add_create(&text, SQL_POSTGRES, e->base.options.names);
	send_step(e, POSTGRES_CREATING, e->lib.send_query(e->conn, text.data));
}

static void alter(struct postgres_engine *e)
{
	auto_str text = STR_INIT(TEXT_MAX);

	e->has_altered = true;
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		if (e->columns & 1U << i)
			continue;
		sql_add_column(&text, SQL_POSTGRES, e->base.options.names, (enum sql_column)i);
		str_puts(&text, "; ");
	}
	send_step(e, POSTGRES_ALTERING, e->lib.send_query(e->conn, text.data));
}

static void become_ready(struct postgres_engine *e)
{
	const struct sql_names *names = e->base.options.names;

	str_reset(&e->store);
	str_reset(&e->revoke);
	str_reset(&e->read);
	sql_add_store(&e->store, SQL_POSTGRES, names, e->columns, false);
	sql_add_store(&e->revoke, SQL_POSTGRES, names, e->columns, true);
	sql_add_read(&e->read, SQL_POSTGRES, names, e->columns);
	if (!e->lib.enter_pipeline(e->conn)) {
		postgres_lost(e, e->lib.error_message(e->conn));
		return;
	}
	e->state = POSTGRES_READY;
	e->tries = 0;
	postgres_await(e, 0);
	e->base.options.events->on_up(e->base.options.ctx);
}

static void on_looked(struct postgres_engine *e)
{
	if (e->columns == 0 && !e->has_created)
		create(e);
	else if (e->columns == 0)
		postgres_lost(e, "the table cannot be found");
	else if (e->columns != SQL_ALL_COLUMNS && !e->has_altered)
		alter(e);
	else
		become_ready(e);
}

/* All answers to a step are in. */
static void on_step(struct postgres_engine *e)
{
	auto_free char *notice = NULL;

	if (e->state == POSTGRES_ALTERING && e->why.code != ERR_NONE) {
		notice = mem_printf("keeps its old tables, results lack some fields: %s",
				    e->why.text);
		e->base.options.events->on_notice(e->base.options.ctx, notice);
		look(e);
	} else if (e->why.code != ERR_NONE) {
		auto_free char *why = mem_strdup(e->why.text);

		postgres_lost(e, why);
	} else if (e->state == POSTGRES_LOOKING) {
		on_looked(e);
	} else {
		look(e);
	}
}

static const char *message_of(const struct postgres_engine *e, const PGresult *result)
{
	const char *text = e->lib.result_error_field(result, PG_DIAG_MESSAGE_PRIMARY);

	return text ? text : "the connection is lost";
}

static void on_step_answer(struct postgres_engine *e, const PGresult *result)
{
	ExecStatusType status = e->lib.result_status(result);

	if (status != PGRES_TUPLES_OK && status != PGRES_COMMAND_OK) {
		err_set(&e->why, ERR_IO, "%.300s", message_of(e, result));
		return;
	}
	for (int i = 0; e->state == POSTGRES_LOOKING && i < e->lib.ntuples(result); i++)
		e->columns |= sql_column_bit(e->lib.getvalue(result, i, 0));
}

void postgres_prepare(struct postgres_engine *e)
{
	e->has_created = e->has_altered = false;
	look(e);
}

/* Batches */

static struct sql_op *op_of(struct list_node *node)
{
	return (struct sql_op *)list_entry(node, struct pending_op, node);
}

static int send_op(struct postgres_engine *e, const struct sql_op *op)
{
	const char *values[SQL_COLUMN_COUNT];
	int lengths[SQL_COLUMN_COUNT], formats[SQL_COLUMN_COUNT];
	const struct str *text = op->base.is_revoke ? &e->revoke : &e->store;
	int count = 0;

	if (op->statement)
		return e->lib.send_query_params(e->conn, op->statement, 0, NULL, NULL, NULL, NULL,
						0);
	if (op->base.got) {
		values[0] = op->base.id;
		return e->lib.send_query_params(e->conn, e->read.data, 1, NULL, values, NULL, NULL,
						0);
	}
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		if (!(e->columns & 1U << i))
			continue;
		values[count] = sql_op_value(op, (enum sql_column)i);
		lengths[count] = (int)op->values[i].len;
		formats[count++] = sql_column_is_bytes((enum sql_column)i);
	}
	return e->lib.send_query_params(e->conn, text->data, count, NULL, values, lengths, formats,
					0);
}

/* The next one that was sent. */
static void cursor_move(struct postgres_engine *e, struct list_node *node)
{
	while (node != e->batch && op_of(node)->has_ended)
		node = node->next;
	e->cursor = node;
	e->is_in_answer = false;
}

void postgres_run(struct sql_engine *base, struct list_node *batch)
{
	struct postgres_engine *e = (struct postgres_engine *)base;
	struct list_node *node;
	bool is_sent = true;

	e->state = POSTGRES_BUSY;
	e->batch = batch;
	e->is_batch_good = true;
	err_clear(&e->why);
	list_foreach (node, batch) {
		const struct sql_op *op = op_of(node);

		is_sent = is_sent && (op->has_ended || send_op(e, op));
	}
	cursor_move(e, batch->next);
	is_sent = is_sent && e->lib.pipeline_sync(e->conn);
	/* A failure here is seen by the timer: nothing may be called from inside a call. */
	postgres_await(e, is_sent ? ANSWER_MS : 1);
	if (is_sent)
		postgres_wake(e);
}

/* Trouble of the server, or of the moment. The rest is about the record. */
static bool is_for_now(const char *state)
{
	static const char *const classes[] = {"08", "25006", "40", "53", "55", "57", "58", "XX"};

	for (size_t i = 0; state && i < sizeof(classes) / sizeof(classes[0]); i++)
		if (strncmp(state, classes[i], strlen(classes[i])) == 0)
			return true;
	return !state;
}

/* Somebody has dropped a table, or a column. */
static bool is_table_gone(const char *state)
{
	return state && (strcmp(state, "42P01") == 0 || strcmp(state, "42703") == 0);
}

static void on_error(struct postgres_engine *e, const PGresult *result)
{
	const char *state = e->lib.result_error_field(result, PG_DIAG_SQLSTATE);
	bool is_gone = is_table_gone(state) && ++e->table_losses < MAX_TABLE_LOSSES;
	struct sql_op *op;

	if (is_for_now(state) || is_gone || e->cursor == e->batch) {
		err_set(&e->why, is_gone ? ERR_NOT_FOUND : ERR_IO, "%.300s", message_of(e, result));
		return;
	}
	op = op_of(e->cursor);
	err_set(&op->err, ERR_REFUSED, "PostgreSQL: %.300s", message_of(e, result));
	op->has_ended = true;
}

static void take_bytes(struct postgres_engine *e, struct sql_op *op, enum sql_column column,
		       const char *text)
{
	size_t len;
	unsigned char *bytes = e->lib.unescape_bytea((const unsigned char *)text, &len);

	if (bytes)
		sql_op_set(op, column, bytes, len);
	e->lib.freemem(bytes);
}

static void take_row(struct postgres_engine *e, struct sql_op *op, const PGresult *result)
{
	int number = 0;

	if (e->lib.ntuples(result) == 0)
		return;
	op->is_found = true;
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		const char *text;

		if (!(e->columns & 1U << i))
			continue;
		text = e->lib.getvalue(result, 0, number);
		if (e->lib.getisnull(result, 0, number))
			op->values[i].is_set = false;
		else if (sql_column_is_bytes((enum sql_column)i))
			take_bytes(e, op, (enum sql_column)i, text);
		else
			sql_op_set(op, (enum sql_column)i, text, strlen(text));
		number++;
	}
}

/* The transaction is over: all of it counts, or nothing. */
static void end_batch(struct postgres_engine *e, bool is_committed)
{
	const struct sql_engine_options *options = &e->base.options;
	auto_free char *why = e->why.code == ERR_NONE ? NULL : mem_strdup(e->why.text);
	struct list_node *node;

	list_foreach (node, e->batch) {
		struct sql_op *op = op_of(node);

		op->has_ended = op->has_ended || is_committed;
		op->is_found = op->is_found && op->has_ended;
	}
	if (e->why.code == ERR_NOT_FOUND) {
		postgres_lost(e, why); /* the next connection looks at the tables again */
		return;
	}
	if (is_committed)
		e->table_losses = 0;
	e->state = POSTGRES_READY;
	postgres_await(e, 0);
	options->events->on_batch(options->ctx, why);
}

static void on_batch_answer(struct postgres_engine *e, const PGresult *result)
{
	e->is_in_answer = true;
	switch ((int)e->lib.result_status(result)) {
	case PGRES_COMMAND_OK:
		return;
	case PGRES_TUPLES_OK:
		if (e->cursor != e->batch)
			take_row(e, op_of(e->cursor), result);
		return;
	case PGRES_PIPELINE_SYNC:
		end_batch(e, e->is_batch_good && e->why.code == ERR_NONE);
		return;
	case PGRES_PIPELINE_ABORTED:
		e->is_batch_good = false;
		return;
	default:
		e->is_batch_good = false;
		on_error(e, result);
	}
}

/* NULL between the answers; false when it is that of the end. */
static bool on_null(struct postgres_engine *e)
{
	if (e->state != POSTGRES_BUSY || !e->is_in_answer)
		return false;
	if (e->cursor == e->batch)
		e->is_in_answer = false;
	else
		cursor_move(e, e->cursor->next);
	return true;
}

void postgres_answers(struct postgres_engine *e)
{
	while (e->conn && !e->lib.is_busy(e->conn)) {
		PGconn *conn = e->conn;
		PGresult *result = e->lib.get_result(conn);

		if (!result && e->state >= POSTGRES_LOOKING && e->state < POSTGRES_READY)
			on_step(e);
		else if (!result && !on_null(e))
			return;
		else if (result && e->state == POSTGRES_BUSY)
			on_batch_answer(e, result);
		else if (result && e->state < POSTGRES_READY)
			on_step_answer(e, result);
		if (result)
			e->lib.clear(result);
	}
}

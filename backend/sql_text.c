/* Statements and rows. Mirrors celery/backends/database/models.py (the tables) and __init__.py
 * (_update_result, _get_task_meta_for). */
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "backend/sql.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"

#define OP_BYTES_MAX STR_MAX_DEFAULT
#define DATE_SIZE    48

enum type { TYPE_ID, TYPE_NAME, TYPE_STATUS, TYPE_TEXT, TYPE_BYTES, TYPE_TIME, TYPE_INT };

static const char *const type_names[2][7] = {
	[SQL_SQLITE] = {"INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT", "VARCHAR(155)", "VARCHAR(50)",
			"TEXT", "BLOB", "DATETIME", "INTEGER"},
	[SQL_POSTGRES] = {"INTEGER NOT NULL PRIMARY KEY", "VARCHAR(155)", "VARCHAR(50)", "TEXT",
			  "BYTEA", "TIMESTAMP WITHOUT TIME ZONE", "INTEGER"},
};

static const struct {
	const char *name;
	enum type type;
} columns[SQL_COLUMN_COUNT] = {
	[SQL_TASK_ID] = {"task_id", TYPE_NAME},	    [SQL_STATUS] = {"status", TYPE_STATUS},
	[SQL_RESULT] = {"result", TYPE_BYTES},	    [SQL_DATE_DONE] = {"date_done", TYPE_TIME},
	[SQL_TRACEBACK] = {"traceback", TYPE_TEXT}, [SQL_CHILDREN] = {"children", TYPE_BYTES},
	[SQL_NAME] = {"name", TYPE_NAME},	    [SQL_ARGS] = {"args", TYPE_BYTES},
	[SQL_KWARGS] = {"kwargs", TYPE_BYTES},	    [SQL_WORKER] = {"worker", TYPE_NAME},
	[SQL_RETRIES] = {"retries", TYPE_INT},	    [SQL_QUEUE] = {"queue", TYPE_NAME},
	[SQL_STAMPS] = {"stamps", TYPE_BYTES},
};

/* Names */

static void add_quoted(struct str *out, const char *name)
{
	str_addc(out, '"');
	for (; *name; name++) {
		if (*name == '"')
			str_addc(out, '"');
		str_addc(out, *name);
	}
	str_addc(out, '"');
}

static char *qualified(const char *schema, const char *name)
{
	auto_str out = STR_INIT(4096);

	if (schema) {
		add_quoted(&out, schema);
		str_addc(&out, '.');
	}
	add_quoted(&out, name);
	return str_detach(&out);
}

static json_t *read_mapping(const char *setting, const char *text, struct err *err)
{
	json_t *value = text && *text ? pyjson_load(text, strlen(text), err) : json_object();

	if (!value)
		err_prefix(err, "%s: ", setting);
	return value;
}

static const char *name_in(const json_t *mapping, const char *key, const char *fallback)
{
	const char *name = json_string_value(json_object_get(mapping, key));

	return name && *name ? name : fallback;
}

int sql_names_read(struct sql_names *n, const char *table_names, const char *schemas,
		   struct err *err)
{
	json_auto_t *names = read_mapping("database_table_names", table_names, err);
	json_auto_t *places = read_mapping("database_table_schemas", schemas, err);

	if (!names || !places)
		return -1;
	const char *task_schema = name_in(places, "task", NULL);
	const char *group_schema = name_in(places, "group", NULL);

	*n = (struct sql_names){
		.task = qualified(task_schema, name_in(names, "task", "celery_taskmeta")),
		.group = qualified(group_schema, name_in(names, "group", "celery_tasksetmeta")),
		.task_sequence = qualified(task_schema, "task_id_sequence"),
		.group_sequence = qualified(group_schema, "taskset_id_sequence"),
	};
	return 0;
}

void sql_names_clear(struct sql_names *n)
{
	mem_free_ptr(&n->task);
	mem_free_ptr(&n->group);
	mem_free_ptr(&n->task_sequence);
	mem_free_ptr(&n->group_sequence);
}

const char *sql_column_name(enum sql_column column)
{
	return columns[column].name;
}

bool sql_column_is_bytes(enum sql_column column)
{
	return columns[column].type == TYPE_BYTES;
}

unsigned sql_column_bit(const char *name)
{
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++)
		if (strcmp(columns[i].name, name) == 0)
			return 1U << i;
	return 0;
}

/* Statements */

static void add_definition(struct str *out, enum sql_dialect dialect, const char *name,
			   enum type type)
{
	str_addf(out, "%s %s", name, type_names[dialect][type]);
}

static void add_table(struct str *out, enum sql_dialect dialect, const char *table)
{
	str_addf(out, "CREATE TABLE IF NOT EXISTS %s (", table);
	add_definition(out, dialect, "id", TYPE_ID);
}

void sql_add_create(struct str *out, enum sql_dialect dialect, const struct sql_names *n)
{
	if (dialect == SQL_POSTGRES)
		str_addf(out,
			 "CREATE SEQUENCE IF NOT EXISTS %s; CREATE SEQUENCE IF NOT EXISTS %s; ",
			 n->task_sequence, n->group_sequence);
	add_table(out, dialect, n->task);
	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		str_puts(out, ", ");
		add_definition(out, dialect, columns[i].name, columns[i].type);
	}
	str_puts(out, ", UNIQUE (task_id)); ");
	add_table(out, dialect, n->group);
	str_puts(out, ", ");
	add_definition(out, dialect, "taskset_id", TYPE_NAME);
	str_puts(out, ", ");
	add_definition(out, dialect, "result", TYPE_BYTES);
	str_puts(out, ", ");
	add_definition(out, dialect, "date_done", TYPE_TIME);
	str_puts(out, ", UNIQUE (taskset_id)); ");
	str_addf(out, "CREATE INDEX IF NOT EXISTS ix_celery_taskmeta_date_done ON %s (date_done); ",
		 n->task);
	str_addf(out,
		 "CREATE INDEX IF NOT EXISTS ix_celery_tasksetmeta_date_done ON %s (date_done)",
		 n->group);
}

void sql_add_column(struct str *out, enum sql_dialect dialect, const struct sql_names *n,
		    enum sql_column column)
{
	str_addf(out, "ALTER TABLE %s ADD COLUMN ", n->task);
	add_definition(out, dialect, columns[column].name, columns[column].type);
}

/* ", " between, for each column that is there. */
static void add_each(struct str *out, unsigned present,
		     void (*add)(struct str *out, enum sql_column column, unsigned number))
{
	unsigned number = 0;

	for (unsigned i = 0; i < SQL_COLUMN_COUNT; i++) {
		if (!(present & 1U << i))
			continue;
		if (number++ > 0)
			str_puts(out, ", ");
		add(out, (enum sql_column)i, number);
	}
}

static void add_name(struct str *out, enum sql_column column, unsigned number)
{
	(void)number;
	str_puts(out, columns[column].name);
}

static void add_sqlite_parameter(struct str *out, enum sql_column column, unsigned number)
{
	(void)column;
	str_addf(out, "?%u", number);
}

/* What is only shown may be cut; an id may not. */
static void add_postgres_parameter(struct str *out, enum sql_column column, unsigned number)
{
	bool is_cut = columns[column].type == TYPE_NAME && column != SQL_TASK_ID;

	str_addf(out, is_cut ? "left($%u, 155)" : "$%u", number);
}

static void add_assignment(struct str *out, enum sql_column column, unsigned number)
{
	(void)number;
	str_addf(out, "%s = excluded.%s", columns[column].name, columns[column].name);
}

static void add_next_id(struct str *out, const char *sequence)
{
	str_puts(out, "nextval('");
	for (; *sequence; sequence++) {
		if (*sequence == '\'')
			str_addc(out, '\'');
		str_addc(out, *sequence);
	}
	str_puts(out, "'), ");
}

void sql_add_store(struct str *out, enum sql_dialect dialect, const struct sql_names *n,
		   unsigned present, bool is_revoke)
{
	bool is_postgres = dialect == SQL_POSTGRES;

	str_addf(out, "INSERT INTO %s AS t (%s", n->task, is_postgres ? "id, " : "");
	add_each(out, present, add_name);
	str_puts(out, ") VALUES (");
	if (is_postgres)
		add_next_id(out, n->task_sequence);
	add_each(out, present, is_postgres ? add_postgres_parameter : add_sqlite_parameter);
	str_puts(out, ") ON CONFLICT (task_id) DO UPDATE SET ");
	add_each(out, present & ~(1U << SQL_TASK_ID), add_assignment);
	/* A SUCCESS is kept; a revoke keeps all that has begun (result_is_waiting). */
	if (is_revoke)
		str_puts(out, " WHERE t.status IN ('PENDING', 'RECEIVED', 'RETRY', 'REJECTED')");
	else
		str_addf(out, " WHERE t.status %s 'SUCCESS'",
			 is_postgres ? "IS DISTINCT FROM" : "IS NOT");
}

void sql_add_read(struct str *out, enum sql_dialect dialect, const struct sql_names *n,
		  unsigned present)
{
	str_puts(out, "SELECT ");
	add_each(out, present, add_name);
	str_addf(out, " FROM %s WHERE task_id = %s", n->task,
		 dialect == SQL_POSTGRES ? "$1" : "?1");
}

/* Without an offset: UTC, as SQLAlchemy writes it into SQLite. */
static void date_format(char text[DATE_SIZE], int64_t unix_us)
{
	char iso[40];

	iso8601_format(unix_us, 0, iso);
	snprintf(text, DATE_SIZE, "%.10s %.8s.%06d", iso, iso + 11, (int)(unix_us % 1000000));
}

void sql_cleanup_texts(const struct sql_names *n, int64_t before_us, char **ret_task,
		       char **ret_group)
{
	char date[DATE_SIZE];

	date_format(date, before_us);
	*ret_task = mem_printf("DELETE FROM %s WHERE date_done < '%s'", n->task, date);
	*ret_group = mem_printf("DELETE FROM %s WHERE date_done < '%s'", n->group, date);
}

/* Rows */

void sql_op_set(struct sql_op *op, enum sql_column column, const void *data, size_t len)
{
	op->values[column] = (struct sql_value){.is_set = true, .at = op->bytes.len, .len = len};
	str_add(&op->bytes, data, len);
	str_addc(&op->bytes, '\0');
}

const char *sql_op_value(const struct sql_op *op, enum sql_column column)
{
	return op->values[column].is_set ? op->bytes.data + op->values[column].at : NULL;
}

static void set_text(struct sql_op *op, enum sql_column column, const char *text)
{
	if (text)
		sql_op_set(op, column, text, strlen(text));
}

static int set_encoded(struct sql_op *op, enum sql_column column, struct span json,
		       const struct content_form *form, struct err *err)
{
	auto_str text = STR_INIT(OP_BYTES_MAX);
	struct content_label label;

	if (!json.data)
		json = (struct span){"null", 4};
	str_add(&text, json.data, json.len);
	if (content_encode(&text, form, &label, err) < 0)
		return -1;
	sql_op_set(op, column, text.data, text.len);
	return 0;
}

static void set_date(struct sql_op *op, int64_t unix_us)
{
	char text[DATE_SIZE];

	if (unix_us == 0)
		return;
	date_format(text, unix_us);
	set_text(op, SQL_DATE_DONE, text);
}

static bool is_nothing(struct span json)
{
	return !json.data || (json.len == 2 && memcmp(json.data, "[]", 2) == 0) ||
	       (json.len == 4 && memcmp(json.data, "null", 4) == 0);
}

static int fill_extended(struct sql_op *op, const struct result_record *r,
			 const struct content_form *form, struct err *err)
{
	auto_str stamps = STR_INIT(OP_BYTES_MAX);
	char retries[24];

	snprintf(retries, sizeof(retries), "%" PRId64, r->retries);
	set_text(op, SQL_NAME, r->name);
	set_text(op, SQL_WORKER, r->worker);
	set_text(op, SQL_RETRIES, retries);
	set_text(op, SQL_QUEUE, r->queue);
	if (set_encoded(op, SQL_ARGS, r->args, form, err) < 0 ||
	    set_encoded(op, SQL_KWARGS, r->kwargs, form, err) < 0)
		return -1;
	if (!r->stamps || !r->stamped_headers)
		return 0;
	str_addf(&stamps, "{\"stamped_headers\": %s, \"stamps\": {", r->stamped_headers);
	result_add_stamps(&stamps, r);
	str_puts(&stamps, "}}");
	return set_encoded(op, SQL_STAMPS, (struct span){stamps.data, stamps.len}, form, err);
}

int sql_op_fill(struct sql_op *op, const struct result_record *r, const struct content_form *form,
		struct err *err)
{
	set_text(op, SQL_TASK_ID, r->task_id);
	set_text(op, SQL_STATUS, r->status);
	set_text(op, SQL_TRACEBACK, r->traceback);
	set_date(op, r->date_done_us);
	if (set_encoded(op, SQL_RESULT, r->result, form, err) < 0 ||
	    (!is_nothing(r->children) &&
	     set_encoded(op, SQL_CHILDREN, r->children, form, err) < 0) ||
	    (r->name && fill_extended(op, r, form, err) < 0))
		return -1;
	return op->bytes.is_full ? err_set(err, ERR_LIMIT, "the row is too large") : 0;
}

/* What tables of before 5.7 hold is a pickle, which is not read here. */
static int load(const struct sql_op *op, enum sql_column column, const char *serializer,
		struct str *out, struct err *err)
{
	const char *data = sql_op_value(op, column);

	if (!data)
		return 0;
	if (content_load(serializer, out, data, op->values[column].len, NULL, err) == 0)
		return 0;
	return err_prefix(err, "column %s of task %.100s: ", columns[column].name,
			  sql_op_value(op, SQL_TASK_ID));
}

static int64_t date_of(const struct sql_op *op)
{
	const char *text = sql_op_value(op, SQL_DATE_DONE);
	char iso[40];
	int64_t us;

	if (!text || strlen(text) < 11 || strlen(text) >= sizeof(iso))
		return 0;
	snprintf(iso, sizeof(iso), "%s", text);
	iso[10] = 'T';
	return iso8601_parse(iso, strlen(iso), &us, NULL, NULL) == 0 ? us : 0;
}

static struct span span_of(const struct str *s)
{
	return (struct span){s->data, s->len};
}

int sql_op_record(const struct sql_op *op, const char *serializer, struct str *out, struct err *err)
{
	auto_str result = STR_INIT(OP_BYTES_MAX);
	auto_str children = STR_INIT(OP_BYTES_MAX);
	auto_str args = STR_INIT(OP_BYTES_MAX);
	auto_str kwargs = STR_INIT(OP_BYTES_MAX);
	const char *retries = sql_op_value(op, SQL_RETRIES);

	if (load(op, SQL_RESULT, serializer, &result, err) < 0 ||
	    load(op, SQL_CHILDREN, serializer, &children, err) < 0 ||
	    load(op, SQL_ARGS, serializer, &args, err) < 0 ||
	    load(op, SQL_KWARGS, serializer, &kwargs, err) < 0)
		return -1;
	const struct result_record r = {
		.status = sql_op_value(op, SQL_STATUS),
		.result = span_of(&result),
		.traceback = sql_op_value(op, SQL_TRACEBACK),
		.children = span_of(&children),
		.date_done_us = date_of(op),
		.name = sql_op_value(op, SQL_NAME),
		.args = span_of(&args),
		.kwargs = span_of(&kwargs),
		.worker = sql_op_value(op, SQL_WORKER),
		.retries = retries ? strtoll(retries, NULL, 10) : 0,
		.queue = sql_op_value(op, SQL_QUEUE),
		.task_id = sql_op_value(op, SQL_TASK_ID),
	};

	return result_encode(out, &r) < 0 ? err_set(err, ERR_LIMIT, "the record is too large") : 0;
}

/*
 * Results as rows of the tables of Celery's SQLAlchemy backend, 5.7: what the parts of that driver
 * share. backend_sql.c decides what is stored when; an engine (SQLite, PostgreSQL) runs batches of
 * operations, each a transaction; sql_text.c makes statements and rows. contract: tasks.md 5.6
 */
#ifndef BACKEND_SQL_H
#define BACKEND_SQL_H

#include <stdbool.h>
#include <stddef.h>

#include "backend/pending.h"
#include "base/str.h"
#include "protocol/result.h"

/* In the order of statements' parameters and of rows that are read. */
enum sql_column {
	SQL_TASK_ID,
	SQL_STATUS,
	SQL_RESULT,
	SQL_DATE_DONE,
	SQL_TRACEBACK,
	SQL_CHILDREN,
	SQL_NAME,
	SQL_ARGS,
	SQL_KWARGS,
	SQL_WORKER,
	SQL_RETRIES,
	SQL_QUEUE,
	SQL_STAMPS,
	SQL_COLUMN_COUNT
};
#define SQL_ALL_COLUMNS ((1U << SQL_COLUMN_COUNT) - 1)

enum sql_dialect { SQL_SQLITE, SQL_POSTGRES };

/* A value in an operation's `bytes`, with a NUL behind it. */
struct sql_value {
	bool is_set; /* else NULL */
	size_t at, len;
};

struct sql_op {
	struct pending_op base;
	struct str bytes;
	struct sql_value values[SQL_COLUMN_COUNT]; /* to store, or as they were read */
	bool is_found;				   /* a read: there is such a row */
	char *statement;			   /* neither a store nor a read: this, as it is */
	/* For the engine to say: committed, or refused for good (`err`). */
	bool has_ended;
	struct err err;
};

/* Names of the tables, quoted, with their schemas. */
struct sql_names {
	char *task, *group;		      /* "schema"."celery_taskmeta" */
	char *task_sequence, *group_sequence; /* "schema".task_id_sequence */
};
/* `table_names`, `schemas`: database_table_names and database_table_schemas, or NULL. */
int sql_names_read(struct sql_names *n, const char *table_names, const char *schemas,
		   struct err *err);
void sql_names_clear(struct sql_names *n);

const char *sql_column_name(enum sql_column column);
bool sql_column_is_bytes(enum sql_column column);
/* Bit of a column that is there; 0 for names that are none of ours. */
unsigned sql_column_bit(const char *name);

/* What makes both tables, with indexes and sequences; several statements. */
void sql_add_create(struct str *out, enum sql_dialect dialect, const struct sql_names *n);
void sql_add_column(struct str *out, enum sql_dialect dialect, const struct sql_names *n,
		    enum sql_column column);
/* Parameters and columns are those that are `present`, in order. */
void sql_add_store(struct str *out, enum sql_dialect dialect, const struct sql_names *n,
		   unsigned present, bool is_revoke);
void sql_add_read(struct str *out, enum sql_dialect dialect, const struct sql_names *n,
		  unsigned present);

/* What has ended before this time; *ret_group: the same of groups. To be freed. */
void sql_cleanup_texts(const struct sql_names *n, int64_t before_us, char **ret_task,
		       char **ret_group);

void sql_op_set(struct sql_op *op, enum sql_column column, const void *data, size_t len);
/* NULL when the column is NULL. */
const char *sql_op_value(const struct sql_op *op, enum sql_column column);
/* The columns of a record, each value in this form. */
int sql_op_fill(struct sql_op *op, const struct result_record *r, const struct content_form *form,
		struct err *err);
/* JSON text of the record that a row is. */
int sql_op_record(const struct sql_op *op, const char *serializer, struct str *out,
		  struct err *err);

/* Where the tables are. */
struct sql_place {
	char *label;   /* for people, without secrets */
	char *path;    /* SQLite */
	double wait_s; /* SQLite: for a lock of another process */
	/* PostgreSQL: libpq's keywords and values, as many as `count` */
	char **keys, **values;
	size_t count;
};
/* Reads db+sqlite:///..., db+postgresql://...; `ret_dialect` says which. */
int sql_place_read(struct sql_place *place, const char *text, enum sql_dialect *ret_dialect,
		   struct err *err);
void sql_place_clear(struct sql_place *place);
const char *sql_place_value(const struct sql_place *place, const char *key); /* or NULL */

/* Engines. All from the loop, never from inside a call. */
struct sql_engine;
struct sql_engine_events {
	void (*on_up)(void *ctx); /* batches may be run */
	/* It connects again by itself; a batch under way will not be answered. */
	void (*on_down)(void *ctx, const char *why);
	/* Operations that have not ended are to be run again; with `why` after a while. */
	void (*on_batch)(void *ctx, const char *why);
	void (*on_notice)(void *ctx, const char *text);
	void (*on_closed)(void *ctx); /* freed after return */
};
struct sql_engine_options {
	uv_loop_t *loop;
	const struct sql_place *place; /* stay until on_closed, both */
	const struct sql_names *names;
	double connect_timeout_s;
	const struct sql_engine_events *events;
	void *ctx;
};
struct sql_engine_driver {
	struct sql_engine *(*open)(const struct sql_engine_options *options, struct err *err);
	/* A list of struct sql_op; stays until on_batch or on_down. Only one at a time. */
	void (*run)(struct sql_engine *e, struct list_node *batch);
	/* A batch under way may not be answered any more. */
	void (*close)(struct sql_engine *e);
};
/* An engine's object begins with this. */
struct sql_engine {
	const struct sql_engine_driver *driver;
	struct sql_engine_options options;
};
extern const struct sql_engine_driver sql_sqlite_engine;
extern const struct sql_engine_driver sql_postgres_engine;

#endif

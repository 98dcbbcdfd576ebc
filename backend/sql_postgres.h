/* The parts of the PostgreSQL engine. sql_postgres.c makes and loses connections,
 * sql_postgres_session.c speaks on one. */
#ifndef BACKEND_SQL_POSTGRES_H
#define BACKEND_SQL_POSTGRES_H

#include <libpq-fe.h>

#include "backend/sql.h"

struct postgres_library {
	__typeof__(PQconnectStartParams) *connect_start;
	__typeof__(PQconnectPoll) *connect_poll;
	__typeof__(PQconndefaults) *conndefaults;
	__typeof__(PQconninfoFree) *conninfo_free;
	__typeof__(PQfinish) *finish;
	__typeof__(PQsocket) *socket;
	__typeof__(PQstatus) *status;
	__typeof__(PQerrorMessage) *error_message;
	__typeof__(PQsetnonblocking) *setnonblocking;
	__typeof__(PQsetNoticeReceiver) *set_notice_receiver;
	__typeof__(PQsendQuery) *send_query;
	__typeof__(PQsendQueryParams) *send_query_params;
	__typeof__(PQenterPipelineMode) *enter_pipeline;
	__typeof__(PQpipelineSync) *pipeline_sync;
	__typeof__(PQflush) *flush;
	__typeof__(PQconsumeInput) *consume_input;
	__typeof__(PQisBusy) *is_busy;
	__typeof__(PQgetResult) *get_result;
	__typeof__(PQresultStatus) *result_status;
	__typeof__(PQresultErrorField) *result_error_field;
	__typeof__(PQclear) *clear;
	__typeof__(PQntuples) *ntuples;
	__typeof__(PQgetisnull) *getisnull;
	__typeof__(PQgetvalue) *getvalue;
	__typeof__(PQgetlength) *getlength;
	__typeof__(PQunescapeBytea) *unescape_bytea;
	__typeof__(PQfreemem) *freemem;
};

enum postgres_state {
	POSTGRES_DOWN,
	POSTGRES_CONNECTING,
	POSTGRES_LOOKING,  /* which columns are there? */
	POSTGRES_CREATING, /* tables */
	POSTGRES_ALTERING, /* columns that older versions of Celery do not make */
	POSTGRES_READY,
	POSTGRES_BUSY, /* with a batch */
};

struct postgres_engine {
	struct sql_engine base;
	struct postgres_library lib;
	enum postgres_state state;
	PGconn *conn;
	uv_poll_t *poll;
	int fd;		  /* that `poll` watches */
	uv_timer_t timer; /* the next try, or the end of patience */
	uv_getaddrinfo_t resolver;
	bool is_resolving, is_closing;
	unsigned tries; /* to connect, since it was ready last */
	/* of the session */
	unsigned columns;
	bool has_created, has_altered;
	struct str store, revoke, read;	  /* statements */
	struct list_node *batch, *cursor; /* `cursor`: whose answer is next */
	bool is_in_answer, is_batch_good;
	struct err why;	       /* what went wrong in this step or batch, for now */
	unsigned table_losses; /* batches that missed a table, since one was stored */
};

/* The connection is made: looks at the tables, then on_up. */
void postgres_prepare(struct postgres_engine *e);
void postgres_run(struct sql_engine *base, struct list_node *batch);
/* Takes all answers that are there. */
void postgres_answers(struct postgres_engine *e);

/* Gives the connection up and makes another one later. */
void postgres_lost(struct postgres_engine *e, const char *why);
/* Sends what libpq has; -1 when the connection is gone. */
int postgres_flush(struct postgres_engine *e);
/* The same from the loop. */
void postgres_wake(struct postgres_engine *e);
/* An answer has to come in time; 0 = none is awaited. */
void postgres_await(struct postgres_engine *e, uint64_t ms);

#endif

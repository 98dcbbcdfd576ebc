/*
 * Result stores behind one interface; one const driver per kind (redis, file, rpc, ...). A backend
 * waits out an outage by itself: stores queue up to a bound and are sent again until the server has
 * confirmed them; nothing is dropped. At the bound backend_is_full says so and the worker stops
 * taking tasks.
 *
 * Chords: a store may also know when all tasks of a group have ended (celery/backends/redis.py and
 * base.py, on_chord_part_return).
 *
 * Threads: loop thread only. Calls never block; callbacks come from the loop, never from inside a
 * call.
 */
#ifndef BACKEND_BACKEND_H
#define BACKEND_BACKEND_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#include "backend/chord.h"
#include "base/err.h"
#include "protocol/content.h"
#include "protocol/state.h"
#include "transport/broker.h"

struct backend;
struct redis_settings;
struct result_record;

struct backend_options {
	uv_loop_t *loop;
	const char *url;	  /* result_backend */
	double result_expires_s;  /* 86400; 0 = never */
	double failure_expires_s; /* result_failure_expires; < 0 = as result_expires, 0 = never */
	double chord_expires_s;	  /* result_chord_expires; likewise */
	double chord_join_s;	  /* result_chord_join_timeout; 0 = 5 s */
	const char *transport_options; /* result_backend_transport_options as JSON object text, or
					  NULL */
	size_t max_waiting_bytes;      /* bound of stores not yet confirmed */
	double connect_timeout_s;
	/* What the transport options or the URL say wins. NULL = the defaults. */
	const struct redis_settings *redis_settings;
	/* State of the connection, one line for the log. */
	void (*on_notice)(void *ctx, bool is_error, const char *text);
	/* A store without `done` has failed for good. May be NULL. */
	void (*on_refused)(void *ctx, const char *task_id, enum task_state state,
			   const struct err *err);
	/* Room again after backend_is_full. */
	void (*on_room)(void *ctx);
	void (*on_closed)(void *ctx);
	/* As broker_publish, for a driver whose results are messages; NULL where there is no
	 * broker. What it takes it confirms or refuses before the backend is closed. */
	int (*publish)(void *ctx, const struct publication *p, broker_published_fn *done,
		       void *done_ctx, struct err *err);
	bool is_persistent; /* result_persistent: of those messages */
	/* How values are written in columns of their own: result_serializer, NULL = "json". */
	const char *serializer;
	struct content_form form; /* what it refers to stays */
	/* database_table_names, database_table_schemas as JSON object texts, or NULL */
	const char *table_names, *table_schemas;
	void *ctx;
};

struct backend_record {
	const char *task_id;
	enum task_state state;
	/* The caller has stored nothing else under this id, is not going to, and knows of nobody
	 * who might have: a store may then write first and look at another record only when it
	 * meets one, which costs half. If the caller is wrong, a stored SUCCESS is kept all the
	 * same, but waiting clients may have been told this record, and a record other than SUCCESS
	 * may come to lie over a later one. */
	bool is_only;
	const char *data;
	size_t len;
	/* REVOKED by somebody who does not run the task: stored only over nothing or over a record
	 * of a task that has not begun (result_is_waiting), else what stands there is kept. In one
	 * step, where the store can do that. */
	bool is_revoke;
	struct content_label label; /* what `data` is written in */
	/* The same as a value, for stores that have columns. Borrowed until return. */
	const struct result_record *fields;
	/* Where the client waits that sent the task, and for what; NULL: nobody waits. Only for
	 * results that are messages. */
	const char *reply_to, *correlation_id;
};

/* `err` NULL: the record is stored (or a SUCCESS stood there and was kept). An error is final: the
 * server understood and refused (too large, read-only user, ...). */
typedef void backend_done_fn(void *ctx, const struct err *err);
/* `record` NULL: no such key. */
typedef void backend_got_fn(void *ctx, const char *record, size_t len, const struct err *err);

struct backend *backend_open(const struct backend_options *options, struct err *err);
/* Stores the record under the task id and tells waiting clients. Copies everything. Never refuses:
 * callers look at backend_is_full before they take more work. `done` may be NULL
 * (options.on_refused tells then). */
void backend_store(struct backend *b, const struct backend_record *record, backend_done_fn *done,
		   void *ctx);
void backend_get(struct backend *b, const char *task_id, backend_got_fn *done, void *ctx);
enum backend_chords backend_chords(const struct backend *b);
/* These only where backend_chords is COUNTED or SAVED. Each waits out an outage and may be repeated
 * with the same ids. `done` is never NULL; an error is final. */
void backend_chord_start(struct backend *b, const struct backend_chord *chord,
			 backend_done_fn *done, void *ctx);
/* One more task will report: Task.add_to_chord. COUNTED only. */
void backend_chord_add(struct backend *b, const char *group_id, const char *task_id,
		       backend_done_fn *done, void *ctx);
/* Only `got` is called where the store is not COUNTED. */
void backend_chord_part(struct backend *b, const struct backend_chord_part *part,
			const struct backend_chord_events *events, void *ctx);
void backend_chord_end(struct backend *b, const struct backend_chord_end *end,
		       backend_done_fn *done, void *ctx);
/* Removes what has expired, where the store does not do so by itself (files, tables). In time:
 * nobody waits for it. */
void backend_cleanup(struct backend *b);
bool backend_is_full(const struct backend *b);
/* Flushes what waits within the deadline, then on_closed; the backend is freed after that. */
void backend_close(struct backend *b, double deadline_s);

struct backend_stats {
	bool is_up;
	size_t waiting, waiting_bytes;
	uint64_t stored, failed, reconnects;
	char host[256]; /* without secrets */
};
void backend_stats(const struct backend *b, struct backend_stats *ret_stats);

#endif

/*
 * What follows the end of an execution: results, retries, acks, in Celery's order. The order is
 * data: finish_plan[] holds one row of steps per kind of outcome. A step may wait for a server; the
 * request then stays in state FINISHING and goes on when the answer is there.
 *
 * Sources: celery/app/trace.py (build_tracer), celery/backends/base.py (mark_as_*),
 * celery/worker/request.py (on_success, on_failure, on_retry, on_timeout, reject).
 */
#ifndef WORKER_FINISH_FINISH_H
#define WORKER_FINISH_FINISH_H

#include "backend/backend.h"
#include "protocol/signature.h"
#include "worker/config/config.h"
#include "worker/finish/acks.h"
#include "worker/report/events.h"
#include "worker/request/request.h"
#include "worker/request/tally.h"

struct finish_counts {
	uint64_t succeeded, failed, retried, ignored, rejected, requeued, revoked, unknown, invalid;
};

struct finish {
	const struct config *config;
	const struct registry *registry;
	struct requests *requests;
	struct pool *pool;
	struct broker *broker;
	struct backend *backend; /* NULL = results are disabled */
	struct events *events;	 /* NULL = nobody to tell */
	struct acks acks;
	struct finish_counts counts;
	struct tallies tallies;
	struct str text;	 /* of the record at hand; only its memory lasts */
	struct str repr;	 /* of the result at hand, likewise */
	size_t publishing_bytes; /* retries and links that the broker has not confirmed */
	size_t lost_records;	 /* not stored, of tasks that the broker will not deliver again */
	bool is_ending;		 /* what cannot be brought to its end now is left to the broker */
	/* A request is gone: the pump may go on, a stop may be complete. */
	void (*on_finished)(void *ctx);
	void *ctx;
};

/* Takes the outcome's contents over and carries out its plan; frees the request at the end. */
void finish_apply(struct finish *f, struct request *r, struct outcome *outcome);
/* For a request that does not run: REVOKED with the reason, ack. `by` (may be NULL) stands behind
 * the log line. */
enum finish_reason { FINISH_EXPIRED, FINISH_REVOKED, FINISH_TERMINATED };
void finish_revoked(struct finish *f, struct request *r, enum finish_reason reason, const char *by);

/* For one that does not run because it has succeeded before, with this result and perhaps children:
 * what is to follow it is sent where that did not happen, then ack. */
void finish_repeated(struct finish *f, struct request *r, struct span result, bool has_children);

/* Counts an end under the task's name; `counts` has them for all names together. */
void finish_tally(struct finish *f, const struct request *r, enum tally_end end);

/* Records outside of a plan. */
void finish_store_started(struct finish *f, struct request *r);
void finish_store_state(struct finish *f, struct request *r, const char *state, const char *meta,
			size_t len);

/* finish/record.c: encodes and stores; `done` may be NULL (the backend's on_refused tells then).
 * Returns -1 when the record could not be written (logged); `done` is not called then. */
struct finish_record {
	enum task_state state;
	const char *custom_state; /* when state is TASK_CUSTOM */
	struct span result;	  /* JSON text */
	const char *traceback;
	struct span children; /* JSON text; .data NULL = none */
	bool has_date;
};
/* Whether result_serializer has a form for the outcome's result, and for what else of it would be
 * stored; -1 with ERR_UNSUPPORTED if not. Looked at for serializers that cannot say all of JSON. */
int record_check(struct finish *f, const struct request *r, struct err *err);
/* REVOKED with a TaskRevokedError of this reason. */
struct finish_record record_revoked(enum finish_reason reason);
int record_store(struct finish *f, struct request *r, const struct finish_record *record,
		 backend_done_fn *done, void *ctx);
/* The same for a step of a chain that will never run. */
int record_store_step(struct finish *f, const struct signature *step,
		      const struct finish_record *record, backend_done_fn *done, void *ctx);
/* REVOKED for a task that does not run here, unless its record says that it has begun or ended. In
 * time: nothing waits for it. False when too much waits already. */
bool record_revoke(struct finish *f, const char *id);
/* For messages that never became a request. `args` is JSON text of a list. */
void record_store_unrun(struct finish *f, const struct task_message *m, const char *module,
			const char *type, struct span args);

/* finish/publisher.c: sends the message of a retry, or of what follows a task; `done` runs once the
 * broker has it. Returns -1 when the bound of waiting publishes is reached. */
int publisher_retry(struct finish *f, const struct request *r, broker_published_fn *done, void *ctx,
		    struct err *err);
int publisher_send(struct finish *f, const struct outgoing *o, broker_published_fn *done, void *ctx,
		   struct err *err);
/* Arguments of a signature and a result together may be larger than either. */
#define PUBLISHER_BODY_MAX(config) (2 * (size_t)(config)->worker_max_message_bytes + 65536)

#endif

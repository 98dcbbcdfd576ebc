/*
 * One received task message on its way through the worker, and the table of all of them.
 *
 * A request is in exactly one state and on that state's list; requests_move is the only writer of
 * both. Requests are also indexed by task id, so that a message that is delivered again after a
 * broken connection finds the execution it belongs to.
 */
#ifndef WORKER_REQUEST_REQUEST_H
#define WORKER_REQUEST_REQUEST_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/heap.h"
#include "base/list.h"
#include "protocol/task_message.h"
#include "worker/config/config.h"
#include "worker/pool/pool.h"
#include "worker/task/outcome.h"
#include "worker/task/registry.h"

enum request_state {
	REQUEST_RECEIVED,     /* decoded; its fate is being decided */
	REQUEST_WAITING_ETA,  /* unacked, on the ETA heap */
	REQUEST_WAITING_RATE, /* unacked, on the same heap until its rate limit lets it start */
	REQUEST_READY,	      /* unacked, waiting for a free slot */
	REQUEST_SUBMITTED,    /* with the pool; the body has not begun */
	REQUEST_RUNNING,      /* the body runs; early-ack tasks are acked */
	REQUEST_FINISHING,    /* the body ended; result, retry and ack are on their way */
	REQUEST_STATE_COUNT
};

struct finish;

/* The rules in force for this run: message over task over worker settings. */
struct request_policy {
	bool acks_late, acks_on_failure, acks_on_timeout;
	bool reject_on_worker_lost, retry_on_worker_lost;
	bool ignore_result, store_errors, track_started;
	int max_retries; /* SM_UNLIMITED = no limit */
	double retry_delay_s;
	double soft_limit_s, hard_limit_s; /* 0 = none */
};

struct request {
	struct pool_job job; /* its spans point into `message` */
	struct task_message message;
	const struct task_entry *task;
	struct request_policy policy;

	enum request_state state;   /* written by requests_move only */
	struct list_node node;	    /* on the list of its state */
	struct heap_node due;	    /* on the heap while it waits for a time */
	int64_t start_us;	    /* wall time at which it may start, while WAITING_RATE */
	struct request *index_next; /* the next key in its bucket; of the first of its key only */
	struct list_node twins;	    /* ring of those with the same key, the oldest first */
	bool is_first_twin, is_hidden;

	/* The delivery that answers for it. After a lost connection `session` is old until the
	 * message comes again and is adopted. */
	unsigned session;
	uint64_t tag;
	bool is_settled; /* acked or rejected, or would be if its connection still stood */
	bool has_record; /* something is stored under its id, or may have been by another worker */

	int terminate_signal; /* of a remote `terminate`; 0 = none */
	pid_t pid;	      /* of the slot, once accepted */
	int64_t received_us, accepted_wall_us;
	struct outcome outcome; /* once FINISHING */
	unsigned step;		/* next step of its plan */
	char *children;		/* JSON text of a list: what it and its end have sent; or NULL */
	unsigned sends_left;	/* signatures of its own whose messages are not confirmed */
	bool awaits_sends;	/* its plan waits for them */
	char *send_error;	/* the first one that could not be sent */
	struct request **watch; /* made NULL when the request goes; or NULL */
	struct finish *finish;	/* who carries the plan out, while a step waits */
	/* Of a call without a message (finish/errbacks.h), which is in no table; else NULL. */
	void (*on_called)(void *ctx);
	void *called_ctx;
};

/* Limits that remote control has set for a task in place of those it declares; 0 = none. */
struct request_limits {
	bool is_set;
	double soft_s, hard_s;
};

/* See shelf.h. */
#define SHELF_SCRATCH_KEPT ((size_t)4096)
struct shelved;
struct shelf {
	struct heap due;
	struct shelved **buckets; /* by hash of id and retries; length is a power of two, or 0 */
	size_t bucket_count;
	struct str scratch;
};

struct requests {
	const struct config *config; /* of the newest request */
	struct list_node lists[REQUEST_STATE_COUNT];
	size_t counts[REQUEST_STATE_COUNT];
	struct heap eta;
	struct shelf shelf;
	struct request **buckets; /* by hash of id and retries; length is a power of two */
	size_t bucket_count, total;
	struct request_limits *limits; /* by index of the task */
	unsigned limit_count;
};

void requests_init(struct requests *all);
/* Frees every request that is left. */
void requests_clear(struct requests *all);

/* Makes a request of a decoded message (taken over) in state RECEIVED. */
struct request *request_new(struct requests *all, struct task_message *message,
			    const struct task_entry *task, const struct config *config);
void request_free(struct requests *all, struct request *r);
/* The same without a place: in no state's list and not to be found. */
struct request *request_make(const struct requests *all, struct task_message *message,
			     const struct task_entry *task, const struct config *config);
void request_discard(struct request *r);
size_t request_hash(const char *id, int64_t retries);
/* What the task declares, or what was set for it. */
struct request_limits requests_limits(const struct requests *all, const struct task_entry *task);
/* From now on this task has these limits, also where its requests have not begun. */
void requests_limit(struct requests *all, const struct task_entry *task, double soft_s,
		    double hard_s, const struct config *config);
void requests_move(struct requests *all, struct request *r, enum request_state state);
/* Frees a request that has not begun and whose message comes again. Those with its id that are
 * answered are not found from now on: they would be taken for what that message is about. */
void requests_give_back(struct requests *all, struct request *r);

/* Of the requests with this id and number of retries the one with the oldest delivery; NULL when
 * there is none. A producer may use one id for very many messages. */
struct request *requests_find(struct requests *all, const char *id, int64_t retries);
/* The message was delivered anew; that is the newest delivery there is. */
void requests_adopt(struct requests *all, struct request *r, unsigned session, uint64_t tag);

/* The name for logs: "name[id]"; the shadow name where there is one. */
int request_label(struct str *out, const struct request *r);
/* Python's repr of the positional arguments or of the named ones, cut as Celery cuts it; "***" when
 * the task declares some of its parameters secret. */
void request_args_repr(struct str *out, const struct request *r);
void request_kwargs_repr(struct str *out, const struct request *r);
/* The same of other arguments of this task. */
void request_repr(struct str *out, const struct request *r, struct span json, bool as_tuple);
const char *request_state_name(enum request_state state);

#endif

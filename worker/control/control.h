/*
 * Remote control: takes a message of the mailbox, decides whether it is for this node, runs the
 * command and makes the reply. The commands are rows of tables, a table per family; their texts are
 * Celery's (celery/worker/control.py). Answers come from the loop, so tasks never delay them.
 *
 * Threads: loop thread only. A command must not wait for anything.
 */
#ifndef WORKER_CONTROL_CONTROL_H
#define WORKER_CONTROL_CONTROL_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/str.h"
#include "protocol/lamport.h"
#include "protocol/message.h"
#include "worker/consume/consumer.h"

/* What a reply may hold at most: what the broker takes as one post, less its envelope. */
#define CONTROL_MAX_REPLY (BROKER_POSTS_MAX - ((size_t)64 << 10))

#define CONTROL_RSS_SAMPLES 10

/* All that commands may look at. */
struct control {
	const struct config *config;
	const struct registry *registry;
	struct consumer *consumer;	   /* with pool, broker, requests and finish */
	struct lamport *clock;		   /* of the worker */
	int64_t started_us;		   /* of the worker, monotonic */
	int64_t mail_clock;		   /* of replies alone, as kombu's mailbox has it */
	char rss[CONTROL_RSS_SAMPLES][32]; /* of memsample, for memdump */
	unsigned rss_count;
	/* A warm stop was asked for. */
	void (*on_shutdown)(void *ctx);
	void *ctx;
};

/* What goes under "error" of the reply. */
struct control_error {
	struct str text;
};

/* The payload, a new reference (json_null() for Python's None), or NULL after control_refuse or
 * control_raise. `arguments` is never NULL. */
typedef json_t *control_fn(struct control *c, const json_t *arguments, struct control_error *error);
/* The same for large answers: appends the payload as JSON text. -1 with `error`; a full `out` needs
 * none. */
typedef int control_write_fn(struct control *c, const json_t *arguments, struct str *out,
			     struct control_error *error);

struct control_command {
	const char *name, *alias; /* alias may be NULL */
	control_fn *run;	  /* or */
	control_write_fn *write;
	const char *const *parameters; /* SM_NAMES(...) in Python's order; NULL = none */
	unsigned required;	       /* the first so many must be given */
	bool takes_extra;	       /* others are ignored (Python's **kwargs) */
	bool is_silent;		       /* never replies */
};
/* Each ends with a row without name. */
extern const struct control_command control_inspect_commands[];
extern const struct control_command control_consumer_commands[];
extern const struct control_command control_event_commands[];
extern const struct control_command control_pool_commands[];
extern const struct control_command control_task_commands[];

/* Both return NULL, so that a command may `return control_refuse(...)`. The text is the error as it
 * stands ("unknown task"); of an exception its repr ("ValueError('...')"), which is logged too. */
json_t *control_refuse(struct control_error *error, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
json_t *control_raise(struct control_error *error, const char *type, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* {"ok": text} */
json_t *control_ok(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* A copy for the log, without line breaks; to be freed. */
char *control_plain(const char *text);
/* Python's truth of an argument: 1, "x" and [0] are true; absent is false. */
bool control_is_true(const json_t *arguments, const char *name);

/* Runs a command and appends its payload as JSON text, {"error": ...} included. False when nothing
 * is to be replied. `method` is of any type but list and object. */
bool control_call(struct control *c, const json_t *method, const json_t *arguments,
		  struct str *out);

struct control_reply {
	char *exchange, *routing_key; /* NULL = no reply */
	json_t *headers;
	struct str body;
};
/* A message of the mailbox; logs what cannot be understood. The reply is to be cleared. */
void control_handle(struct control *c, struct message *m, struct control_reply *reply);
void control_reply_clear(struct control_reply *reply);

#endif

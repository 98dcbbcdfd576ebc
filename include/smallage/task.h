/*
 * smallage task API: the only header a task author sees.
 *
 * A task is data plus one function. The function returns a new reference to its result, which the
 * worker takes, or NULL after raising something with sm_raise, sm_retry, sm_ignore or sm_reject
 * (all of them return NULL, so `return sm_raise(...)` is one line). NULL with nothing raised
 * becomes a SystemError, as in CPython.
 *
 * Arguments are bound and type-checked against .signature before the function runs; wrong calls end
 * as Python's own TypeError and never reach it, so the accessors below cannot fail. Asking for a
 * parameter that the signature does not declare, or with the wrong accessor, is the author's
 * mistake: the body gets 0, "" or None and the task ends as a SystemError whatever it returns.
 *
 * Ownership: what sm_str, sm_text, sm_json, sm_header, sm_setting return is borrowed until the
 * function returns. The result and the `meta` of sm_update_state are taken. Everything in sm_task
 * is static. A function runs in a child process or in one of many threads: keep state in
 * _Thread_local variables.
 */
#ifndef SMALLAGE_TASK_H
#define SMALLAGE_TASK_H

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define SM_ABI 2

struct sm_job; /* one execution of a task */

enum sm_choice { SM_DEFAULT, SM_YES, SM_NO }; /* `true` may be written for SM_YES */
#define SM_UNLIMITED (-1)		      /* for max and max_retries: no limit */
#define SM_NO_RETRY  (-2)		      /* for max_retries: not once */

/* Python exception names: "ValueError" is Python's builtin, "smtplib:SMTPDataError" names a module.
 */
struct sm_autoretry {
	const char *const *on;	   /* raised ones that lead to a retry: SM_NAMES("ConnectionError",
				      ...);     "Exception" = all */
	const char *const *except; /* of these, never for ... */
	double backoff;		   /* factor of 2^retries seconds; 0 = fixed delay */
	double backoff_max_s;	   /* 0 = 600 */
	enum sm_choice jitter;	   /* default yes: a random delay up to the computed one */
};
#define SM_NAMES(...) ((const char *const[]){__VA_ARGS__, NULL})

struct sm_task {
	const char *name; /* "billing.send_invoice"; without a dot it answers under every module of
			     the setting task_modules */
	const char *signature; /* Python parameter list, see docs/TASKS.md */
	const char *doc;       /* one line */
	json_t *(*run)(struct sm_job *job);
	struct sm_autoretry autoretry;
	int max_retries;			/* 0 = Celery's default, 3 */
	double retry_delay_s;			/* 0 = Celery's default, 180 */
	const char *rate_limit;			/* "10/s", "10/m", "10/h", or NULL; per worker */
	double soft_time_limit_s, time_limit_s; /* 0 = the worker's */
	enum sm_choice acks_late, acks_on_failure, acks_on_timeout, reject_on_worker_lost,
		retry_on_worker_lost, ignore_result, store_errors_even_if_ignored, track_started;
	const char *const *throws;  /* expected exceptions: logged without traceback, or NULL */
	const char *const *secrets; /* parameters that must not show in logs: SM_NAMES("token") */
	/* As a link_error it is not sent as a task with the id of the one that failed, but called
	 * at once in this worker with (request, exc, traceback): the request as sm_request gives
	 * it, {"exc_type", "exc_message", "exc_module"}, and text. It has no result. */
	bool is_errback;
};

/* A setting of the plug-in; it takes part in the file, the environment and --help like any other.
 */
struct sm_setting_def {
	const char *name; /* "email_host" in the file */
	const char *env;  /* "EMAIL_HOST" */
	const char *fallback;
	const char *help;
	bool is_secret;
};

struct sm_plugin {
	uint32_t abi, task_size; /* filled by SM_PLUGIN */
	const char *name, *version;
	const struct sm_task *const *tasks;    /* NULL-terminated */
	const struct sm_setting_def *settings; /* ends with a NULL name; may be NULL */
	/* Called once in each child or pool thread: before its first task (to connect to a
	 * database, say, which the settings name), after its last. */
	void (*start)(const char *(*setting)(const char *name));
	void (*stop)(void);
	/* For `smallage check`: try what the tasks need (a mail server, ...). Returns 0, or -1 with
	 * one line of reason in `text`; on success `text` may say what was found. NULL = nothing to
	 * try. */
	int (*check)(const char *(*setting)(const char *name), char *text, size_t size);
};
#define SM_TASKS(...) ((const struct sm_task *const[]){__VA_ARGS__, NULL})
#define SM_EXPORT     __attribute__((visibility("default")))
#define SM_PLUGIN(...)                                                                             \
	extern SM_EXPORT const struct sm_plugin sm_plugin;                                         \
	SM_EXPORT const struct sm_plugin sm_plugin = {                                             \
		.abi = SM_ABI, .task_size = sizeof(struct sm_task), __VA_ARGS__}

/* The host offers these to plug-ins although everything else in it is hidden. */
#pragma GCC visibility push(default)

/* Arguments, by parameter name. */
int64_t sm_int(const struct sm_job *job, const char *name);
double sm_float(const struct sm_job *job, const char *name); /* int, float, Decimal */
bool sm_bool(const struct sm_job *job, const char *name);
const char *sm_str(const struct sm_job *job, const char *name); /* NULL for None */
/* The value as text: 99.9, Decimal('99.90') -> "99.90", True -> "True"; NULL for None. */
const char *sm_text(struct sm_job *job, const char *name);

json_t *sm_json(const struct sm_job *job, const char *name); /* borrowed; any value */
/* All arguments as one object: parameters in order of declaration, then what ** took. Borrowed. */
json_t *sm_args(const struct sm_job *job);

bool sm_is_none(const struct sm_job *job, const char *name);

/* The request. */
const char *sm_id(const struct sm_job *job);
const char *sm_name(const struct sm_job *job);
int sm_retries(const struct sm_job *job);     /* 0 on the first run */
int sm_max_retries(const struct sm_job *job); /* SM_UNLIMITED = no limit */
bool sm_is_redelivered(const struct sm_job *job);
json_t *sm_header(const struct sm_job *job,
		  const char *name); /* custom header, borrowed, or NULL */
const char *sm_setting(const struct sm_job *job, const char *name); /* never NULL: "" */

/* All there is to know about the message, with the names of Python's Task.request: id, task,
 * root_id, parent_id, group, group_index, retries, eta, expires, timelimit ([hard, soft]), origin,
 * delivery_info (exchange, routing_key, priority, redelivered), headers, hostname, reply_to,
 * correlation_id, shadow, callbacks, errbacks, chain, chord, stamps, stamped_headers, args, kwargs
 * and more. Borrowed. */
json_t *sm_request(struct sm_job *job);

/* Ends. */
json_t *sm_raise(struct sm_job *job, const char *type, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
json_t *sm_raise_args(struct sm_job *job, const char *type, json_t *args); /* takes the list */
/* Runs the task again later: countdown_s < 0 = the task's retry_delay_s. After max_retries the task
 * fails with MaxRetriesExceededError, or with the exception given. */
json_t *sm_retry(struct sm_job *job, double countdown_s);
json_t *sm_retry_raise(struct sm_job *job, double countdown_s, const char *type, const char *fmt,
		       ...) __attribute__((format(printf, 4, 5)));
/* The same with all that Python's Task.retry takes: `options` (taken, may be NULL) may hold
 * "countdown" or "eta" (ISO 8601), "max_retries" (for this time), "args", "kwargs" (in place of the
 * present ones), "queue", "exchange", "routing_key", "priority", "expires", "time_limit",
 * "soft_time_limit", "headers", "shadow", "ignore_result", "link", "link_error". `type` NULL = no
 * exception; `exc_args` (taken) are its arguments. */
json_t *sm_retry_with(struct sm_job *job, json_t *options, const char *type, json_t *exc_args);

json_t *sm_ignore(struct sm_job *job);
json_t *sm_reject(struct sm_job *job, const char *reason, bool requeue);

/* Another task (any signature, taken) takes this one's place: it gets this one's id, links and
 * place in its chain or chord. */
json_t *sm_replace(struct sm_job *job, json_t *signature);

/* Signatures: tasks that are to be called, as JSON objects in the form of Python's canvas. All of
 * these take what they are given and return a new reference, NULL when something given was NULL. */

/* A task by name with a list and an object of arguments; NULL = none. */
json_t *sm_signature(const char *task, json_t *args, json_t *kwargs);
/* Sets an option of apply_async: "countdown", "eta", "expires", "queue", "priority", "task_id",
 * "headers", "time_limit", "ignore_result" and so on. */
json_t *sm_set(json_t *signature, const char *option, json_t *value);
/* The result of the task before it is not put in front of its arguments. */
json_t *sm_immutable(json_t *signature);
/* Calls `callback` with the result; `errback` with the id of the task that failed. */
json_t *sm_link(json_t *signature, json_t *callback);
json_t *sm_link_error(json_t *signature, json_t *errback);
/* One after the other, each with the result of the one before. `steps` is a list: SM_LIST(a, b). */
json_t *sm_chain(json_t *steps);
/* All at once. */
json_t *sm_group(json_t *members);
/* `header` (a list or a group) at once, then `body` with the list of their results. */
json_t *sm_chord(json_t *header, json_t *body);
/* One task that calls `task` for each of `items`: with the item as its argument, or (starmap) with
 * the items of that list as its arguments. */
json_t *sm_map(const char *task, json_t *items);
json_t *sm_starmap(const char *task, json_t *items);
/* A group of starmaps of `n` items each. */
json_t *sm_chunks(const char *task, json_t *items, size_t n);

json_t *sm_list(json_t *const *signatures, size_t count);
#define SM_LIST(...)                                                                               \
	sm_list((json_t *const[]){__VA_ARGS__},                                                    \
		sizeof((json_t *const[]){__VA_ARGS__}) / sizeof(json_t *))

/* Sending. */

/* Sends a signature (taken) now and returns the id whose result is the whole one's: the task's, a
 * group's, that of a chain's last step or of a chord's body. It lives until the function returns;
 * NULL after raising. The broker's confirmation is waited for before the message of this task is
 * acked and its result stored; if the broker refuses, this task fails with OperationalError. */
const char *sm_send(struct sm_job *job, json_t *signature);
/* The same for a further member of the chord that this task is a member of (Redis). */
const char *sm_add_to_chord(struct sm_job *job, json_t *signature);

/* While it runs. */
void sm_update_state(struct sm_job *job, const char *state, json_t *meta); /* takes meta */
void sm_progress(struct sm_job *job, int64_t done, int64_t total);	   /* state PROGRESS */
/* Counts the answer of a service that the body called, for the metric smallage_answers_total:
 * sm_answered(job, "mail", "smtp", "accepted"). Use few and short names, of a-z, 0-9, _, . and -;
 * those of the shipped tasks for the answer: accepted, deferred (try later), refused, timeout,
 * unreachable, unknown. */
void sm_answered(struct sm_job *job, const char *service, const char *provider, const char *answer);
/* The soft time limit has passed, or the worker wants the task to end: a blocking call returned
 * EINTR or the body looks at its own safe points, then `return sm_raise_args(job,
 * "SoftTimeLimitExceeded", json_array())`. */
bool sm_expired(const struct sm_job *job);
/* Sleeps; returns -1 early when sm_expired. */
int sm_sleep(const struct sm_job *job, double seconds);
/* Memory and clean-up that end with the job. */
void *sm_alloc(struct sm_job *job, size_t size);
char *sm_printf(struct sm_job *job, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sm_defer(struct sm_job *job, void (*fn)(void *), void *arg); /* last in, first out */

/* Renders template `name` ("welcome/body.html") with a context object; HTML templates are escaped.
 * The text ends with the job. NULL after raising (TemplateNotFound, TemplateSyntaxError). */
const char *sm_render(struct sm_job *job, const char *name, const json_t *context);

/* Logs with the task's id and name. */
void sm_log_debug(const struct sm_job *job, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sm_log_info(const struct sm_job *job, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sm_log_warning(const struct sm_job *job, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));
void sm_log_error(const struct sm_job *job, const char *fmt, ...)
	__attribute__((format(printf, 2, 3)));

#pragma GCC visibility pop

#endif

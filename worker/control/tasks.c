/* Commands about tasks: revoke, terminate, stamps, rate limits, time limits. The texts are those of
 * celery/worker/control.py. */
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/pidbox.h"
#include "protocol/pyjson.h"
#include "worker/control/control.h"
#include "worker/control/python.h"
#include "worker/request/stamp.h"

#define TEXT_MAX   ((size_t)8 << 20)
#define LOGGED_MAX 4000 /* of a list of ids */

/* --- what all revokes share --- */

static json_t *raise_no_kill(const struct control *c, struct control_error *error)
{
	const char *pool = c->config->worker_pool == CONFIG_SOLO ? "solo" : "thread";

	return control_raise(error, "NotImplementedError",
			     "<class 'celery.concurrency.%s.TaskPool'> does not implement kill_job",
			     pool);
}

/* True when done; else `error` is set. */
static bool terminate_one(struct control *c, struct request *r, int number,
			  struct control_error *error)
{
	if (number < 1 || number > SIGRTMAX) {
		control_refuse(error, "OSError(22, 'Invalid argument')");
		return false;
	}
	if (revoke_terminate(c->consumer, r, number) == 0)
		return true;
	raise_no_kill(c, error);
	return false;
}

/* --- revoke, terminate --- */

/* Python's set(maybe_list(task_id) or []): a new list without doubles, or NULL with `error`. */
static json_t *unique_ids(const json_t *task_id, struct control_error *error)
{
	json_auto_t *list = json_array();
	json_t *unique = json_array();

	if (json_is_array(task_id))
		json_array_extend(list, python_borrow(task_id));
	else if (task_id && !json_is_null(task_id))
		json_array_append(list, python_borrow(task_id));
	for (size_t i = 0; i < json_array_size(list); i++) {
		json_t *id = json_array_get(list, i);

		if (json_is_array(id) || json_is_object(id)) {
			json_decref(unique);
			return control_raise(error, "TypeError", "unhashable type: '%s'",
					     json_is_array(id) ? "list" : "dict");
		}
		json_array_append(unique, id);
	}
	return python_set(unique);
}

/* Of those ids that are texts; others can be no task's. */
static struct map *map_of(const json_t *ids)
{
	struct map *map = map_new();

	for (size_t i = 0; i < json_array_size(ids); i++)
		if (json_is_string(json_array_get(ids, i)))
			map_put(map, json_string_value(json_array_get(ids, i)), NULL);
	return map;
}

static void drop_running(const struct consumer *c, struct map *ids)
{
	static const enum request_state begun[] = {REQUEST_SUBMITTED, REQUEST_RUNNING,
						   REQUEST_FINISHING};
	struct list_node *node;

	for (size_t i = 0; i < sizeof(begun) / sizeof(begun[0]); i++)
		list_foreach (node, &c->requests.lists[begun[i]])
			map_del(ids, list_entry(node, struct request, node)->message.id);
}

/* Whoever asks for a result of an id that nobody runs hears at once. */
static void store_revoked(struct control *c, struct map *ids)
{
	size_t left_out = 0;

	for (struct map_entry *e = map_first(ids); e; e = map_next(e))
		left_out += !record_revoke(&c->consumer->finish, map_key(e));
	if (left_out > 0)
		log_warning("Failed to mark %zu tasks as revoked in backend: too many results wait "
			    "for it",
			    left_out);
}

static void join_ids(const json_t *ids, struct str *out)
{
	for (size_t i = 0; i < json_array_size(ids); i++)
		str_addf(out, "%s%s", i ? ", " : "", json_string_value(json_array_get(ids, i)));
}

static json_t *say_revoked(const json_t *ids, struct control_error *error)
{
	auto_str text = STR_INIT(TEXT_MAX);

	for (size_t i = 0; i < json_array_size(ids); i++) {
		const json_t *id = json_array_get(ids, i);

		if (!json_is_string(id))
			return control_raise(error, "TypeError",
					     "sequence item %zu: expected str instance, %s found",
					     i, pyjson_type_name(id));
	}
	join_ids(ids, &text);
	auto_free char *shown = control_plain(text.data ? text.data : "");

	log_info("Tasks flagged as revoked: %.*s", LOGGED_MAX, shown);
	str_reset(&text);
	str_puts(&text, "tasks ");
	python_put_set(&text, ids);
	str_puts(&text, " flagged as revoked");
	return python_ok(&text);
}

static json_t *terminate_ids(struct control *c, struct map *ids, int number,
			     struct control_error *error)
{
	auto_free struct request **found = NULL;
	json_auto_t *names = json_array();
	auto_str text = STR_INIT(TEXT_MAX);
	size_t count = revoke_find(c->consumer, ids, &found);

	for (size_t i = 0; i < count; i++) {
		auto_free char *id = mem_strdup(found[i]->message.id);

		auto_free char *shown = control_plain(id);

		log_info("Terminating %s (%d)", shown, number);
		if (!terminate_one(c, found[i], number, error))
			break;
		json_array_append_new(names, json_string_nocheck(id));
	}
	pump_run(c->consumer);
	if (error->text.len > 0)
		return NULL;
	if (count == 0)
		return control_ok("terminate: tasks unknown");
	names = python_set(names);
	str_puts(&text, "terminate: ");
	join_ids(names, &text);
	return python_ok(&text);
}

static json_t *revoke_ids(struct control *c, const json_t *arguments, bool terminates,
			  struct control_error *error)
{
	json_auto_t *ids = unique_ids(json_object_get(arguments, "task_id"), error);
	json_t *answer = NULL;
	int number = 0;

	if (!ids)
		return NULL;
	struct map *map = map_of(ids);

	for (struct map_entry *e = map_first(map); e; e = map_next(e))
		revoked_add(&c->consumer->revoked, map_key(e));
	if (!terminates) {
		answer = say_revoked(ids, error);
		revoke_sweep(c->consumer);
	} else if (python_signal(json_object_get(arguments, "signal"), &number, error)) {
		answer = terminate_ids(c, map, number, error);
	}
	drop_running(c->consumer, map);
	store_revoked(c, map);
	map_free(map);
	return answer;
}

static json_t *run_revoke(struct control *c, const json_t *arguments, struct control_error *error)
{
	return revoke_ids(c, arguments, control_is_true(arguments, "terminate"), error);
}

static json_t *run_terminate(struct control *c, const json_t *arguments,
			     struct control_error *error)
{
	return revoke_ids(c, arguments, true, error);
}

/* --- revoke_by_stamped_headers --- */

/* "k=v" as a member of `headers`. */
static bool add_header(json_t *headers, const json_t *item, struct control_error *error)
{
	const char *text = json_string_value(item);

	if (!text) {
		control_raise(error, "AttributeError", "'%s' object has no attribute 'split'",
			      pyjson_type_name(item));
		return false;
	}
	size_t len = strcspn(text, "=");

	if (!text[len]) {
		control_raise(error, "IndexError", "list index out of range");
		return false;
	}
	auto_free char *name = mem_dup(text, len);

	json_object_set_new(headers, name,
			    json_stringn(text + len + 1, strcspn(text + len + 1, "=")));
	return true;
}

/* ["k=v", ...] to {"k": "v", ...}; NULL with `error`. */
static json_t *headers_of_list(const json_t *list, struct control_error *error)
{
	json_t *headers = json_object();

	for (size_t i = 0; i < json_array_size(list); i++)
		if (!add_header(headers, json_array_get(list, i), error)) {
			json_decref(headers);
			return NULL;
		}
	return headers;
}

static json_t *read_headers(const json_t *value, struct control_error *error)
{
	if (json_is_array(value))
		return headers_of_list(value, error);
	if (json_is_object(value))
		return json_incref(python_borrow(value));
	return control_raise(error, "AttributeError", "'%s' object has no attribute 'items'",
			     pyjson_type_name(value));
}

static bool flag_stamps(struct control *c, json_t *headers, struct control_error *error)
{
	const char *header;
	json_t *stamps;

	json_object_foreach (headers, header, stamps) {
		if (json_is_null(stamps)) {
			control_raise(error, "TypeError", "'NoneType' object is not iterable");
			return false;
		}
		if (!json_is_array(stamps))
			revoked_add_stamp(&c->consumer->revoked, header, stamps);
		for (size_t i = 0; i < json_array_size(stamps); i++)
			revoked_add_stamp(&c->consumer->revoked, header, json_array_get(stamps, i));
	}
	return true;
}

struct match {
	json_t *headers; /* that are wanted */
	json_t *found;	 /* header to the list of stamps found */
	bool is_any;
};

static bool match_stamp(void *ctx, const char *header, const json_t *value)
{
	struct match *match = ctx;
	const json_t *wanted = json_object_get(match->headers, header);

	if (!wanted || !python_has(wanted, value))
		return false;
	json_t *list = json_object_get(match->found, header);

	if (!list) {
		list = json_array();
		json_object_set_new(match->found, header, list);
	}
	if (!python_has(list, value))
		json_array_append(list, python_borrow(value));
	match->is_any = true;
	return false;
}

/* Only what runs: the rest is discarded when its turn comes, or now if it waits for a slot. */
static void terminate_stamped(struct control *c, struct match *match, int number,
			      struct control_error *error)
{
	struct list_node *pos, *tmp;
	struct list_node *running = &c->consumer->requests.lists[REQUEST_RUNNING];

	list_foreach_safe (pos, tmp, running) {
		struct request *r = list_entry(pos, struct request, node);
		const struct task_message *m = &r->message;

		match->is_any = false;
		if (m->stamped_headers && m->stamps)
			stamps_walk(m->stamped_headers, m->stamps, match_stamp, match);
		if (match->is_any && !terminate_one(c, r, number, error))
			return;
	}
}

static json_t *say_terminated(const json_t *headers, json_t *found)
{
	auto_str text = STR_INIT(TEXT_MAX);
	const char *header, *comma = "";
	json_t *stamps;

	str_puts(&text, "headers ");
	if (json_object_size(found) == 0) {
		python_put_repr(&text, headers);
		str_puts(&text, " were not terminated");
		return python_ok(&text);
	}
	str_puts(&text, "defaultdict(<class 'set'>, {");
	json_object_foreach (found, header, stamps) {
		str_puts(&text, comma);
		pyjson_repr_str(&text, header, strlen(header), 0);
		str_puts(&text, ": ");
		python_put_set(&text, stamps);
		comma = ", ";
	}
	str_puts(&text, "}) revoked");
	return python_ok(&text);
}

static json_t *run_revoke_by_stamped_headers(struct control *c, const json_t *arguments,
					     struct control_error *error)
{
	auto_str text = STR_INIT(TEXT_MAX);
	int number;

	if (!python_signal(json_object_get(arguments, "signal"), &number, error))
		return NULL;
	json_auto_t *headers = read_headers(json_object_get(arguments, "headers"), error);

	if (!headers || !flag_stamps(c, headers, error))
		return NULL;
	if (!control_is_true(arguments, "terminate")) {
		revoke_sweep(c->consumer);
		str_puts(&text, "headers ");
		python_put_repr(&text, headers);
		str_puts(&text, " flagged as revoked, but not terminated");
		return python_ok(&text);
	}
	json_auto_t *found = json_object();
	struct match match = {.headers = headers, .found = found};

	terminate_stamped(c, &match, number, error);
	revoke_sweep(c->consumer);
	return error->text.len > 0 ? NULL : say_terminated(headers, found);
}

/* --- rate_limit, time_limit --- */

static const struct task_entry *find_task(struct control *c, const json_t *name, const char *what,
					  struct control_error *error)
{
	const struct task_entry *task =
		json_is_string(name) ? registry_find(c->registry, json_string_value(name)) : NULL;
	auto_str text = STR_INIT(4096);

	if (task)
		return task;
	python_put_text(&text, name);
	auto_free char *shown = control_plain(text.data ? text.data : "");

	log_error("%s attempt for unknown task %s", what, shown);
	control_refuse(error, "unknown task");
	return NULL;
}

static json_t *run_rate_limit(struct control *c, const json_t *arguments,
			      struct control_error *error)
{
	const json_t *rate = json_object_get(arguments, "rate_limit");
	auto_str text = STR_INIT(4096);
	double per_second;

	if (!python_rate(rate, &per_second, error))
		return NULL;
	const struct task_entry *task =
		find_task(c, json_object_get(arguments, "task_name"), "Rate limit", error);

	if (!task)
		return NULL;
	python_put_text(&text, rate);
	pump_limit(c->consumer, task, per_second, json_is_null(rate) ? NULL : text.data);
	if (!control_is_true(arguments, "rate_limit")) {
		log_info("Rate limits disabled for tasks of type %s", task->name);
		return control_ok("rate limit disabled successfully");
	}
	auto_free char *shown = control_plain(text.data);

	log_info("New rate limit for tasks of type %s: %s.", task->name, shown);
	return control_ok("new rate limit set successfully");
}

static bool read_limit(const json_t *value, double *ret_seconds, struct control_error *error)
{
	double seconds = json_is_true(value) ? 1 : json_number_value(value);

	if (value && !json_is_null(value) && !json_is_number(value) && !json_is_boolean(value)) {
		control_raise(error, "TypeError", "a time limit must be a number, not '%s'",
			      pyjson_type_name(value));
		return false;
	}
	*ret_seconds = seconds > 0 ? seconds : 0;
	return true;
}

static json_t *run_time_limit(struct control *c, const json_t *arguments,
			      struct control_error *error)
{
	const json_t *soft = json_object_get(arguments, "soft");
	const json_t *hard = json_object_get(arguments, "hard");
	auto_str text = STR_INIT(4096);
	double soft_s, hard_s;
	const struct task_entry *task =
		find_task(c, json_object_get(arguments, "task_name"), "Change time limit", error);

	if (!task || !read_limit(soft, &soft_s, error) || !read_limit(hard, &hard_s, error))
		return NULL;
	requests_limit(&c->consumer->requests, task, soft_s, hard_s, c->config);
	str_puts(&text, "soft=");
	python_put_text(&text, soft);
	str_puts(&text, " hard=");
	python_put_text(&text, hard);
	log_info("New time limits for tasks of type %s: %s", task->name, text.data);
	return control_ok("time limits set successfully");
}

const struct control_command control_task_commands[] = {
	{.name = "revoke",
	 .run = run_revoke,
	 .parameters = SM_NAMES("task_id", "terminate", "signal"),
	 .required = 1,
	 .takes_extra = true},
	{.name = "terminate",
	 .run = run_terminate,
	 .parameters = SM_NAMES("signal", "task_id"),
	 .required = 2,
	 .takes_extra = true},
	{.name = "revoke_by_stamped_headers",
	 .run = run_revoke_by_stamped_headers,
	 .parameters = SM_NAMES("headers", "terminate", "signal"),
	 .required = 1,
	 .takes_extra = true},
	{.name = "rate_limit",
	 .run = run_rate_limit,
	 .parameters = SM_NAMES("task_name", "rate_limit"),
	 .required = 2,
	 .takes_extra = true},
	{.name = "time_limit",
	 .run = run_time_limit,
	 .parameters = SM_NAMES("task_name", "hard", "soft"),
	 .takes_extra = true},
	{.name = NULL},
};

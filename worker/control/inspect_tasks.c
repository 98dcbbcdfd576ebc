/* What this worker can run (`registered`) and where it takes it from (`active_queues`). */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/text.h"
#include "worker/consume/queues.h"
#include "worker/control/inspect.h"

/* Attributes of Celery's Task as str() prints them; false for None. */
typedef bool attribute_fn(struct str *out, const struct control *c, const struct task_entry *task);

static bool add_bool(struct str *out, enum sm_choice choice, bool otherwise)
{
	bool value = choice == SM_DEFAULT ? otherwise : choice == SM_YES;

	return str_puts(out, value ? "True" : "False") == 0;
}

static bool add_seconds(struct str *out, double seconds)
{
	if (seconds == (double)(long)seconds)
		return str_addf(out, "%ld", (long)seconds) == 0;
	return float_repr(out, seconds) == 0;
}

static bool add_true(struct str *out, const struct control *c, const struct task_entry *task)
{
	(void)c;
	(void)task;
	return str_puts(out, "True") == 0;
}

static bool add_name(struct str *out, const struct control *c, const struct task_entry *task)
{
	(void)c;
	return str_puts(out, task->name) == 0;
}

static bool add_serializer(struct str *out, const struct control *c, const struct task_entry *task)
{
	(void)c;
	(void)task;
	return str_puts(out, "json") == 0;
}

static bool add_max_retries(struct str *out, const struct control *c, const struct task_entry *task)
{
	int most = task->decl->max_retries;

	(void)c;
	if (most == SM_UNLIMITED)
		return false;
	return str_addf(out, "%d", most == 0 ? 3 : most == SM_NO_RETRY ? 0 : most) == 0;
}

static bool add_retry_delay(struct str *out, const struct control *c, const struct task_entry *task)
{
	double delay = task->decl->retry_delay_s;

	(void)c;
	return add_seconds(out, delay > 0 ? delay : 180);
}

static bool add_rate_limit(struct str *out, const struct control *c, const struct task_entry *task)
{
	const char *rate = limiter_rate(&c->consumer->limiter, task);

	return rate && str_puts(out, rate) == 0;
}

static bool add_hard_limit(struct str *out, const struct control *c, const struct task_entry *task)
{
	double seconds = requests_limits(&c->consumer->requests, task).hard_s;

	return seconds > 0 && add_seconds(out, seconds);
}

static bool add_soft_limit(struct str *out, const struct control *c, const struct task_entry *task)
{
	double seconds = requests_limits(&c->consumer->requests, task).soft_s;

	return seconds > 0 && add_seconds(out, seconds);
}

static bool add_acks_late(struct str *out, const struct control *c, const struct task_entry *task)
{
	return add_bool(out, task->decl->acks_late, c->config->task_acks_late);
}

static bool add_acks_failure(struct str *out, const struct control *c,
			     const struct task_entry *task)
{
	return add_bool(out, task->decl->acks_on_failure, c->config->task_acks_on_failure);
}

static bool add_acks_timeout(struct str *out, const struct control *c,
			     const struct task_entry *task)
{
	return add_bool(out, task->decl->acks_on_timeout, c->config->task_acks_on_timeout);
}

/* Celery's default is None. */
static bool add_reject_lost(struct str *out, const struct control *c, const struct task_entry *task)
{
	if (task->decl->reject_on_worker_lost == SM_DEFAULT &&
	    !c->config->task_reject_on_worker_lost)
		return false;
	return add_bool(out, task->decl->reject_on_worker_lost, true);
}

static bool add_retry_lost(struct str *out, const struct control *c, const struct task_entry *task)
{
	return add_bool(out, task->decl->retry_on_worker_lost,
			c->config->task_retry_on_worker_lost);
}

static bool add_ignore_result(struct str *out, const struct control *c,
			      const struct task_entry *task)
{
	return add_bool(out, task->decl->ignore_result, c->config->task_ignore_result);
}

static bool add_store_errors(struct str *out, const struct control *c,
			     const struct task_entry *task)
{
	return add_bool(out, task->decl->store_errors_even_if_ignored,
			c->config->task_store_errors_even_if_ignored);
}

static bool add_track_started(struct str *out, const struct control *c,
			      const struct task_entry *task)
{
	return add_bool(out, task->decl->track_started, c->config->task_track_started);
}

static const struct {
	const char *name;
	attribute_fn *add;
} attributes[] = {
	{"rate_limit", add_rate_limit},
	{"name", add_name},
	{"serializer", add_serializer},
	{"max_retries", add_max_retries},
	{"default_retry_delay", add_retry_delay},
	{"time_limit", add_hard_limit},
	{"soft_time_limit", add_soft_limit},
	{"acks_late", add_acks_late},
	{"acks_on_failure", add_acks_failure},
	{"acks_on_failure_or_timeout", add_acks_failure},
	{"acks_on_timeout", add_acks_timeout},
	{"reject_on_worker_lost", add_reject_lost},
	{"retry_on_worker_lost", add_retry_lost},
	{"ignore_result", add_ignore_result},
	{"store_errors_even_if_ignored", add_store_errors},
	{"track_started", add_track_started},
	{"send_events", add_true},
	{"typing", add_true},
	{"trail", add_true},
};

/* Appends "name=value"; false when the task has no such attribute. */
static bool add_attribute(struct str *out, const struct control *c, const struct task_entry *task,
			  const char *name)
{
	auto_str value = STR_INIT(1024);

	for (size_t i = 0; i < sizeof(attributes) / sizeof(attributes[0]); i++) {
		if (strcmp(attributes[i].name, name) != 0)
			continue;
		if (!attributes[i].add(&value, c, task))
			return false;
		return str_addf(out, "%s=%s", name, value.data ? value.data : "") == 0;
	}
	return false;
}

/* "name", or "name [a=1 b=2]". */
static json_t *describe(const struct control *c, const struct task_entry *task, const json_t *items)
{
	auto_str text = STR_INIT(65536);
	size_t i, shown = 0;
	const json_t *item;

	str_puts(&text, task->name);
	json_array_foreach (items, i, item) {
		size_t before = text.len;

		str_puts(&text, shown ? " " : " [");
		if (add_attribute(&text, c, task, json_string_value(item)))
			shown++;
		else
			text.len = before;
	}
	if (shown)
		str_addc(&text, ']');
	return json_stringn(text.data, text.len);
}

/* A dict shows an attribute once. */
static bool has_item(const json_t *items, const char *name)
{
	size_t i;
	const json_t *item;

	json_array_foreach (items, i, item)
		if (strcmp(json_string_value(item), name) == 0)
			return true;
	return false;
}

/* Those that may be shown of what was asked for, in order. */
static json_t *list_items(const json_t *asked)
{
	json_t *items = json_array();
	size_t i;
	const json_t *item;

	json_array_foreach (asked, i, item) {
		const char *name = json_string_value(item);

		if (name && *name != '_' && json_array_size(items) < 64 && !has_item(items, name))
			json_array_append_new(items, json_string(name));
	}
	return items;
}

static int by_name(const void *a, const void *b)
{
	const struct task_entry *const *left = a, *const *right = b;

	return strcmp((*left)->name, (*right)->name);
}

json_t *inspect_registered(struct control *c, const json_t *arguments, struct control_error *error)
{
	const json_t *asked = json_object_get(arguments, "taskinfoitems");
	bool has_builtins = control_is_true(arguments, "builtins");
	unsigned count = registry_count(c->registry);
	auto_free const struct task_entry **tasks = mem_calloc(count + 1, sizeof(*tasks));
	json_t *items, *list;

	if (control_is_true(arguments, "taskinfoitems") && json_is_number(asked))
		return control_raise(error, "TypeError", "'%s' object is not iterable",
				     json_is_integer(asked) ? "int" : "float");
	if (control_is_true(arguments, "taskinfoitems") && json_is_true(asked))
		return control_raise(error, "TypeError", "'bool' object is not iterable");
	items = control_is_true(arguments, "taskinfoitems") ? list_items(asked)
							    : json_pack("[s]", "rate_limit");
	for (unsigned i = 0; i < count; i++)
		tasks[i] = registry_at(c->registry, i);
	qsort(tasks, count, sizeof(const struct task_entry *), by_name);
	list = json_array();
	for (unsigned i = 0; i < count; i++)
		if (has_builtins || !task_entry_is_builtin(tasks[i]))
			json_array_append_new(list, describe(c, tasks[i], items));
	json_decref(items);
	return list;
}

json_t *inspect_active_queues(struct control *c, const json_t *arguments,
			      struct control_error *error)
{
	(void)arguments;
	(void)error;
	return queues_list(c->consumer);
}

/*
 * Lists of requests as text: with many thousands of them a tree would hold the loop up. Arguments
 * were found to be JSON when they came and are copied as they are.
 *
 * Source: celery/worker/request.py, info(); celery/worker/control.py.
 */
#include <string.h>

#include "base/map.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/control/inspect.h"
#include "worker/request/shelf.h"

static void add_text(struct str *out, const char *text)
{
	if (text)
		pyjson_dump_str(out, text, strlen(text));
	else
		str_puts(out, "null");
}

static bool is_empty(struct span list)
{
	return list.len < 2 || memchr(list.data, '"', list.len) == NULL;
}

/* Arguments of megabytes would leave no room for anything else: they are told by their size. First
 * with the larger bound; when the answer gets too large, with the smaller one. */
static const size_t most_shown[] = {(size_t)256 << 10, 256};

static void add_span(struct str *out, struct span json, size_t most, bool is_mapping)
{
	if (json.len <= most)
		str_add(out, json.data, json.len);
	else if (is_mapping)
		str_addf(out, "{\"...\": \"%zu bytes\"}", json.len);
	else
		str_addf(out, "[\"%zu bytes\"]", json.len);
}

/* Of a task with secret parameters nothing is told but that there are arguments. */
static void add_arguments(struct str *out, const struct request *r, size_t most)
{
	const struct task_message *m = &r->message;

	str_puts(out, ", \"args\": ");
	if (task_entry_has_secrets(r->task))
		str_puts(out, m->args.len > 2 ? "[\"***\"]" : "[]");
	else
		add_span(out, m->args, most, false);
	str_puts(out, ", \"kwargs\": ");
	if (task_entry_has_secrets(r->task))
		str_puts(out, is_empty(m->kwargs) ? "{}" : "{\"***\": \"***\"}");
	else
		add_span(out, m->kwargs, most, true);
}

/* The texts that the producer made for people; protocol 1 has none, there Celery makes them. */
static void add_safe_arguments(struct str *out, const struct request *r)
{
	const struct task_message *m = &r->message;
	bool is_ours = m->protocol == 1 || task_entry_has_secrets(r->task);
	auto_str args = STR_INIT(16384);
	auto_str kwargs = STR_INIT(16384);

	if (is_ours) {
		request_args_repr(&args, r);
		request_kwargs_repr(&kwargs, r);
	}
	const char *shown_args = is_ours ? args.data : m->argsrepr;
	const char *shown_kwargs = is_ours ? kwargs.data : m->kwargsrepr;

	str_puts(out, ", \"args\": ");
	add_text(out, shown_args ? shown_args : "");
	str_puts(out, ", \"kwargs\": ");
	add_text(out, shown_kwargs ? shown_kwargs : "");
}

static void add_number(struct str *out, int64_t number)
{
	char digits[24], *at = digits + sizeof(digits);
	uint64_t rest = number < 0 ? 0 - (uint64_t)number : (uint64_t)number;

	do {
		*--at = (char)('0' + rest % 10);
		rest /= 10;
	} while (rest > 0);
	if (number < 0)
		*--at = '-';
	str_add(out, at, (size_t)(digits + sizeof(digits) - at));
}

static void add_delivery(struct str *out, const struct task_message *m)
{
	str_puts(out, ", \"delivery_info\": {\"exchange\": ");
	add_text(out, m->exchange ? m->exchange : "");
	str_puts(out, ", \"routing_key\": ");
	add_text(out, m->routing_key);
	str_puts(out, ", \"priority\": ");
	if (m->priority >= 0)
		add_number(out, m->priority);
	else
		str_puts(out, "null");
	str_puts(out, m->is_redelivered ? ", \"redelivered\": true}" : ", \"redelivered\": false}");
}

/* `most` 0: the texts for people. */
static void add_info(struct str *out, const struct control *c, const struct request *r, size_t most)
{
	const struct task_message *m = &r->message;

	str_puts(out, "{\"id\": ");
	add_text(out, m->id);
	str_puts(out, ", \"name\": ");
	add_text(out, m->shadow && *m->shadow ? m->shadow : m->task);
	if (most > 0)
		add_arguments(out, r, most);
	else
		add_safe_arguments(out, r);
	str_puts(out, ", \"type\": ");
	add_text(out, m->task);
	str_puts(out, ", \"hostname\": ");
	add_text(out, c->config->node_name);
	str_puts(out, ", \"time_start\": ");
	if (r->pid)
		float_repr(out, (double)r->accepted_wall_us / 1e6);
	else
		str_puts(out, "null");
	str_puts(out, r->is_settled ? ", \"acknowledged\": true" : ", \"acknowledged\": false");
	add_delivery(out, m);
	str_puts(out, ", \"worker_pid\": ");
	if (r->pid)
		add_number(out, r->pid);
	else
		str_puts(out, "null");
	str_addc(out, '}');
}

/* A body runs, or its end is being stored. */
static bool is_active(const struct request *r)
{
	return r->state == REQUEST_RUNNING || (r->state == REQUEST_FINISHING && r->pid);
}

static void add_separator(struct str *out)
{
	if (out->data[out->len - 1] != '[')
		str_puts(out, ", ");
}

static void add_list(struct str *out, const struct control *c, enum request_state state,
		     size_t most)
{
	struct list_node *pos, *head = &c->consumer->requests.lists[state];

	list_foreach (pos, head) {
		const struct request *r = list_entry(pos, struct request, node);

		if (out->is_full)
			return;
		if (state == REQUEST_FINISHING && !is_active(r))
			continue;
		add_separator(out);
		add_info(out, c, r, most);
	}
}

static int add_lists(struct str *out, const struct control *c, enum request_state first,
		     enum request_state second, bool is_safe)
{
	for (size_t i = 0; i < 2; i++) {
		size_t most = is_safe ? 0 : most_shown[i];

		str_reset(out);
		str_addc(out, '[');
		add_list(out, c, first, most);
		add_list(out, c, second, most);
		if (str_addc(out, ']') == 0)
			return 0;
	}
	return -1;
}

int inspect_active(struct control *c, const json_t *arguments, struct str *out,
		   struct control_error *error)
{
	(void)error;
	return add_lists(out, c, REQUEST_RUNNING, REQUEST_FINISHING,
			 control_is_true(arguments, "safe"));
}

int inspect_reserved(struct control *c, const json_t *arguments, struct str *out,
		     struct control_error *error)
{
	(void)arguments;
	(void)error;
	return add_lists(out, c, REQUEST_SUBMITTED, REQUEST_READY, false);
}

/* 6 is the priority that Celery's timer gives to such tasks, not the message's. */
static void add_waiting(struct str *out, const struct control *c, const struct request *r,
			size_t most)
{
	char eta[40];

	add_separator(out);
	iso8601_format(r->message.eta_us, c->config->timezone_offset_s, eta);
	str_addf(out, "{\"eta\": \"%s\", \"priority\": 6, \"request\": ", eta);
	add_info(out, c, r, most);
	str_addc(out, '}');
}

static int add_scheduled(struct str *out, const struct control *c, size_t most)
{
	struct requests *all = &c->consumer->requests;
	struct list_node *pos, *head = &all->lists[REQUEST_WAITING_ETA];

	str_reset(out);
	str_addc(out, '[');
	list_foreach (pos, head) {
		if (out->is_full)
			return -1;
		add_waiting(out, c, list_entry(pos, struct request, node), most);
	}
	for (size_t i = 0; i < all->shelf.due.count && !out->is_full; i++) {
		struct request *r =
			shelf_look(all, list_entry(all->shelf.due.nodes[i], struct shelved, due));

		add_waiting(out, c, r, most);
		request_discard(r);
	}
	return str_addc(out, ']');
}

int inspect_scheduled(struct control *c, const json_t *arguments, struct str *out,
		      struct control_error *error)
{
	(void)arguments;
	(void)error;
	return add_scheduled(out, c, most_shown[0]) == 0 ? 0 : add_scheduled(out, c, most_shown[1]);
}

/* --- query_task --- */

/* NULL for those that Celery does not find either: tasks that a rate limit holds back. */
static const char *state_of(const struct request *r)
{
	switch (r->state) {
	case REQUEST_RUNNING:
		return "active";
	case REQUEST_FINISHING:
		return r->pid ? "active" : NULL;
	case REQUEST_READY:
	case REQUEST_SUBMITTED:
		return "reserved";
	case REQUEST_WAITING_ETA:
		return "scheduled";
	case REQUEST_WAITING_RATE:
		return r->message.eta_us != TIME_UNSET ? "scheduled" : NULL;
	case REQUEST_RECEIVED:
	case REQUEST_STATE_COUNT:
		break;
	}
	return NULL;
}

/* Requests are indexed by id and number of retries, so all are walked; once, whatever is asked. */
static void find_all(struct map *wanted, struct requests *all)
{
	static const enum request_state states[] = {REQUEST_WAITING_RATE, REQUEST_WAITING_ETA,
						    REQUEST_READY,	  REQUEST_SUBMITTED,
						    REQUEST_FINISHING,	  REQUEST_RUNNING};
	struct list_node *pos;

	shelf_take_ids(all, wanted);
	for (size_t i = 0; i < sizeof(states) / sizeof(states[0]); i++)
		list_foreach (pos, &all->lists[states[i]]) {
			struct request *r = list_entry(pos, struct request, node);

			if (state_of(r) && map_get(wanted, r->message.id))
				map_put(wanted, r->message.id, r);
		}
}

static int add_found(struct str *out, const struct control *c, const struct map *found,
		     const void *nothing, size_t most)
{
	str_reset(out);
	str_addc(out, '{');
	for (struct map_entry *e = map_first(found); e && !out->is_full; e = map_next(e)) {
		const struct request *r = map_value(e);

		if ((const void *)r == nothing)
			continue;
		if (out->data[out->len - 1] != '{')
			str_puts(out, ", ");
		add_text(out, r->message.id);
		str_addf(out, ": [\"%s\", ", state_of(r));
		add_info(out, c, r, most);
		str_addc(out, ']');
	}
	return str_addc(out, '}');
}

/* Python's maybe_list(): a list, or one value. */
static int want(struct map *wanted, const json_t *ids, void *nothing, struct control_error *error)
{
	size_t count = json_is_array(ids) ? json_array_size(ids) : 1;

	if (json_is_null(ids)) {
		control_raise(error, "TypeError", "'NoneType' object is not iterable");
		return -1;
	}
	for (size_t i = 0; i < count; i++) {
		const json_t *id = json_is_array(ids) ? json_array_get(ids, i) : ids;

		if (json_is_array(id) || json_is_object(id)) {
			control_raise(error, "TypeError", "unhashable type: '%s'",
				      json_is_array(id) ? "list" : "dict");
			return -1;
		}
		if (json_is_string(id))
			map_put(wanted, json_string_value(id), nothing);
	}
	return 0;
}

int inspect_query_task(struct control *c, const json_t *arguments, struct str *out,
		       struct control_error *error)
{
	struct map *ids = map_new();
	int nothing = 0;
	int result = want(ids, json_object_get(arguments, "ids"), &nothing, error);

	if (result == 0) {
		find_all(ids, &c->consumer->requests);
		result = add_found(out, c, ids, &nothing, most_shown[0]);
		if (result < 0)
			result = add_found(out, c, ids, &nothing, most_shown[1]);
	}
	map_free(ids);
	return result;
}

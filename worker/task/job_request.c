#include "worker/task/job_request.h"

#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "worker/task/wire_text.h"

#define TEXT_COUNT 15

struct request_head {
	int64_t eta_us, expires_us, group_index, replaced_task_nesting;
	double time_limit_s, soft_time_limit_s;
	int32_t priority, ignore_result;
};

/* The one place that knows which texts travel, and in which order. */
static void request_texts(const struct task_message *m, const char *texts[TEXT_COUNT])
{
	texts[0] = m->root_id;
	texts[1] = m->parent_id;
	texts[2] = m->group;
	texts[3] = m->origin;
	texts[4] = m->correlation_id;
	texts[5] = m->reply_to;
	texts[6] = m->exchange;
	texts[7] = m->routing_key;
	texts[8] = m->shadow;
	texts[9] = m->stamped_headers;
	texts[10] = m->stamps;
	texts[11] = m->argsrepr;
	texts[12] = m->kwargsrepr;
	texts[13] = m->lang;
	texts[14] = m->task;
}

static const char **request_text_at(struct task_message *m, unsigned i)
{
	const char **const texts[TEXT_COUNT] = {
		&m->root_id,  &m->parent_id, &m->group,	      &m->origin, &m->correlation_id,
		&m->reply_to, &m->exchange,  &m->routing_key, &m->shadow, &m->stamped_headers,
		&m->stamps,   &m->argsrepr,  &m->kwargsrepr,  &m->lang,	  &m->task,
	};

	return texts[i];
}

int job_request_put(struct str *out, const struct task_message *m)
{
	struct request_head head = {.eta_us = m->eta_us,
				    .expires_us = m->expires_us,
				    .group_index = m->group_index,
				    .replaced_task_nesting = m->replaced_task_nesting,
				    .time_limit_s = m->time_limit_s,
				    .soft_time_limit_s = m->soft_time_limit_s,
				    .priority = m->priority,
				    .ignore_result = m->ignore_result};
	const char *texts[TEXT_COUNT];

	request_texts(m, texts);
	if (str_add(out, &head, sizeof(head)) != 0)
		return -1;
	for (unsigned i = 0; i < TEXT_COUNT; i++)
		wire_text_put(out, texts[i]);
	return out->is_full ? -1 : 0;
}

int job_request_get(struct task_message *m, struct span bytes)
{
	struct request_head head;

	task_message_init(m);
	if (bytes.len < sizeof(head))
		return -1;
	memcpy(&head, bytes.data, sizeof(head));
	m->eta_us = head.eta_us;
	m->expires_us = head.expires_us;
	m->group_index = head.group_index;
	m->replaced_task_nesting = head.replaced_task_nesting;
	m->time_limit_s = head.time_limit_s;
	m->soft_time_limit_s = head.soft_time_limit_s;
	m->priority = head.priority;
	m->ignore_result = (enum tristate)head.ignore_result;
	bytes = (struct span){bytes.data + sizeof(head), bytes.len - sizeof(head)};
	for (unsigned i = 0; i < TEXT_COUNT; i++)
		if (wire_text_get(request_text_at(m, i), &bytes) < 0)
			return -1;
	return 0;
}

static void set(json_t *object, const char *name, json_t *value)
{
	json_object_set_new_nocheck(object, name, value ? value : json_null());
}

static json_t *text_or_null(const char *text)
{
	json_t *value = text ? json_string(text) : NULL;

	return value ? value : json_null();
}

static json_t *json_or_null(struct span json)
{
	json_t *value = json.data ? pyjson_load(json.data, json.len, NULL) : NULL;

	return value ? value : json_null();
}

static json_t *json_text_or_null(const char *text)
{
	return json_or_null((struct span){text, text ? strlen(text) : 0});
}

static json_t *time_or_null(int64_t us)
{
	char text[40];

	if (us == TIME_UNSET)
		return json_null();
	iso8601_format(us, 0, text);
	return json_string(text);
}

static json_t *limit_or_null(double seconds)
{
	return seconds > 0 ? json_real(seconds) : json_null();
}

static json_t *delivery_info(const struct task_message *m)
{
	json_t *info = json_object();

	set(info, "exchange", text_or_null(m->exchange));
	set(info, "routing_key", text_or_null(m->routing_key));
	set(info, "priority", m->priority >= 0 ? json_integer(m->priority) : NULL);
	set(info, "redelivered", json_boolean(m->is_redelivered));
	return info;
}

static void set_workflow(json_t *request, const struct task_message *m)
{
	set(request, "root_id", text_or_null(m->root_id));
	set(request, "parent_id", text_or_null(m->parent_id));
	set(request, "group", text_or_null(m->group));
	set(request, "group_index", m->group_index >= 0 ? json_integer(m->group_index) : NULL);
	set(request, "callbacks", json_or_null(m->callbacks));
	set(request, "errbacks", json_or_null(m->errbacks));
	set(request, "chain", json_or_null(m->chain));
	set(request, "chord", json_or_null(m->chord));
	set(request, "replaced_task_nesting", json_integer(m->replaced_task_nesting));
	set(request, "stamped_headers", json_text_or_null(m->stamped_headers));
	set(request, "stamps", m->stamps ? json_text_or_null(m->stamps) : json_object());
}

json_t *job_request_json(const struct task_message *m, const char *hostname)
{
	json_t *request = json_object();

	set(request, "lang", text_or_null(m->lang));
	set(request, "task", text_or_null(m->task));
	set(request, "id", text_or_null(m->id));
	set(request, "shadow", text_or_null(m->shadow));
	set(request, "eta", time_or_null(m->eta_us));
	set(request, "expires", time_or_null(m->expires_us));
	set(request, "retries", json_integer(m->retries));
	set(request, "timelimit",
	    json_pack("[oo]", limit_or_null(m->time_limit_s), limit_or_null(m->soft_time_limit_s)));
	set_workflow(request, m);
	set(request, "argsrepr", text_or_null(m->argsrepr));
	set(request, "kwargsrepr", text_or_null(m->kwargsrepr));
	set(request, "origin", text_or_null(m->origin));
	set(request, "ignore_result",
	    m->ignore_result == TRI_NULL ? NULL : json_boolean(m->ignore_result == TRI_TRUE));
	set(request, "args", json_or_null(m->args));
	set(request, "kwargs", json_or_null(m->kwargs));
	set(request, "headers", json_text_or_null(m->custom_headers));
	set(request, "correlation_id", text_or_null(m->correlation_id));
	set(request, "reply_to", text_or_null(m->reply_to));
	set(request, "delivery_info", delivery_info(m));
	set(request, "hostname", text_or_null(hostname));
	return request;
}

#include "worker/finish/join.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_items.h"
#include "protocol/result.h"

#define DEPTH_MAX 100 /* of groups in groups */

/* What one task has ended with. */
struct part_value {
	bool is_failure;
	char text[];
};

void join_failure_clear(struct join_failure *failure)
{
	free(failure->task_id);
	free(failure->exception);
	*failure = (struct join_failure){0};
}

void join_init(struct join *j, const struct config *config)
{
	*j = (struct join){.config = config};
	str_init(&j->flat, PUBLISHER_BODY_MAX(config));
}

void join_clear(struct join *j)
{
	for (struct map_entry *e = j->values ? map_first(j->values) : NULL; e; e = map_next(e))
		free(map_value(e));
	map_free(j->values);
	json_decref(j->group);
	str_clear(&j->flat);
	join_failure_clear(&j->failure);
	join_init(j, j->config);
}

static int unpack(const struct join *j, struct str *out, const char *data, size_t len,
		  struct err *err)
{
	const struct content_options accepted = config_result_content(j->config);

	return result_unpack(out, data, len, &accepted, err);
}

int join_read_group(struct join *j, const char *record, size_t len, struct err *err)
{
	auto_str text = STR_INIT(PUBLISHER_BODY_MAX(j->config));
	json_auto_t *root = NULL;
	json_t *tuples;

	if (unpack(j, &text, record, len, err) < 0)
		return -1;
	root = pyjson_load(text.data, text.len, err);
	if (!root)
		return -1;
	tuples = json_array_get(json_object_get(root, "result"), 1);
	if (!json_is_array(tuples))
		return err_set(err, ERR_INVALID, "the saved group has no results");
	j->group = json_incref(tuples);
	return 0;
}

static bool is_failure(enum task_state state)
{
	return state == TASK_FAILURE || state == TASK_REVOKED;
}

static void fail(struct join *j, const char *id, struct span exception)
{
	if (j->failure.task_id)
		return;
	j->failure.task_id = mem_strdup(id);
	j->failure.exception = mem_dup(exception.data, exception.len);
}

static void keep(struct join *j, const char *id, enum task_state state, struct span json)
{
	struct part_value *value = mem_alloc(sizeof(*value) + json.len + 1);

	value->is_failure = is_failure(state);
	memcpy(value->text, json.data, json.len);
	value->text[json.len] = '\0';
	if (!j->values)
		j->values = map_new();
	free(map_put(j->values, id, value));
}

static int add(struct join *j, const char *id, enum task_state state, struct span json,
	       struct err *err)
{
	j->count++;
	if (j->group) {
		keep(j, id, state, json);
		return 0;
	}
	if (is_failure(state))
		fail(j, id, json);
	str_puts(&j->flat, j->flat.len == 0 ? "[" : ", ");
	str_add(&j->flat, json.data, json.len);
	if (j->flat.is_full)
		return err_set(err, ERR_LIMIT, "the results together are too large");
	return 0;
}

int join_add_member(struct join *j, const char *member, size_t len, struct err *err)
{
	auto_str text = STR_INIT(PUBLISHER_BODY_MAX(j->config));
	auto_items items;
	json_auto_t *id = NULL, *state = NULL;

	pyjson_items_init(&items);
	if (unpack(j, &text, member, len, err) < 0 ||
	    pyjson_items_scan(&items, text.data, text.len, err) < 0)
		return -1;
	if (items.kind != PYJSON_ARRAY || items.count != 4)
		return err_set(err, ERR_INVALID, "a member is not [1, id, state, result]");
	id = pyjson_load(items.all[1].value.data, items.all[1].value.len, err);
	state = pyjson_load(items.all[2].value.data, items.all[2].value.len, err);
	if (!json_is_string(id) || !json_is_string(state))
		return err_set(err, ERR_INVALID, "a member has no id or no state");
	return add(j, json_string_value(id), state_parse(json_string_value(state)),
		   items.all[3].value, err);
}

int join_add_record(struct join *j, const char *task_id, const char *record, size_t len,
		    struct err *err)
{
	auto_str text = STR_INIT(PUBLISHER_BODY_MAX(j->config));
	enum task_state state = result_state_of(record, len);
	auto_items items;
	struct span result;

	pyjson_items_init(&items);
	if (!state_is_ready(state))
		return 0;
	if (unpack(j, &text, record, len, err) < 0 ||
	    pyjson_items_scan(&items, text.data, text.len, err) < 0)
		return -1;
	result = pyjson_items_find(&items, "result");
	if (!result.data)
		result = (struct span){"null", 4};
	return add(j, task_id, state, result, err) < 0 ? -1 : 1;
}

/* [[id, parent], nested]: the id; *ret_nested is NULL for a task. */
static const char *tuple_read(const json_t *tuple, const json_t **ret_nested)
{
	const json_t *head = json_array_get(tuple, 0), *nested = json_array_get(tuple, 1);
	const char *id = json_string_value(json_is_array(head) ? json_array_get(head, 0) : head);

	*ret_nested = json_is_array(nested) ? nested : NULL;
	return id ? id : "";
}

static size_t list_ids(const json_t *list, const char **ret_ids, size_t max, size_t found,
		       unsigned depth)
{
	for (size_t i = 0; i < json_array_size(list) && depth < DEPTH_MAX; i++) {
		const json_t *nested;
		const char *id = tuple_read(json_array_get(list, i), &nested);

		if (nested) {
			found = list_ids(nested, ret_ids, max, found, depth + 1);
			continue;
		}
		if (found < max)
			ret_ids[found] = id;
		found++;
	}
	return found;
}

size_t join_ids(const struct join *j, const char **ret_ids, size_t max)
{
	return list_ids(j->group, ret_ids, max, 0, 0);
}

static int write_list(struct join *j, struct str *out, const json_t *list, unsigned depth,
		      struct err *err);

static int write_one(struct join *j, struct str *out, const json_t *tuple, unsigned depth,
		     struct err *err)
{
	const json_t *nested;
	const char *id = tuple_read(tuple, &nested);
	const struct part_value *value = !nested && j->values ? map_get(j->values, id) : NULL;

	if (nested)
		return write_list(j, out, nested, depth + 1, err);
	if (!value)
		return err_set(err, ERR_INVALID, "there is no result of task %.100s", id);
	if (value->is_failure) {
		fail(j, id, (struct span){value->text, strlen(value->text)});
		return err_set(err, ERR_REFUSED, "task %.100s failed", id);
	}
	return str_puts(out, value->text);
}

static int write_list(struct join *j, struct str *out, const json_t *list, unsigned depth,
		      struct err *err)
{
	if (depth > DEPTH_MAX)
		return err_set(err, ERR_LIMIT, "the groups are nested too deeply");
	str_addc(out, '[');
	for (size_t i = 0; i < json_array_size(list); i++) {
		if (i > 0)
			str_puts(out, ", ");
		if (write_one(j, out, json_array_get(list, i), depth, err) < 0)
			return -1;
	}
	return str_addc(out, ']');
}

struct span join_cause(const struct join *j)
{
	const char *exception = j->failure.exception;

	return exception ? (struct span){exception, strlen(exception)} : (struct span){0};
}

int join_write(struct join *j, struct str *out, struct err *err)
{
	if (j->group) {
		if (write_list(j, out, j->group, 0, err) < 0)
			return -1;
	} else {
		if (j->failure.task_id)
			return err_set(err, ERR_REFUSED, "task %.100s failed", j->failure.task_id);
		str_add(out, j->flat.len ? j->flat.data : "[", j->flat.len ? j->flat.len : 1);
		str_addc(out, ']');
	}
	return out->is_full ? err_set(err, ERR_LIMIT, "the results together are too large") : 0;
}

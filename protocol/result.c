/* Mirrors celery/backends/base.py, _get_result_meta() and prepare_exception(). */
#include "protocol/result.h"

#include <inttypes.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"

#define SCAN_ITEMS 32

/* A text that is known here: its length needs no look. */
#define PUT(out, literal) str_add((out), "" literal, sizeof(literal) - 1)

/* The text as a JSON string, or null. */
static void add_text(struct str *out, const char *text)
{
	if (text)
		pyjson_dump_str(out, text, strlen(text));
	else
		PUT(out, "null");
}

static void add_json(struct str *out, struct span value)
{
	if (value.data)
		str_add(out, value.data, value.len);
	else
		PUT(out, "null");
}

static void add_date(struct str *out, int64_t unix_us, int offset_s)
{
	char text[40];

	if (unix_us == 0) {
		PUT(out, ", \"date_done\": null");
		return;
	}
	iso8601_format(unix_us, offset_s, text);
	PUT(out, ", \"date_done\": \"");
	str_puts(out, text); /* nothing in it needs an escape */
	PUT(out, "\"");
}

/* The stamps that stamped_headers names, each a key of the record. */
static void add_stamps(struct str *out, const char *stamped_headers, const char *stamps)
{
	json_t *names = pyjson_load(stamped_headers, strlen(stamped_headers), NULL);
	json_t *values = pyjson_load(stamps, strlen(stamps), NULL);

	if (json_is_array(names) && json_is_object(values)) {
		for (void *it = json_object_iter(values); it;
		     it = json_object_iter_next(values, it)) {
			const char *key = json_object_iter_key(it);
			bool is_named = false;

			for (size_t i = 0; i < json_array_size(names) && !is_named; i++) {
				const char *name = json_string_value(json_array_get(names, i));

				is_named = name && strcmp(name, key) == 0;
			}
			if (!is_named)
				continue;
			str_add(out, ", ", 2);
			pyjson_dump_str(out, key, strlen(key));
			str_add(out, ": ", 2);
			pyjson_dump(out, json_object_iter_value(it));
		}
	}
	json_decref(names);
	json_decref(values);
}

void result_add_stamps(struct str *out, const struct result_record *r)
{
	auto_str stamps = STR_INIT(STR_MAX_DEFAULT);

	add_stamps(&stamps, r->stamped_headers, r->stamps);
	if (stamps.len > 2)
		str_add(out, stamps.data + 2, stamps.len - 2);
}

static void add_extended(struct str *out, const struct result_record *r)
{
	PUT(out, ", \"name\": ");
	add_text(out, r->name);
	PUT(out, ", \"args\": ");
	add_json(out, r->args);
	PUT(out, ", \"kwargs\": ");
	add_json(out, r->kwargs);
	PUT(out, ", \"worker\": ");
	add_text(out, r->worker);
	str_addf(out, ", \"retries\": %" PRId64, r->retries);
	PUT(out, ", \"queue\": ");
	add_text(out, r->queue);
	if (r->stamps) {
		const char *names = r->stamped_headers ? r->stamped_headers : "null";

		PUT(out, ", \"stamped_headers\": ");
		str_puts(out, names);
		add_stamps(out, names, r->stamps);
	}
}

int result_encode(struct str *out, const struct result_record *r)
{
	PUT(out, "{\"status\": ");
	add_text(out, r->status);
	PUT(out, ", \"result\": ");
	add_json(out, r->result);
	PUT(out, ", \"traceback\": ");
	add_text(out, r->traceback);
	PUT(out, ", \"children\": ");
	add_json(out, r->children.data ? r->children : (struct span){"[]", 2});
	add_date(out, r->date_done_us, r->date_offset_s);
	if (r->group_id) {
		PUT(out, ", \"group_id\": ");
		add_text(out, r->group_id);
	}
	if (r->parent_id) {
		PUT(out, ", \"parent_id\": ");
		add_text(out, r->parent_id);
	}
	if (r->name)
		add_extended(out, r);
	PUT(out, ", \"task_id\": ");
	add_text(out, r->task_id);
	PUT(out, "}");
	return out->is_full ? -1 : 0;
}

int result_exception(struct str *out, const char *module, const char *type, struct span args)
{
	PUT(out, "{\"exc_type\": ");
	add_text(out, type);
	PUT(out, ", \"exc_message\": ");
	add_json(out, args.data ? args : (struct span){"[]", 2});
	PUT(out, ", \"exc_module\": ");
	add_text(out, module);
	PUT(out, "}");
	return out->is_full ? -1 : 0;
}

/* The text of `status`; false when there is none. A longer one is cut, and then no state of ours.
 */
static bool find_status_in_json(const char *record, size_t len, char name[64])
{
	struct pyjson_item items[SCAN_ITEMS];
	enum pyjson_kind kind;
	size_t count;
	bool is_found = false;

	if (pyjson_scan(record, len, &kind, items, SCAN_ITEMS, &count, NULL) == -1 ||
	    kind != PYJSON_OBJECT)
		return false;
	for (size_t i = 0; i < count && i < SCAN_ITEMS; i++) {
		const struct span *key = &items[i].key, *value = &items[i].value;

		if (key->len != 6 || memcmp(key->data, "status", 6) != 0)
			continue;
		if (pyjson_kind_of(*value) != PYJSON_STRING)
			return false;
		size_t status_len = value->len - 2 < 63 ? value->len - 2 : 63;

		memcpy(name, value->data + 1, status_len);
		name[status_len] = '\0';
		is_found = true;
	}
	return is_found;
}

static bool find_status(const char *record, size_t len, char name[64])
{
	auto_str json = STR_INIT(STR_MAX_DEFAULT);

	if (find_status_in_json(record, len, name))
		return true;
	return result_unpack(&json, record, len, NULL, NULL) == 0 &&
	       find_status_in_json(json.data, json.len, name);
}

enum task_state result_state_of(const char *record, size_t len)
{
	char name[64];

	return find_status(record, len, name) ? state_parse(name) : TASK_PENDING;
}

static bool is_key(const struct pyjson_item *item, const char *name)
{
	return item->key.len == strlen(name) && memcmp(item->key.data, name, item->key.len) == 0;
}

static bool is_nothing(struct span value)
{
	return (value.len == 4 && memcmp(value.data, "null", 4) == 0) ||
	       (value.len == 2 && memcmp(value.data, "[]", 2) == 0);
}

bool result_read_success(struct span record, struct span *ret_result, struct span *ret_children)
{
	struct pyjson_item items[SCAN_ITEMS];
	enum pyjson_kind kind;
	size_t count;
	bool is_success = false;

	*ret_result = *ret_children = (struct span){0};
	if (pyjson_scan(record.data, record.len, &kind, items, SCAN_ITEMS, &count, NULL) == -1 ||
	    kind != PYJSON_OBJECT)
		return false;
	for (size_t i = 0; i < count && i < SCAN_ITEMS; i++) {
		struct span value = items[i].value;

		if (is_key(&items[i], "status"))
			is_success = value.len == 9 && memcmp(value.data, "\"SUCCESS\"", 9) == 0;
		else if (is_key(&items[i], "result"))
			*ret_result = value;
		else if (is_key(&items[i], "children") && !is_nothing(value))
			*ret_children = value;
	}
	return is_success && ret_result->data;
}

bool result_is_waiting(const char *record, size_t len)
{
	char name[64];

	if (!find_status(record, len, name))
		return false;
	enum task_state state = state_parse(name);

	return state == TASK_PENDING || state == TASK_RECEIVED || state == TASK_RETRY ||
	       state == TASK_REJECTED;
}

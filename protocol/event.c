#include "protocol/event.h"

#include <inttypes.h>
#include <math.h>
#include <string.h>

#include "base/text.h"
#include "protocol/pyjson.h"
#include "protocol/task_message.h"

/* A busy worker writes three events per task: room is made once per event and then filled without
 * looking, so each function says how much it may need. */
struct pen {
	struct str *out;
	char *to;
};

#define FIXED_MAX 512 /* names of fields, numbers and times of any one event */

#define PUT(pen, literal) put((pen), "" literal, sizeof(literal) - 1)

static size_t text_max(const char *text)
{
	return text ? 6 * strlen(text) + 2 : 4; /* "\u00e9" is the longest form of a byte */
}

static void put(struct pen *pen, const char *data, size_t len)
{
	memcpy(pen->to, data, len);
	pen->to += len;
}

static void put_uint(struct pen *pen, uint64_t value)
{
	char digits[20];
	size_t at = sizeof(digits);

	do {
		digits[--at] = (char)('0' + value % 10);
		value /= 10;
	} while (value);
	put(pen, digits + at, sizeof(digits) - at);
}

static void put_int(struct pen *pen, int64_t value)
{
	if (value < 0)
		*pen->to++ = '-';
	put_uint(pen, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

/* A decimal fraction without what is zero at its end, but at least one digit: 5.0 */
static void put_fixed(struct pen *pen, uint64_t whole, uint64_t fraction, int places)
{
	put_uint(pen, whole);
	*pen->to++ = '.';
	for (int i = places - 1; i >= 0; i--, fraction /= 10)
		pen->to[i] = (char)('0' + fraction % 10);
	while (places > 1 && pen->to[places - 1] == '0')
		places--;
	pen->to += places;
}

static void put_bool(struct pen *pen, bool value)
{
	if (value)
		PUT(pen, "true");
	else
		PUT(pen, "false");
}

/* From 0x20 to 0x7e without quote and backslash: what is added and taken away sets the top bit of
 * the first byte that is not. */
static bool are_eight_plain(uint64_t eight)
{
	const uint64_t ones = UINT64_MAX / 255, tops = ones * 0x80;
	uint64_t quote = eight ^ ones * '"', backslash = eight ^ ones * '\\';

	return ((eight | (eight - ones * 0x20) | (eight + ones) | (quote - ones) |
		 (backslash - ones)) &
		tops) == 0;
}

static bool is_plain(char c)
{
	return c >= 0x20 && c < 0x7f && c != '"' && c != '\\';
}

static void put_escaped(struct pen *pen, const char *data, size_t len)
{
	auto_str rest = STR_INIT(STR_MAX_DEFAULT);

	if (pyjson_dump_str(&rest, data, len) == 0)
		put(pen, rest.data + 1, rest.len - 2);
}

static void put_text(struct pen *pen, const char *data, size_t len)
{
	uint64_t eight;
	size_t i = 0;

	*pen->to++ = '"';
	for (; len - i >= sizeof(eight); i += sizeof(eight)) {
		memcpy(&eight, data + i, sizeof(eight));
		if (!are_eight_plain(eight))
			break;
		memcpy(pen->to, &eight, sizeof(eight));
		pen->to += sizeof(eight);
	}
	while (i < len && is_plain(data[i]))
		*pen->to++ = data[i++];
	if (i < len)
		put_escaped(pen, data + i, len - i);
	*pen->to++ = '"';
}

static void put_text_or_null(struct pen *pen, const char *text)
{
	if (text)
		put_text(pen, text, strlen(text));
	else
		PUT(pen, "null");
}

static void put_time_or_null(struct pen *pen, int64_t unix_us)
{
	char text[40];

	if (unix_us == TIME_UNSET) {
		PUT(pen, "null");
		return;
	}
	iso8601_format(unix_us, 0, text);
	put_text(pen, text, strlen(text));
}

static bool pen_begin(struct pen *pen, struct str *out, const struct event_head *head, size_t max)
{
	pen->out = out;
	pen->to = str_reserve(out, head->sender.len + FIXED_MAX + max);
	if (!pen->to)
		return false;
	put(pen, head->sender.data, head->sender.len);
	put_uint(pen, head->clock);
	return true;
}

static int pen_end(struct pen *pen, const struct event_head *head, const char *type)
{
	PUT(pen, ", \"timestamp\": ");
	put_fixed(pen, (uint64_t)head->now_us / 1000000, (uint64_t)head->now_us % 1000000, 6);
	PUT(pen, ", \"type\": \"");
	put(pen, type, strlen(type));
	PUT(pen, "\"}");
	str_commit(pen->out, (size_t)(pen->to - (pen->out->data + pen->out->len)));
	return 0;
}

int event_sender(struct str *out, const char *hostname, int pid)
{
	str_puts(out, "{\"hostname\": ");
	pyjson_dump_str(out, hostname, strlen(hostname));
	return str_addf(out, ", \"pid\": %d, \"clock\": ", pid);
}

/* Task events */

static void put_uuid(struct pen *pen, const char *uuid)
{
	PUT(pen, ", \"uuid\": ");
	put_text(pen, uuid, strlen(uuid));
}

static void put_family(struct pen *pen, const struct event_message *m)
{
	PUT(pen, ", \"root_id\": ");
	put_text_or_null(pen, m->root_id);
	PUT(pen, ", \"parent_id\": ");
	put_text_or_null(pen, m->parent_id);
}

static void put_call(struct pen *pen, const struct event_message *m)
{
	PUT(pen, ", \"name\": ");
	put_text_or_null(pen, m->name);
	PUT(pen, ", \"args\": ");
	put_text_or_null(pen, m->args ? m->args : "");
	PUT(pen, ", \"kwargs\": ");
	put_text_or_null(pen, m->kwargs ? m->kwargs : "");
}

static void put_times(struct pen *pen, const struct event_message *m)
{
	PUT(pen, ", \"retries\": ");
	put_int(pen, m->retries);
	PUT(pen, ", \"eta\": ");
	put_time_or_null(pen, m->eta_us);
	PUT(pen, ", \"expires\": ");
	put_time_or_null(pen, m->expires_us);
}

static size_t message_max(const struct event_message *m)
{
	return text_max(m->uuid) + text_max(m->root_id) + text_max(m->parent_id) +
	       text_max(m->name) + text_max(m->args) + text_max(m->kwargs);
}

int event_received(struct str *out, const struct event_head *head, const struct event_message *m)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head, message_max(m)))
		return -1;
	put_uuid(&pen, m->uuid);
	put_call(&pen, m);
	put_family(&pen, m);
	put_times(&pen, m);
	return pen_end(&pen, head, "task-received");
}

int event_sent(struct str *out, const struct event_head *head, const struct event_message *m)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head,
		       message_max(m) + text_max(m->queue) + text_max(m->exchange) +
			       text_max(m->routing_key)))
		return -1;
	put_uuid(&pen, m->uuid);
	put_family(&pen, m);
	put_call(&pen, m);
	put_times(&pen, m);
	PUT(&pen, ", \"queue\": ");
	put_text_or_null(&pen, m->queue);
	PUT(&pen, ", \"exchange\": ");
	put_text_or_null(&pen, m->exchange);
	PUT(&pen, ", \"routing_key\": ");
	put_text_or_null(&pen, m->routing_key);
	return pen_end(&pen, head, "task-sent");
}

int event_started(struct str *out, const struct event_head *head, const char *uuid)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head, text_max(uuid)))
		return -1;
	put_uuid(&pen, uuid);
	return pen_end(&pen, head, "task-started");
}

static void put_runtime(struct pen *pen, double runtime_s)
{
	uint64_t ns;

	if (!(runtime_s >= 0) || runtime_s > 1e9) {
		PUT(pen, "null");
		return;
	}
	ns = (uint64_t)(runtime_s * 1e9 + 0.5);
	put_fixed(pen, ns / 1000000000, ns % 1000000000, 9);
}

int event_succeeded(struct str *out, const struct event_head *head, const char *uuid,
		    struct span result, double runtime_s)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head, text_max(uuid) + 6 * result.len))
		return -1;
	put_uuid(&pen, uuid);
	PUT(&pen, ", \"result\": ");
	put_text(&pen, result.data, result.len);
	PUT(&pen, ", \"runtime\": ");
	put_runtime(&pen, runtime_s);
	return pen_end(&pen, head, "task-succeeded");
}

static int add_failure(struct str *out, const struct event_head *head, const char *type,
		       const char *const texts[3])
{
	struct pen pen;

	if (!pen_begin(&pen, out, head,
		       text_max(texts[0]) + text_max(texts[1]) + text_max(texts[2])))
		return -1;
	put_uuid(&pen, texts[0]);
	PUT(&pen, ", \"exception\": ");
	put_text_or_null(&pen, texts[1]);
	if (texts[2]) {
		PUT(&pen, ", \"traceback\": ");
		put_text_or_null(&pen, texts[2]);
	}
	return pen_end(&pen, head, type);
}

int event_failed(struct str *out, const struct event_head *head, const char *uuid,
		 const char *exception, const char *traceback)
{
	return add_failure(out, head, "task-failed",
			   (const char *const[3]){uuid, exception, traceback});
}

int event_retried(struct str *out, const struct event_head *head, const char *uuid,
		  const char *exception, const char *traceback)
{
	return add_failure(out, head, "task-retried",
			   (const char *const[3]){uuid, exception, traceback});
}

int event_rejected(struct str *out, const struct event_head *head, const char *uuid, bool requeue)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head, text_max(uuid)))
		return -1;
	put_uuid(&pen, uuid);
	PUT(&pen, ", \"requeue\": ");
	put_bool(&pen, requeue);
	return pen_end(&pen, head, "task-rejected");
}

int event_revoked(struct str *out, const struct event_head *head, const char *uuid, bool terminated,
		  int signum, bool expired)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head, text_max(uuid)))
		return -1;
	put_uuid(&pen, uuid);
	PUT(&pen, ", \"terminated\": ");
	put_bool(&pen, terminated);
	PUT(&pen, ", \"signum\": ");
	if (signum)
		put_int(&pen, signum);
	else
		PUT(&pen, "null");
	PUT(&pen, ", \"expired\": ");
	put_bool(&pen, expired);
	return pen_end(&pen, head, "task-revoked");
}

int event_cancelled(struct str *out, const struct event_head *head, const char *uuid)
{
	struct pen pen;

	if (!pen_begin(&pen, out, head, text_max(uuid)))
		return -1;
	put_uuid(&pen, uuid);
	return pen_end(&pen, head, "task-cancelled");
}

/* Worker events: rare, so written the easy way. */

static void add_text(struct str *out, const char *name, const char *text)
{
	str_addf(out, ", \"%s\": ", name);
	pyjson_dump_str(out, text, strlen(text));
}

static void add_json(struct str *out, const char *name, struct span json)
{
	str_addf(out, ", \"%s\": ", name);
	if (json.data)
		str_add(out, json.data, json.len);
	else
		str_puts(out, "null");
}

static void add_head(struct str *out, const struct event_head *head)
{
	str_add(out, head->sender.data, head->sender.len);
	str_addf(out, "%" PRIu64, head->clock);
}

/* What did not fit is taken back. */
static int add_end(struct str *out, size_t mark, const struct event_head *head, const char *type)
{
	struct pen pen = {.out = out};

	pen.to = str_reserve(out, FIXED_MAX);
	if (pen.to)
		return pen_end(&pen, head, type);
	str_commit(out, mark - out->len);
	return -1;
}

/* Mirrors celery/utils/sysinfo.py, load_average(). */
static void add_load(struct str *out, const double load[3])
{
	str_puts(out, ", \"loadavg\": [");
	for (int i = 0; i < 3; i++) {
		if (i)
			str_puts(out, ", ");
		float_repr(out, ceil(load[i] * 100) / 100);
	}
	str_addc(out, ']');
}

int event_node(struct str *out, const struct event_head *head, const char *type,
	       const struct event_node *node)
{
	size_t mark = out->len;

	add_head(out, head);
	str_puts(out, ", \"freq\": ");
	if (node->is_short) {
		str_addf(out, "%d", (int)node->freq_s);
	} else {
		float_repr(out, node->freq_s);
		str_addf(out, ", \"active\": %" PRIu64 ", \"processed\": %" PRIu64, node->active,
			 node->processed);
		add_load(out, node->loadavg);
	}
	add_text(out, "sw_ident", node->sw_ident);
	add_text(out, "sw_ver", node->sw_ver);
	add_text(out, "sw_sys", node->sw_sys);
	return add_end(out, mark, head, type);
}

int event_elect(struct str *out, const struct event_head *head, struct span id, struct span topic,
		struct span action)
{
	size_t mark = out->len;

	add_head(out, head);
	add_json(out, "id", id);
	add_json(out, "topic", topic);
	add_json(out, "action", action);
	str_puts(out, ", \"cver\": 1");
	return add_end(out, mark, head, "worker-elect");
}

int event_elect_ack(struct str *out, const struct event_head *head, struct span id)
{
	size_t mark = out->len;

	add_head(out, head);
	add_json(out, "id", id);
	return add_end(out, mark, head, "worker-elect-ack");
}

/* Mirrors celery/backends/cache.py and, for chords, celery/backends/base.py
 * (on_chord_part_return). contract: tasks.md 5.6 */
#include "backend/memcached_op.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/result.h"

#define TASK_PREFIX  "celery-task-meta-"
#define GROUP_PREFIX "celery-taskset-meta-"
#define COUNT_PREFIX "chord-unlock-"
/* Ours: this part of this chord has been counted. */
#define MARK_PREFIX "smallage-part-"

#define MAX_KEY	       250
#define MAX_RELATIVE_S (30 * 24 * 3600) /* longer ones are read as times of day */

struct memcached_op *memcached_op_new(enum memcached_kind kind)
{
	struct memcached_op *op = mem_calloc(1, sizeof(*op));

	op->kind = kind;
	str_init(&op->value, STR_MAX_DEFAULT);
	str_init(&op->task_ids, STR_MAX_DEFAULT);
	return op;
}

void memcached_op_free(struct pending_op *base)
{
	struct memcached_op *op = (struct memcached_op *)base;

	str_clear(&op->value);
	str_clear(&op->task_ids);
	free(op->task_id);
	free(op);
}

int memcached_op_check(const struct memcached_op *op, const struct memcached_keys *keys,
		       struct err *err)
{
	size_t len = strlen(keys->prefix) + strlen(op->base.id) + sizeof(GROUP_PREFIX) - 1;

	if (op->task_id)
		len += strlen(op->task_id) + 1;
	for (const char *p = op->base.id; *p; p++)
		if ((unsigned char)*p <= ' ' || *p == 0x7f)
			return err_set(err, ERR_REFUSED,
				       "an id with a space or a control character cannot be a key "
				       "of memcached");
	if (len > MAX_KEY)
		return err_set(err, ERR_REFUSED, "the id is too long for a key of memcached");
	return 0;
}

/* Commands */

/* "0", seconds from now, or the time of day. */
static void add_expiry(struct str *out, double seconds)
{
	int64_t whole = seconds < 1 ? 0 : seconds > 1e9 ? 0 : (int64_t)seconds;

	if (whole > MAX_RELATIVE_S)
		whole += clock_wall_us() / 1000000;
	str_addf(out, "%" PRId64, whole);
}

/* For what users read too, never shorter than results live. */
static double longest_expiry(const struct memcached_keys *keys)
{
	if (keys->expires_s < 1 || keys->chord_expires_s < 1)
		return 0;
	return keys->expires_s > keys->chord_expires_s ? keys->expires_s : keys->chord_expires_s;
}

/* A command that brings a value. */
struct write {
	const char *verb, *prefix, *id;
	double expires_s;
	const char *value;
	size_t len;
	const uint64_t *cas; /* or NULL */
};

static void add_write(struct str *out, const struct memcached_keys *keys, const struct write *w)
{
	str_addf(out, "%s %s%s%s 0 ", w->verb, keys->prefix, w->prefix, w->id);
	add_expiry(out, w->expires_s);
	str_addf(out, " %zu", w->len);
	if (w->cas)
		str_addf(out, " %" PRIu64, *w->cas);
	str_puts(out, "\r\n");
	str_add(out, w->value, w->len);
	str_puts(out, "\r\n");
}

static void add_record(struct str *out, const struct memcached_op *op,
		       const struct memcached_keys *keys, const char *verb, const uint64_t *cas)
{
	add_write(out, keys,
		  &(struct write){verb, TASK_PREFIX, op->base.id, keys->expires_s, op->value.data,
				  op->value.len, cas});
}

static void add_touch(struct str *out, const char *prefix, const struct memcached_keys *keys,
		      const char *id, double expires_s)
{
	str_addf(out, "touch %s%s%s ", keys->prefix, prefix, id);
	add_expiry(out, expires_s);
	str_puts(out, " noreply\r\n");
}

static void add_mark(struct str *out, const struct memcached_op *op,
		     const struct memcached_keys *keys)
{
	auto_free char *id = mem_printf("%s-%s", op->base.id, op->task_id);

	add_write(out, keys,
		  &(struct write){"add", MARK_PREFIX, id, longest_expiry(keys), "1", 1, NULL});
}

/* What is read when the last part has ended lives on while the chord is open. */
static void add_part_touches(struct str *out, const struct memcached_op *op,
			     const struct memcached_keys *keys)
{
	add_touch(out, COUNT_PREFIX, keys, op->base.id, keys->chord_expires_s);
	add_touch(out, GROUP_PREFIX, keys, op->base.id, longest_expiry(keys));
	add_touch(out, TASK_PREFIX, keys, op->task_id, longest_expiry(keys));
}

static void add_end_touches(struct str *out, const struct memcached_op *op,
			    const struct memcached_keys *keys)
{
	for (size_t at = 0; at < op->task_ids.len; at += strlen(op->task_ids.data + at) + 1)
		add_touch(out, TASK_PREFIX, keys, op->task_ids.data + at, keys->expires_s);
}

static enum memcached_step first_step(const struct memcached_op *op)
{
	switch (op->kind) {
	case MEMCACHED_STORE:
		return op->is_only && !op->base.is_revoke ? MEMCACHED_ADD : MEMCACHED_GETS;
	case MEMCACHED_READ:
		return MEMCACHED_GETS;
	case MEMCACHED_CHORD_START:
		return MEMCACHED_SAVE_GROUP;
	case MEMCACHED_CHORD_PART:
		return MEMCACHED_MARK;
	case MEMCACHED_CHORD_END:
		return MEMCACHED_DROP_GROUP;
	}
	return MEMCACHED_GETS;
}

void memcached_op_write(struct memcached_op *op, const struct memcached_keys *keys, struct str *out)
{
	const char *id = op->base.id;

	if (op->step == MEMCACHED_FIRST)
		op->step = first_step(op);
	switch (op->step) {
	case MEMCACHED_FIRST:
		return;
	case MEMCACHED_ADD:
		add_record(out, op, keys, "add", NULL);
		return;
	case MEMCACHED_GETS:
		str_addf(out, "gets %s" TASK_PREFIX "%s\r\n", keys->prefix, id);
		return;
	case MEMCACHED_CAS:
		add_record(out, op, keys, "cas", &op->cas);
		return;
	case MEMCACHED_SAVE_GROUP:
		add_write(out, keys,
			  &(struct write){"set", GROUP_PREFIX, id, longest_expiry(keys),
					  op->value.data, op->value.len, NULL});
		return;
	case MEMCACHED_BEGIN_COUNT:
		add_write(out, keys,
			  &(struct write){"add", COUNT_PREFIX, id, keys->chord_expires_s, "0", 1,
					  NULL});
		return;
	case MEMCACHED_MARK:
		add_mark(out, op, keys);
		return;
	case MEMCACHED_GET_GROUP:
		str_addf(out, "gets %s" GROUP_PREFIX "%s\r\n", keys->prefix, id);
		return;
	case MEMCACHED_COUNT:
		str_addf(out, "incr %s" COUNT_PREFIX "%s 1\r\n", keys->prefix, id);
		add_part_touches(out, op, keys);
		return;
	case MEMCACHED_LOOK_AT_COUNT:
		str_addf(out, "gets %s" COUNT_PREFIX "%s\r\n", keys->prefix, id);
		return;
	case MEMCACHED_DROP_GROUP:
		add_end_touches(out, op, keys);
		str_addf(out, "delete %s" GROUP_PREFIX "%s\r\n", keys->prefix, id);
		return;
	case MEMCACHED_DROP_COUNT:
		str_addf(out, "delete %s" COUNT_PREFIX "%s\r\n", keys->prefix, id);
		return;
	}
}

/* Answers */

static bool is(const struct memcached_answer *answer, const char *line)
{
	return strcmp(answer->line, line) == 0;
}

static enum memcached_verdict go_to(struct memcached_op *op, enum memcached_step step)
{
	op->step = step;
	return MEMCACHED_NEXT;
}

/* A SUCCESS is kept; a revoke keeps all that has begun. */
static bool is_kept(const struct memcached_op *op, const struct memcached_answer *answer)
{
	if (op->base.is_revoke)
		return !result_is_waiting(answer->value, answer->len);
	return result_state_of(answer->value, answer->len) == TASK_SUCCESS;
}

static enum memcached_verdict take_record(struct memcached_op *op,
					  const struct memcached_answer *answer)
{
	if (op->kind == MEMCACHED_READ)
		return MEMCACHED_DONE;
	if (!answer->has_value)
		return go_to(op, MEMCACHED_ADD);
	if (is_kept(op, answer))
		return MEMCACHED_DONE;
	op->cas = answer->cas;
	return go_to(op, MEMCACHED_CAS);
}

static enum memcached_verdict take_group(struct memcached_op *op,
					 const struct memcached_answer *answer)
{
	op->is_group_gone = !answer->has_value;
	if (op->is_group_gone)
		return MEMCACHED_DONE;
	str_reset(&op->value);
	str_add(&op->value, answer->value, answer->len);
	return go_to(op, op->was_marked ? MEMCACHED_LOOK_AT_COUNT : MEMCACHED_COUNT);
}

static enum memcached_verdict take_count(struct memcached_op *op,
					 const struct memcached_answer *answer)
{
	const char *text = answer->has_value ? answer->value : answer->line;

	op->is_unsure = false;
	op->is_group_gone = is(answer, "NOT_FOUND") || is(answer, "END");
	op->count = op->is_group_gone ? 0 : strtoul(text, NULL, 10);
	return MEMCACHED_DONE;
}

static enum memcached_verdict take_mark(struct memcached_op *op,
					const struct memcached_answer *answer)
{
	op->was_marked = !is(answer, "STORED") && !op->is_unsure;
	return go_to(op, MEMCACHED_GET_GROUP);
}

static enum memcached_verdict take_trouble(const struct memcached_answer *answer, struct err *err)
{
	bool is_server = strncmp(answer->line, "SERVER_ERROR ", 13) == 0;

	err_set(err, ERR_REFUSED, "memcached: %.200s", answer->line);
	if (is(answer, "ERROR"))
		return MEMCACHED_LOST;
	return is_server && !strstr(answer->line, "too large") ? MEMCACHED_LATER : MEMCACHED_BAD;
}

static bool is_trouble(const struct memcached_answer *answer)
{
	return is(answer, "ERROR") || strncmp(answer->line, "CLIENT_ERROR", 12) == 0 ||
	       strncmp(answer->line, "SERVER_ERROR", 12) == 0;
}

enum memcached_verdict memcached_op_take(struct memcached_op *op,
					 const struct memcached_answer *answer, struct err *err)
{
	if (is_trouble(answer))
		return take_trouble(answer, err);
	switch (op->step) {
	case MEMCACHED_FIRST:
		break;
	case MEMCACHED_ADD:
		return is(answer, "STORED") ? MEMCACHED_DONE : go_to(op, MEMCACHED_GETS);
	case MEMCACHED_GETS:
		return take_record(op, answer);
	case MEMCACHED_CAS:
		return is(answer, "STORED") ? MEMCACHED_DONE : go_to(op, MEMCACHED_GETS);
	case MEMCACHED_SAVE_GROUP:
		return go_to(op, MEMCACHED_BEGIN_COUNT);
	case MEMCACHED_MARK:
		return take_mark(op, answer);
	case MEMCACHED_GET_GROUP:
		return take_group(op, answer);
	case MEMCACHED_COUNT:
	case MEMCACHED_LOOK_AT_COUNT:
		return take_count(op, answer);
	case MEMCACHED_DROP_GROUP:
		return go_to(op, MEMCACHED_DROP_COUNT);
	case MEMCACHED_BEGIN_COUNT:
	case MEMCACHED_DROP_COUNT:
		return MEMCACHED_DONE;
	}
	return MEMCACHED_DONE;
}

/* A part that was on its way to be counted may have been: it is counted again, because a chord that
 * begins to wait for its results too early waits, and one that misses a part hangs. */
void memcached_op_begin_anew(struct memcached_op *op)
{
	if (op->kind == MEMCACHED_CHORD_PART && op->step != MEMCACHED_FIRST && !op->was_marked)
		op->is_unsure = true;
	op->was_marked = false;
	op->is_only = false;
	op->step = MEMCACHED_FIRST;
}

/* "VALUE key flags bytes [cas]" */
static ptrdiff_t read_value(struct memcached_answer *answer, const char *line, size_t line_len,
			    const char *data, size_t len)
{
	static const char end[] = "\r\nEND\r\n";
	unsigned long long bytes = 0, cas = 0;
	size_t need;

	if (sscanf(line, "VALUE %*250s %*u %llu %llu", &bytes, &cas) < 1 ||
	    bytes > MEMCACHED_MAX_VALUE)
		return -1;
	need = line_len + (size_t)bytes + sizeof(end) - 1;
	if (len < need)
		return 0;
	if (memcmp(data + line_len + bytes, end, sizeof(end) - 1) != 0)
		return -1;
	answer->has_value = true;
	answer->value = data + line_len;
	answer->len = (size_t)bytes;
	answer->cas = cas;
	return (ptrdiff_t)need;
}

ptrdiff_t memcached_answer_read(struct memcached_answer *answer, char line[256], const char *data,
				size_t len)
{
	size_t look = len < 1024 ? len : 1024;
	const char *newline = memchr(data, '\n', look);
	size_t line_len, keep;

	*answer = (struct memcached_answer){.line = line};
	if (!newline)
		return look < 1024 ? 0 : -1;
	line_len = (size_t)(newline - data) + 1;
	if (line_len < 2 || newline[-1] != '\r')
		return -1;
	keep = line_len - 2 < 255 ? line_len - 2 : 255;
	memcpy(line, data, keep);
	line[keep] = '\0';
	if (strncmp(line, "VALUE ", 6) != 0)
		return (ptrdiff_t)line_len;
	/* A key may make the line longer than what is kept of it. */
	auto_free char *whole = mem_dup(data, line_len - 2);

	return read_value(answer, whole, line_len, data, len);
}

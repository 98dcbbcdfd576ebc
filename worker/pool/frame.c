#include "worker/pool/frame.h"

#include <stddef.h>
#include <string.h>

#include "base/mem.h"
#include "worker/task/job_request.h"
#include "worker/task/wire_text.h"

struct prefix {
	uint8_t type; /* first, and never FRAME_BELL */
	uint8_t reserved;
	uint16_t number;
	uint32_t head_len;
	uint64_t tail_len;
};
_Static_assert(sizeof(struct prefix) == FRAME_PREFIX_BYTES, "prefix without padding");

struct run_head {
	uint64_t serial, part_len[FRAME_RUN_PARTS];
	uint32_t place, task, is_redelivered, has_part; /* bits */
	int32_t retries, max_retries;
	uint32_t id_len, request_len;
};

/* Texts follow in the order of outcome_texts(): each a length, the bytes, a NUL. */
struct outcome_head {
	uint64_t serial, rss_kib;
	double countdown_s, runtime_s;
	int64_t eta_us;
	uint32_t kind, requeue;
	int32_t max_retries;
	uint32_t reserved;
};
#define TEXT_COUNT 8

struct state_head {
	uint64_t serial;
};

struct send_head {
	uint64_t serial, how;
};

int frame_read_prefix(struct frame *f, const char *data, size_t tail_max, struct err *err)
{
	struct prefix p;

	memcpy(&p, data, sizeof(p));
	if (p.type < FRAME_RUN || p.type > FRAME_SEND)
		return err_set(err, ERR_PROTOCOL, "frame of unknown type %u", p.type);
	if (p.head_len > FRAME_HEAD_MAX || p.tail_len > tail_max)
		return err_set(err, ERR_LIMIT, "frame of %u + %llu bytes", p.head_len,
			       (unsigned long long)p.tail_len);
	*f = (struct frame){.type = (enum frame_type)p.type,
			    .number = p.number,
			    .head_len = p.head_len,
			    .tail_len = (size_t)p.tail_len};
	return 0;
}

void frame_set_number(char *data, uint16_t number)
{
	memcpy(data + offsetof(struct prefix, number), &number, sizeof(number));
}

static int put_prefix(struct str *out, enum frame_type type, size_t head_len, size_t tail_len)
{
	struct prefix p = {
		.type = (uint8_t)type, .head_len = (uint32_t)head_len, .tail_len = tail_len};

	if (head_len > FRAME_HEAD_MAX)
		return -1;
	return str_add(out, &p, sizeof(p));
}

void frame_run_parts(const struct frame_run *run, struct span ret[FRAME_RUN_PARTS])
{
	const struct span parts[FRAME_RUN_PARTS] = {run->custom_headers, run->args,	run->kwargs,
						    run->callbacks,	 run->errbacks, run->chain,
						    run->chord};

	memcpy(ret, parts, sizeof(parts));
}

static struct span *run_part_at(struct frame_run *run, unsigned i)
{
	struct span *const parts[FRAME_RUN_PARTS] = {
		&run->custom_headers, &run->args,  &run->kwargs, &run->callbacks,
		&run->errbacks,	      &run->chain, &run->chord};

	return parts[i];
}

size_t frame_run_tail_len(const struct frame_run *run)
{
	struct span parts[FRAME_RUN_PARTS];
	size_t len = 0;

	frame_run_parts(run, parts);
	for (unsigned i = 0; i < FRAME_RUN_PARTS; i++)
		len += parts[i].len;
	return len;
}

/* The head is known in full only when it is written: its lengths are put in afterwards. */
int frame_put_run(struct str *out, const struct frame_run *run)
{
	struct prefix p = {.type = FRAME_RUN, .tail_len = frame_run_tail_len(run)};
	struct run_head head = {.serial = run->serial,
				.place = run->place,
				.task = run->task,
				.is_redelivered = run->is_redelivered,
				.retries = run->retries,
				.max_retries = run->max_retries,
				.id_len = (uint32_t)strlen(run->id)};
	size_t begin = out->len, request, head_len;
	struct span parts[FRAME_RUN_PARTS];

	frame_run_parts(run, parts);
	for (unsigned i = 0; i < FRAME_RUN_PARTS; i++) {
		head.part_len[i] = parts[i].len;
		head.has_part |= (uint32_t)(parts[i].data != NULL) << i;
	}
	str_add(out, &p, sizeof(p));
	str_add(out, &head, sizeof(head));
	if (str_add(out, run->id, (size_t)head.id_len + 1) != 0)
		return -1;
	request = out->len;
	if (run->message && job_request_put(out, run->message) != 0)
		return -1;
	head_len = out->len - begin - sizeof(p);
	if (head_len > FRAME_HEAD_MAX)
		return -1;
	p.head_len = (uint32_t)head_len;
	head.request_len = (uint32_t)(out->len - request);
	memcpy(out->data + begin, &p, sizeof(p));
	memcpy(out->data + begin + sizeof(p), &head, sizeof(head));
	return 0;
}

static int get_run_parts(struct frame_run *ret, const struct run_head *head, const struct frame *f)
{
	struct span rest = {f->tail, f->tail_len};

	for (unsigned i = 0; i < FRAME_RUN_PARTS; i++) {
		bool is_there = head->has_part >> i & 1;

		if (head->part_len[i] > rest.len || (!is_there && head->part_len[i] > 0))
			return -1;
		if (is_there)
			*run_part_at(ret, i) = (struct span){rest.data, (size_t)head->part_len[i]};
		rest.data += head->part_len[i];
		rest.len -= head->part_len[i];
	}
	return rest.len == 0 ? 0 : -1;
}

int frame_get_run(struct frame_run *ret, const struct frame *f, struct err *err)
{
	struct run_head head;

	if (f->type != FRAME_RUN || f->head_len <= sizeof(head))
		return err_set(err, ERR_PROTOCOL, "run frame with a bad head");
	memcpy(&head, f->head, sizeof(head));
	if (sizeof(head) + (size_t)head.id_len + 1 + head.request_len != f->head_len ||
	    f->head[sizeof(head) + head.id_len] != '\0')
		return err_set(err, ERR_PROTOCOL, "run frame with a bad head");
	if (head.place >= FRAME_PLACES)
		return err_set(err, ERR_PROTOCOL, "run frame for place %u", head.place);
	*ret = (struct frame_run){.serial = head.serial,
				  .place = head.place,
				  .task = head.task,
				  .retries = head.retries,
				  .max_retries = head.max_retries,
				  .is_redelivered = head.is_redelivered != 0,
				  .id = f->head + sizeof(head)};
	if (get_run_parts(ret, &head, f) != 0)
		return err_set(err, ERR_PROTOCOL, "run frame with a bad tail");
	if (head.request_len > 0)
		ret->request = (struct span){ret->id + head.id_len + 1, head.request_len};
	return 0;
}

/* The one place that knows which texts travel, and in which order. */
static void outcome_texts(const struct outcome *o, const char *texts[TEXT_COUNT])
{
	texts[0] = o->exc_module;
	texts[1] = o->exc_type;
	texts[2] = o->exc_args;
	texts[3] = o->exc_text;
	texts[4] = o->exc_repr;
	texts[5] = o->traceback;
	texts[6] = o->answers;
	texts[7] = o->changes;
}

static char **outcome_text_at(struct outcome *o, unsigned i)
{
	char **texts[TEXT_COUNT] = {&o->exc_module, &o->exc_type,  &o->exc_args, &o->exc_text,
				    &o->exc_repr,   &o->traceback, &o->answers,	 &o->changes};

	return texts[i];
}

int frame_put_outcome(struct str *out, uint64_t serial, uint64_t rss_kib,
		      const struct outcome *outcome)
{
	struct outcome_head head = {.serial = serial,
				    .rss_kib = rss_kib,
				    .countdown_s = outcome->countdown_s,
				    .runtime_s = outcome->runtime_s,
				    .eta_us = outcome->eta_us,
				    .max_retries = outcome->max_retries,
				    .kind = outcome->kind,
				    .requeue = outcome->requeue};
	const char *texts[TEXT_COUNT];
	size_t head_len = sizeof(head);

	outcome_texts(outcome, texts);
	for (unsigned i = 0; i < TEXT_COUNT; i++)
		head_len += wire_text_size(texts[i]);
	if (put_prefix(out, FRAME_OUTCOME, head_len, outcome->result_len) != 0)
		return -1;
	str_add(out, &head, sizeof(head));
	for (unsigned i = 0; i < TEXT_COUNT; i++)
		wire_text_put(out, texts[i]);
	return out->is_full ? -1 : 0;
}

/* A copy of the text at the front of `rest`. */
static int get_text(char **ret, struct span *rest, struct err *err)
{
	const char *text;

	if (wire_text_get(&text, rest) < 0)
		return err_set(err, ERR_PROTOCOL, "outcome frame with a bad text");
	*ret = text ? mem_strdup(text) : NULL;
	return 0;
}

/* What a slot may claim; the other kinds are the pool's to say. A failure names its exception. */
static bool is_complete(const struct outcome *o, const struct frame *f)
{
	bool has_exception = o->exc_module && o->exc_type && o->exc_args && o->exc_text;

	if (o->kind == OUTCOME_SUCCESS || o->kind == OUTCOME_REPLACED)
		return f->tail_len > 0;
	if (f->tail_len > 0)
		return false;
	return o->kind != OUTCOME_FAILURE || (has_exception && o->exc_repr);
}

int frame_get_outcome(uint64_t *ret_serial, uint64_t *ret_rss_kib, struct outcome *ret,
		      const struct frame *f, struct err *err)
{
	struct outcome_head head;
	struct span rest;

	if (f->type != FRAME_OUTCOME || f->head_len < sizeof(head))
		return err_set(err, ERR_PROTOCOL, "outcome frame with a bad head");
	memcpy(&head, f->head, sizeof(head));
	if (head.kind > OUTCOME_REPLACED)
		return err_set(err, ERR_PROTOCOL, "outcome frame of kind %u", head.kind);
	outcome_init(ret, (enum outcome_kind)head.kind);
	ret->countdown_s = head.countdown_s;
	ret->runtime_s = head.runtime_s;
	ret->requeue = head.requeue != 0;
	ret->eta_us = head.eta_us;
	ret->max_retries = head.max_retries;
	rest = (struct span){f->head + sizeof(head), f->head_len - sizeof(head)};
	for (unsigned i = 0; i < TEXT_COUNT; i++) {
		if (get_text(outcome_text_at(ret, i), &rest, err) == 0)
			continue;
		outcome_clear(ret);
		return -1;
	}
	if (!is_complete(ret, f)) {
		outcome_clear(ret);
		return err_set(err, ERR_PROTOCOL, "outcome frame without its parts");
	}
	*ret_serial = head.serial;
	*ret_rss_kib = head.rss_kib;
	return 0;
}

int frame_put_state(struct str *out, uint64_t serial, const char *name, size_t meta_len)
{
	struct state_head head = {.serial = serial};
	size_t name_len = strlen(name) + 1;

	if (put_prefix(out, FRAME_STATE, sizeof(head) + name_len, meta_len) != 0)
		return -1;
	if (str_add(out, &head, sizeof(head)) != 0)
		return -1;
	return str_add(out, name, name_len);
}

int frame_get_state(uint64_t *ret_serial, const char **ret_name, const struct frame *f,
		    struct err *err)
{
	struct state_head head;

	if (f->type != FRAME_STATE || f->head_len <= sizeof(head) ||
	    f->head[f->head_len - 1] != '\0')
		return err_set(err, ERR_PROTOCOL, "state frame with a bad head");
	memcpy(&head, f->head, sizeof(head));
	*ret_serial = head.serial;
	*ret_name = f->head + sizeof(head);
	return 0;
}

int frame_put_send(struct str *out, uint64_t serial, enum job_send how, size_t len)
{
	struct send_head head = {.serial = serial, .how = how};

	if (put_prefix(out, FRAME_SEND, sizeof(head), len) != 0)
		return -1;
	return str_add(out, &head, sizeof(head));
}

int frame_get_send(uint64_t *ret_serial, enum job_send *ret_how, const struct frame *f,
		   struct err *err)
{
	struct send_head head;

	if (f->type != FRAME_SEND || f->head_len != sizeof(head) || f->tail_len == 0)
		return err_set(err, ERR_PROTOCOL, "send frame with a bad head");
	memcpy(&head, f->head, sizeof(head));
	if (head.how > JOB_CLEAN_BACKEND)
		return err_set(err, ERR_PROTOCOL, "send frame that asks for %llu",
			       (unsigned long long)head.how);
	*ret_serial = head.serial;
	*ret_how = (enum job_send)head.how;
	return 0;
}

/*
 * Results in memcached, as Celery's cache backend keeps them, in the text protocol over one
 * connection. A command of each of many operations is on its way at once; what a lost connection
 * left unanswered is sent again, in the order of the calls. (A memcached that is started again is
 * empty: what clients have not read by then is gone, as with Celery.)
 */
#include <stdlib.h>
#include <string.h>

#include "backend/driver.h"
#include "backend/memcached_op.h"
#include "base/mem.h"
#include "transport/stream.h"

#define FIRST_DELAY_MS 100U
#define MAX_DELAY_MS   2000U
#define HOLD_MS	       200
#define ANSWER_MS      10000
#define WINDOW_BYTES   ((size_t)4 << 20) /* under way at once */
#define MAX_OUTPUT     ((size_t)1 << 30)

enum state {
	DOWN,
	CONNECTING,
	READY,
	HOLDING, /* it cannot take more for now: nothing is sent until the timer has fired */
};

struct backend_memcached {
	struct backend base;
	struct pending pending;
	struct memcached_place place;
	struct list_node sent; /* in the order of the commands */
	size_t sent_bytes;
	uint64_t calls;
	struct stream *stream;
	enum state state;
	uv_timer_t timer;	  /* the next try, the end of a hold, or of patience */
	struct list_node refused; /* ids that cannot be keys; they end in the next turn */
	uv_timer_t refusal_timer, close_timer;
	unsigned tries;	       /* to connect, since an answer came last */
	unsigned open_handles; /* the timers */
	bool was_up, is_closing, is_closed;
};

static void on_timer(uv_timer_t *timer);

static struct memcached_op *op_of(struct list_node *node)
{
	return (struct memcached_op *)list_entry(node, struct pending_op, node);
}

/* Operations */

static void end_part(struct backend_memcached *m, struct memcached_op *op, const struct err *err)
{
	const struct backend_chord_state state = {
		.status = !op->is_group_gone ? BACKEND_CHORD_COUNTED
			  : op->was_marked   ? BACKEND_CHORD_OPEN /* it is over: this came twice */
					     : BACKEND_CHORD_GONE,
		.count = op->count,
		.group = op->value.data,
		.group_len = op->value.len,
	};

	op->events->got(op->chord_ctx, &state, err);
	pending_end(&m->pending, &op->base, NULL);
}

static void end_op(struct backend_memcached *m, struct memcached_op *op, const struct err *err)
{
	if (op->kind == MEMCACHED_CHORD_PART)
		end_part(m, op, err);
	else
		pending_end(&m->pending, &op->base, err);
}

static void send_op(struct backend_memcached *m, struct memcached_op *op)
{
	list_remove(&op->base.node);
	list_append(&m->sent, &op->base.node);
	memcached_op_write(op, &m->place.keys, stream_output(m->stream));
	stream_wake(m->stream);
}

static void await(struct backend_memcached *m)
{
	if (list_is_empty(&m->sent))
		uv_timer_stop(&m->timer);
	else
		uv_timer_start(&m->timer, on_timer, ANSWER_MS, 0);
}

static void send_waiting(struct backend_memcached *m)
{
	struct pending_op *op;

	while (m->state == READY && m->sent_bytes < WINDOW_BYTES &&
	       (op = pending_first(&m->pending)) != NULL) {
		m->sent_bytes += op->bytes;
		send_op(m, (struct memcached_op *)op);
	}
	if (m->state == READY && !uv_is_active((uv_handle_t *)&m->timer))
		await(m);
}

/* To where it stood among those that wait: all of them were called later than what was sent, but
 * what was sent may be in another order. */
static void wait_again(struct backend_memcached *m, struct memcached_op *op)
{
	struct list_node *pos = m->pending.waiting.next;

	while (pos != &m->pending.waiting && op_of(pos)->number < op->number)
		pos = pos->next;
	list_remove(&op->base.node);
	list_insert_before(pos, &op->base.node);
	m->sent_bytes -= op->base.bytes;
	memcached_op_begin_anew(op);
}

static void take_all_back(struct backend_memcached *m)
{
	/* From the end, so that each finds its place at once, or nearly. */
	while (!list_is_empty(&m->sent))
		wait_again(m, op_of(m->sent.prev));
}

/* The connection */

static void lose(struct backend_memcached *m, const char *why)
{
	uint64_t delay = FIRST_DELAY_MS << (m->tries < 5 ? m->tries : 5);

	stream_close(m->stream);
	m->stream = NULL;
	m->state = DOWN;
	m->tries++;
	take_all_back(m);
	pending_say_down(&m->pending, why);
	uv_timer_start(&m->timer, on_timer, delay < MAX_DELAY_MS ? delay : MAX_DELAY_MS, 0);
}

static void on_connected(void *ctx)
{
	struct backend_memcached *m = ctx;

	if (m->was_up)
		m->pending.reconnects++;
	m->was_up = true;
	m->state = READY;
	uv_timer_stop(&m->timer);
	if (m->pending.count == 0)
		pending_say_up(&m->pending); /* else the first answer tells */
	send_waiting(m);
}

static void on_failed(void *ctx, const struct err *why)
{
	lose(ctx, why->text);
}

static void close_all(struct backend_memcached *m);

static void hold(struct backend_memcached *m, struct memcached_op *op, const struct err *err)
{
	wait_again(m, op);
	pending_say_down(&m->pending, err->text);
	m->state = HOLDING;
	uv_timer_start(&m->timer, on_timer, HOLD_MS, 0);
}

/* False when the connection is gone. */
static bool take_answer(struct backend_memcached *m, const struct memcached_answer *answer)
{
	struct memcached_op *op;
	struct err err = {0};

	if (list_is_empty(&m->sent)) {
		lose(m, "an answer that nobody asked for");
		return false;
	}
	op = op_of(m->sent.next);
	m->tries = 0;
	switch (memcached_op_take(op, answer, &err)) {
	case MEMCACHED_NEXT:
		send_op(m, op);
		return true;
	case MEMCACHED_LATER:
		hold(m, op, &err);
		return true;
	case MEMCACHED_DONE:
	case MEMCACHED_BAD:
	case MEMCACHED_LOST:
		break;
	}
	bool is_lost = err.code != ERR_NONE && strcmp(answer->line, "ERROR") == 0;

	if (!is_lost)
		pending_say_up(&m->pending);
	m->sent_bytes -= op->base.bytes;
	if (op->kind == MEMCACHED_READ && err.code == ERR_NONE)
		pending_found(&m->pending, &op->base, answer->has_value ? answer->value : NULL,
			      answer->len);
	else
		end_op(m, op, err.code == ERR_NONE ? NULL : &err);
	if (is_lost)
		lose(m, "it does not know a command");
	return !is_lost;
}

static size_t on_data(void *ctx, const char *data, size_t len)
{
	struct backend_memcached *m = ctx;
	struct memcached_answer answer;
	char line[256];
	size_t taken = 0;
	ptrdiff_t one = 0;

	while (taken < len &&
	       (one = memcached_answer_read(&answer, line, data + taken, len - taken)) > 0) {
		taken += (size_t)one;
		if (!take_answer(m, &answer))
			return taken;
	}
	if (one < 0) {
		lose(m, "it does not speak as memcached does");
		return taken;
	}
	pending_check_room(&m->pending);
	if (m->is_closing && m->pending.count == 0) {
		close_all(m);
		return taken;
	}
	send_waiting(m);
	if (m->state == READY)
		await(m);
	return taken;
}

static const struct stream_events stream_events = {
	.on_connected = on_connected,
	.on_data = on_data,
	.on_failed = on_failed,
};

static void begin(struct backend_memcached *m)
{
	const struct stream_options options = {
		.loop = m->pending.options.loop,
		.unix_path = m->place.path,
		.host = m->place.host,
		.port = m->place.port,
		.connect_timeout_s = m->pending.options.connect_timeout_s,
		.max_output = MAX_OUTPUT,
		.max_input = MEMCACHED_MAX_VALUE + 1024,
		.events = &stream_events,
		.ctx = m,
	};

	m->state = CONNECTING;
	m->stream = stream_open(&options);
}

static void on_timer(uv_timer_t *timer)
{
	struct backend_memcached *m = timer->data;

	switch (m->state) {
	case DOWN:
		begin(m);
		return;
	case HOLDING:
		m->state = READY;
		send_waiting(m);
		return;
	case CONNECTING:
	case READY:
		lose(m, "no answer in time");
		return;
	}
}

/* The end */

static void on_timer_closed(uv_handle_t *handle)
{
	struct backend_memcached *m = handle->data;
	struct pending_op *op;
	struct err err = {0};

	if (--m->open_handles > 0)
		return;
	/* Now nothing is answered that is gone. */
	err_set(&err, ERR_TIMEOUT, "%s did not take the result in time", m->pending.label);
	while ((op = pending_first(&m->pending)) != NULL)
		end_op(m, (struct memcached_op *)op, &err);
	if (m->pending.options.on_closed)
		m->pending.options.on_closed(m->pending.options.ctx);
	pending_clear(&m->pending);
	memcached_place_clear(&m->place);
	free(m);
}

static void close_all(struct backend_memcached *m)
{
	if (m->is_closed)
		return;
	m->is_closed = true;
	m->state = DOWN;
	stream_close(m->stream);
	m->stream = NULL;
	take_all_back(m);
	pending_take_back(&m->pending, &m->refused);
	uv_close((uv_handle_t *)&m->timer, on_timer_closed);
	uv_close((uv_handle_t *)&m->refusal_timer, on_timer_closed);
	uv_close((uv_handle_t *)&m->close_timer, on_timer_closed);
}

static void on_refusal_timer(uv_timer_t *timer)
{
	struct backend_memcached *m = timer->data;

	while (!list_is_empty(&m->refused)) {
		struct memcached_op *op = op_of(m->refused.next);

		end_op(m, op, &op->refusal);
	}
	pending_check_room(&m->pending);
	if (m->is_closing && m->pending.count == 0)
		close_all(m);
}

static void on_close_deadline(uv_timer_t *timer)
{
	close_all(timer->data);
}

/* The driver */

static struct backend *memcached_open(const struct backend_options *options, struct err *err)
{
	struct backend_memcached *m = mem_calloc(1, sizeof(*m));

	m->base.driver = &backend_memcached_driver;
	list_init(&m->sent);
	list_init(&m->refused);
	if (memcached_place_read(&m->place, options, err) < 0) {
		free(m);
		return NULL;
	}
	pending_init(&m->pending, options, mem_strdup(m->place.label), memcached_op_free);
	uv_timer_init(options->loop, &m->timer);
	uv_timer_init(options->loop, &m->refusal_timer);
	uv_timer_init(options->loop, &m->close_timer);
	m->timer.data = m->refusal_timer.data = m->close_timer.data = m;
	m->open_handles = 3;
	uv_timer_start(&m->timer, on_timer, 0, 0);
	return &m->base;
}

/* An id that cannot be a key ends at once, in the next turn of the loop; everything else is sent.
 */
static void start(struct backend_memcached *m, struct memcached_op *op)
{
	op->number = m->calls++;
	if (memcached_op_check(op, &m->place.keys, &op->refusal) < 0) {
		list_remove(&op->base.node);
		list_append(&m->refused, &op->base.node);
		uv_timer_start(&m->refusal_timer, on_refusal_timer, 0, 0);
		return;
	}
	send_waiting(m);
}

static void memcached_store(struct backend *b, const struct backend_record *record,
			    backend_done_fn *done, void *ctx)
{
	struct backend_memcached *m = (struct backend_memcached *)b;
	struct memcached_op *op = memcached_op_new(MEMCACHED_STORE);

	op->is_only = record->is_only;
	str_add(&op->value, record->data, record->len);
	pending_add_store(&m->pending, &op->base, record, record->len, done, ctx);
	start(m, op);
}

static void memcached_get(struct backend *b, const char *task_id, backend_got_fn *got, void *ctx)
{
	struct backend_memcached *m = (struct backend_memcached *)b;
	struct memcached_op *op = memcached_op_new(MEMCACHED_READ);

	pending_add_read(&m->pending, &op->base, task_id, got, ctx);
	start(m, op);
}

/* Of a chord: its id is the group's. */
static void start_chord(struct backend_memcached *m, struct memcached_op *op, const char *group_id,
			backend_done_fn *done, void *ctx)
{
	const struct backend_record record = {.task_id = group_id};

	pending_add_store(&m->pending, &op->base, &record, op->value.len + op->task_ids.len, done,
			  ctx);
	start(m, op);
}

static void memcached_chord_start(struct backend *b, const struct backend_chord *chord,
				  backend_done_fn *done, void *ctx)
{
	struct memcached_op *op = memcached_op_new(MEMCACHED_CHORD_START);

	str_add(&op->value, chord->group, chord->group_len);
	start_chord((struct backend_memcached *)b, op, chord->group_id, done, ctx);
}

static void memcached_chord_part(struct backend *b, const struct backend_chord_part *part,
				 const struct backend_chord_events *events, void *ctx)
{
	struct memcached_op *op = memcached_op_new(MEMCACHED_CHORD_PART);

	op->task_id = mem_strdup(part->task_id);
	op->events = events;
	op->chord_ctx = ctx;
	start_chord((struct backend_memcached *)b, op, part->group_id, NULL, NULL);
}

static void memcached_chord_end(struct backend *b, const struct backend_chord_end *end,
				backend_done_fn *done, void *ctx)
{
	struct memcached_op *op = memcached_op_new(MEMCACHED_CHORD_END);

	for (size_t i = 0; i < end->task_count; i++)
		str_add(&op->task_ids, end->task_ids[i], strlen(end->task_ids[i]) + 1);
	start_chord((struct backend_memcached *)b, op, end->group_id, done, ctx);
}

static bool memcached_is_full(const struct backend *b)
{
	return pending_is_full(&((const struct backend_memcached *)b)->pending);
}

static void memcached_close(struct backend *b, double deadline_s)
{
	struct backend_memcached *m = (struct backend_memcached *)b;

	m->is_closing = true;
	if (m->pending.count == 0)
		close_all(m);
	else
		uv_timer_start(&m->close_timer, on_close_deadline, (uint64_t)(deadline_s * 1000),
			       0);
}

static void memcached_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	const struct backend_memcached *m = (const struct backend_memcached *)b;

	pending_stats(&m->pending, m->state == READY, ret_stats);
}

static const char *const memcached_schemes[] = {"cache", "cache+", NULL};

const struct backend_driver backend_memcached_driver = {
	.schemes = memcached_schemes,
	.open = memcached_open,
	.store = memcached_store,
	.get = memcached_get,
	.chords = BACKEND_CHORDS_SAVED,
	.chord_start = memcached_chord_start,
	.chord_part = memcached_chord_part,
	.chord_end = memcached_chord_end,
	.is_full = memcached_is_full,
	.close = memcached_close,
	.stats = memcached_stats,
};

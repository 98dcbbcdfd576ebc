/*
 * kombu's filesystem transport: a folder is the broker, a file is a message. Better than kombu:
 * inotify tells at once what has arrived (it polls each second), a message that was taken is kept
 * in a spool until it is acked, and what cannot be read is moved aside. Mirrors
 * kombu/transport/filesystem.py. contract: control.md 8.1.
 */
#include "transport/broker_filesystem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "transport/envelope.h"

#define TAKE_PER_TURN 64 /* the loop has other work to do */
#define RECOVER_EVERY 30 /* polls */
#define CLOSE_POLL_MS 50

static struct broker_filesystem *self(struct broker *b)
{
	return (struct broker_filesystem *)b;
}

static void on_timer(uv_timer_t *timer);

void filesystem_wake_in(struct broker_filesystem *f, uint64_t ms)
{
	int64_t due = clock_mono_us() + (int64_t)ms * 1000;

	if (uv_is_active((uv_handle_t *)&f->timer) && f->wake_us <= due)
		return;
	f->wake_us = due;
	uv_timer_start(&f->timer, on_timer, ms, 0);
}

void filesystem_notice(struct broker_filesystem *f, bool is_error, const char *text)
{
	f->base.events->on_notice(f->base.ctx, is_error, text);
}

void filesystem_say_trouble(struct broker_filesystem *f, const struct err *err)
{
	if (!f->is_in_trouble)
		filesystem_notice(f, true, err->text);
	f->is_in_trouble = true;
}

/* The folder and what belongs to it */

static void watch_event(void *ctx, const char *name)
{
	struct broker_filesystem *f = ctx;

	if (name != NULL) {
		filesystem_inbox_add(f->inbox, name);
		filesystem_inbox_add(f->mail_inbox, name);
	} else {
		f->needs_scan = f->needs_mail_scan = true;
	}
}

static void pump(struct broker_filesystem *f);

static void watch_ready(void *ctx, bool is_lost)
{
	struct broker_filesystem *f = ctx;

	f->is_watch_lost = f->is_watch_lost || is_lost;
	pump(f);
}

static int open_spool(struct broker_filesystem *f, struct err *err)
{
	filesystem_spool_close(f->spool);
	f->spool = filesystem_spool_open(f->folders.in, f->folders.processed, f->node,
					 envelope_max_bytes(f->max_body), err);
	return f->spool ? 0 : -1;
}

static void watch_folder(struct broker_filesystem *f)
{
	struct err err = {0};
	auto_free char *text = NULL;

	filesystem_watch_close(f->watch);
	f->watch = filesystem_watch_open(f->loop, f->folders.in, watch_event, watch_ready, f, &err);
	f->is_watch_lost = false;
	f->needs_scan = f->needs_mail_scan = true;
	if (f->watch != NULL)
		return;
	text = mem_printf("Folder '%.200s' is looked into every %d ms only: %.200s", f->folders.in,
			  POLL_MS, err.text);
	filesystem_notice(f, false, text);
}

static void recover(struct broker_filesystem *f)
{
	unsigned count = filesystem_spool_recover(f->spool);
	auto_free char *text = NULL;

	if (count == 0)
		return;
	f->needs_scan = true;
	text = mem_printf("Put back %u messages of workers that died", count);
	filesystem_notice(f, false, text);
}

/* Somebody moved or removed the folder under us. */
static void reopen_folder(struct broker_filesystem *f)
{
	struct err err = {0};

	if (filesystem_options_make_folders(&f->folders, &err) < 0 || open_spool(f, &err) < 0) {
		filesystem_say_trouble(f, &err);
		return;
	}
	filesystem_notice(f, true, "The message folder was removed or moved: created again");
	watch_folder(f);
}

static void purge(struct broker_filesystem *f)
{
	unsigned count = filesystem_inbox_purge(f->inbox);
	auto_free char *text = mem_printf("purged: %u messages", count);

	if (count > 0)
		filesystem_notice(f, false, text);
}

static void come_up(struct broker_filesystem *f)
{
	auto_free char *host = mem_printf("filesystem://%s", f->folders.in);
	struct err err = {0};

	if (open_spool(f, &err) < 0) {
		filesystem_say_trouble(f, &err);
		return;
	}
	f->is_up = true;
	watch_folder(f);
	recover(f);
	if (f->purges)
		purge(f);
	filesystem_mail_bind(f);
	f->base.events->on_up(f->base.ctx, host);
}

static void scan(struct broker_filesystem *f)
{
	f->needs_scan = false;
	/* Not to be read any more: the next poll opens it anew, or says why it cannot. */
	if (filesystem_inbox_scan(f->inbox, NULL) < 0)
		f->is_watch_lost = true;
}

static void poll_folder(struct broker_filesystem *f)
{
	f->polled_us = clock_mono_us();
	if (f->is_watch_lost)
		reopen_folder(f);
	if (++f->polls % RECOVER_EVERY == 0)
		recover(f);
	f->needs_scan = f->needs_scan || filesystem_inbox_is_empty(f->inbox);
	filesystem_mail_poll(f);
	f->is_in_trouble = f->is_in_trouble && f->polls % RECOVER_EVERY != 0;
}

/* When there is something to do again; 0 = at once. */
static uint64_t next_wake_ms(const struct broker_filesystem *f)
{
	int64_t due_us = filesystem_may_take(f) ? filesystem_inbox_due_us(f->inbox) : INT64_MAX;
	int64_t mail_due_us = filesystem_inbox_due_us(f->mail_inbox);
	int64_t left_ms;

	if (filesystem_may_take(f) && (!filesystem_inbox_is_empty(f->inbox) ||
				       filesystem_inbox_is_partial(f->inbox) || f->needs_scan))
		return 0;
	due_us = due_us < mail_due_us ? due_us : mail_due_us;
	if (due_us == INT64_MAX)
		return POLL_MS;
	left_ms = (due_us - clock_mono_us()) / 1000 + 1;
	return left_ms < 0 ? 0 : left_ms < POLL_MS ? (uint64_t)left_ms : POLL_MS;
}

static void flush(struct broker_filesystem *f)
{
	struct err err = {0};
	size_t before = filesystem_outbox_count(f->outbox);

	if (filesystem_outbox_flush(f->outbox, &err) < 0)
		filesystem_say_trouble(f, &err);
	f->published += before - filesystem_outbox_count(f->outbox);
	filesystem_post_flush(f);
}

static void finish_close(struct broker_filesystem *f);

static void pump(struct broker_filesystem *f)
{
	flush(f);
	if (f->is_closing) {
		finish_close(f);
		return;
	}
	if (f->is_started && !f->is_up)
		come_up(f);
	for (int i = 0; i < TAKE_PER_TURN && filesystem_may_take(f); i++) {
		struct filesystem_file *file;

		if (f->needs_scan ||
		    (filesystem_inbox_is_empty(f->inbox) && filesystem_inbox_is_partial(f->inbox)))
			scan(f);
		file = filesystem_inbox_pop(f->inbox);
		if (file == NULL)
			break;
		filesystem_take(f, f->inbox, file, filesystem_deliver);
	}
	bool is_mail_done = filesystem_mail_pump(f);
	if (f->is_started || filesystem_outbox_count(f->outbox) > 0)
		filesystem_wake_in(f, is_mail_done ? next_wake_ms(f) : 0);
}

static void on_timer(uv_timer_t *timer)
{
	struct broker_filesystem *f = timer->data;

	if (f->is_up && !f->is_closing && clock_mono_us() - f->polled_us >= POLL_MS * 1000)
		poll_folder(f);
	pump(f);
}

/* The end */

static void free_all(struct broker_filesystem *f)
{
	struct map_entry *e;

	filesystem_spool_close(f->spool);
	filesystem_mail_clear(f);
	filesystem_inbox_free(f->inbox);
	filesystem_outbox_free(f->outbox);
	for (e = f->exchange_types ? map_first(f->exchange_types) : NULL; e; e = map_next(e))
		free(map_value(e));
	map_free(f->queues);
	map_free(f->exchange_types);
	map_free(f->declared);
	filesystem_private_clear(f);
	filesystem_slots_clear(&f->slots);
	filesystem_options_clear(&f->folders);
	free(f->node);
	free(f);
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct broker_filesystem *f = handle->data;

	f->base.events->on_closed(f->base.ctx);
	free_all(f);
}

/* What was not acked goes back, as kombu does on a clean stop. */
static void put_back_unacked(struct broker_filesystem *f)
{
	for (unsigned i = 0; i < f->slots.count; i++) {
		struct err err = {0};

		if (f->slots.all[i].name != NULL &&
		    filesystem_spool_put_back(f->spool, f->slots.all[i].name, &err) < 0)
			filesystem_notice(f, true, err.text);
	}
}

static void finish_close(struct broker_filesystem *f)
{
	struct err err = {0};

	if (filesystem_outbox_count(f->outbox) > 0 && clock_mono_us() < f->close_by_us) {
		filesystem_wake_in(f, CLOSE_POLL_MS);
		return;
	}
	if (uv_is_closing((uv_handle_t *)&f->timer))
		return;
	err_set(&err, ERR_TIMEOUT, "the message could not be written in time");
	filesystem_outbox_fail(f->outbox, &err);
	put_back_unacked(f);
	filesystem_private_leave(f, NULL);
	filesystem_mail_close(f);
	filesystem_watch_close(f->watch);
	f->watch = NULL;
	uv_close((uv_handle_t *)&f->timer, on_handle_closed);
}

static void filesystem_close(struct broker *b, double deadline_s)
{
	struct broker_filesystem *f = self(b);

	f->is_closing = true;
	f->close_by_us = clock_mono_us() + (int64_t)(deadline_s * 1e6);
	filesystem_wake_in(f, 0);
}

/* The beginning */

static struct broker *filesystem_open(const struct broker_options *options, struct err *err)
{
	struct broker_filesystem *f = mem_calloc(1, sizeof(*f));

	f->base.driver = &broker_filesystem_driver;
	f->base.events = options->events;
	f->base.ctx = options->ctx;
	f->loop = options->loop;
	f->node = mem_strdup(options->node_name ? options->node_name : "worker");
	f->max_body = options->max_message_bytes;
	f->max_publish = options->max_publish_bytes;
	f->purges = options->purges;
	if (filesystem_options_read(&f->folders, options->transport_options, err) < 0 ||
	    filesystem_options_make_folders(&f->folders, err) < 0) {
		free_all(f);
		return NULL;
	}
	f->queues = map_new();
	f->exchange_types = map_new();
	f->declared = map_new();
	list_init(&f->private_queues);
	f->inbox = filesystem_inbox_new(f->folders.in, f->queues);
	f->outbox = filesystem_outbox_new(f->folders.out, f->folders.control, f->exchange_types,
					  f->max_publish);
	filesystem_mail_init(f);
	uv_timer_init(f->loop, &f->timer);
	f->timer.data = f;
	return &f->base;
}

static void filesystem_start(struct broker *b)
{
	self(b)->is_started = true;
	filesystem_wake_in(self(b), 0);
}

static void filesystem_qos(struct broker *b, unsigned count, unsigned waiting)
{
	self(b)->prefetch = count + waiting;
	if (self(b)->is_started)
		filesystem_wake_in(self(b), 0);
}

static void filesystem_ack(struct broker *b, unsigned session, uint64_t tag)
{
	struct broker_filesystem *f = self(b);
	auto_free char *name = session == SESSION ? filesystem_slots_take(&f->slots, tag) : NULL;

	if (name == NULL)
		return;
	filesystem_spool_release(f->spool, name);
	f->acked++;
	if (!f->is_paused)
		filesystem_wake_in(f, 0);
}

static void filesystem_reject(struct broker *b, unsigned session, uint64_t tag, bool requeue)
{
	struct broker_filesystem *f = self(b);
	auto_free char *name = session == SESSION ? filesystem_slots_take(&f->slots, tag) : NULL;
	struct err err = {0};

	if (name == NULL)
		return;
	f->rejected++;
	if (!requeue)
		filesystem_spool_release(f->spool, name);
	else if (filesystem_spool_put_back(f->spool, name, &err) < 0)
		filesystem_say_trouble(f, &err);
	filesystem_wake_in(f, 0);
}

static void filesystem_pause(struct broker *b)
{
	self(b)->is_paused = true;
}

static int filesystem_publish(struct broker *b, const struct publication *p,
			      broker_published_fn *done, void *ctx, struct err *err)
{
	struct broker_filesystem *f = self(b);

	if (p->declare_exchange != NULL)
		filesystem_note_exchange(f, p->declare_exchange->name, p->declare_exchange->type);
	if (p->declare != NULL && filesystem_declare(f, p->declare, err) < 0)
		return -1;
	if (filesystem_outbox_add(f->outbox, p, done, ctx, err) < 0)
		return -1;
	filesystem_wake_in(f, 0);
	return 0;
}

static void filesystem_stats(const struct broker *b, struct broker_stats *ret_stats)
{
	const struct broker_filesystem *f = (const struct broker_filesystem *)b;

	ret_stats->is_up = f->is_up;
	ret_stats->session = SESSION;
	ret_stats->delivered = f->delivered;
	ret_stats->acked = f->acked;
	ret_stats->rejected = f->rejected;
	ret_stats->published = f->published;
	ret_stats->mails = f->mails;
	ret_stats->posts = f->posts;
	ret_stats->posts_dropped = f->posts_dropped;
	ret_stats->publishes_waiting = filesystem_outbox_count(f->outbox);
	snprintf(ret_stats->host, sizeof(ret_stats->host), "filesystem://%s", f->folders.in);
}

static const char *const filesystem_schemes[] = {"filesystem", NULL};

const struct broker_driver broker_filesystem_driver = {
	.schemes = filesystem_schemes,
	.event_exchange_type = "topic",
	.open = filesystem_open,
	.consume = filesystem_consume,
	.cancel = filesystem_cancel,
	.start = filesystem_start,
	.qos = filesystem_qos,
	.ack = filesystem_ack,
	.reject = filesystem_reject,
	.pause = filesystem_pause,
	.close = filesystem_close,
	.publish = filesystem_publish,
	.listen = filesystem_listen,
	.unlisten = filesystem_unlisten,
	.post = filesystem_post,
	.stats = filesystem_stats,
};

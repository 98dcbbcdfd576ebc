#include <check.h>
#include <stdio.h>
#include <string.h>

#include "backend/backend.h"
#include "tests/unit/transport/filesystem_fixture.h"

#define RECORD "{\"status\": \"SUCCESS\", \"result\": 3}"

/* A store that sends by the fixture's broker, whose queue `replies` is read as a client reads it.
 */
struct answers {
	struct fixture mail;
	struct backend *backend;
	unsigned done, failed, rooms;
	bool has_got, is_closed;
	struct err last;
};

static int send_result(void *ctx, const struct publication *p, broker_published_fn *done,
		       void *done_ctx, struct err *err)
{
	struct answers *x = ctx;

	ck_assert_str_eq(p->exchange, "");
	ck_assert_int_eq(p->delivery_mode, 1);
	return broker_publish(x->mail.broker, p, done, done_ctx, err);
}

static void on_stored(void *ctx, const struct err *err)
{
	struct answers *x = ctx;

	x->done++;
	x->failed += err != NULL;
	if (err)
		x->last = *err;
}

static void on_got(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct answers *x = ctx;

	(void)len;
	ck_assert_ptr_null(record);
	ck_assert_ptr_nonnull(err);
	x->last = *err;
	x->has_got = true;
}

static void on_room(void *ctx)
{
	((struct answers *)ctx)->rooms++;
}

static void on_store_closed(void *ctx)
{
	((struct answers *)ctx)->is_closed = true;
}

static void open_store(struct answers *x, size_t max_publish_bytes, size_t max_waiting_bytes)
{
	struct err err = {0};

	memset(x, 0, sizeof(*x));
	set_up(&x->mail);
	x->mail.options.max_publish_bytes = max_publish_bytes;
	x->mail.acks_at_once = true;
	start(&x->mail, "replies");
	x->backend = backend_open(&(struct backend_options){.loop = &x->mail.loop,
							    .url = "rpc://",
							    .max_waiting_bytes = max_waiting_bytes,
							    .on_room = on_room,
							    .on_closed = on_store_closed,
							    .publish = send_result,
							    .ctx = x},
				  &err);
	ck_assert_msg(x->backend != NULL, "%s", err.text);
}

static void close_store(struct answers *x)
{
	backend_close(x->backend, 1);
	wait_until(&x->mail.loop, x->is_closed, 2000);
	tear_down(&x->mail);
}

static void store(struct answers *x, const char *reply_to, const char *text)
{
	backend_store(
		x->backend,
		&(struct backend_record){.task_id = "id",
					 .state = TASK_SUCCESS,
					 .data = text,
					 .len = strlen(text),
					 .label = {.type = "application/json", .encoding = "utf-8"},
					 .reply_to = reply_to},
		on_stored, x);
}

/* T-117 */
START_TEST(records_come_to_the_queue_of_whoever_asked)
{
	struct answers x;

	open_store(&x, 64 << 20, 64 << 20);
	for (int i = 0; i < 50; i++)
		store(&x, "replies", RECORD);
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.mail.loop, x.done == 50 && x.mail.seen == 50, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_str_eq(x.mail.bodies[49], RECORD);
	close_store(&x);
}
END_TEST

/* T-118 */
START_TEST(without_anybody_who_asked_nothing_is_sent)
{
	struct answers x;

	open_store(&x, 64 << 20, 64 << 20);
	store(&x, NULL, RECORD);
	store(&x, "", RECORD);
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.mail.loop, x.done == 2, 1000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.mail.seen, 0);
	close_store(&x);
}
END_TEST

START_TEST(what_the_broker_has_no_room_for_waits_in_order)
{
	struct answers x;
	char text[16][4000];

	open_store(&x, 10000, 40000);
	for (int i = 0; i < 16; i++) {
		snprintf(text[i], sizeof(text[i]), "%d %3900d", i, 0);
		store(&x, "replies", text[i]);
	}
	ck_assert(backend_is_full(x.backend));
	wait_until(&x.mail.loop, x.done == 16 && x.mail.seen == 16, 10000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_ge(x.rooms, 1);
	ck_assert(!backend_is_full(x.backend));
	for (int i = 0; i < 16; i++)
		ck_assert_str_eq(x.mail.bodies[i], text[i]);
	close_store(&x);
}
END_TEST

START_TEST(nothing_can_be_read)
{
	struct answers x;

	open_store(&x, 64 << 20, 64 << 20);
	backend_get(x.backend, "id", on_got, &x);
	wait_until(&x.mail.loop, x.has_got, 1000);
	ck_assert_int_eq(x.last.code, ERR_UNSUPPORTED);
	close_store(&x);
}
END_TEST

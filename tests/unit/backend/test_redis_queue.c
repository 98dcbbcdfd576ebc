#include <check.h>

#include "backend/redis_queue.h"

static struct redis_op *add(struct redis_queue *q, const char *id, enum task_state state)
{
	struct redis_op *op = redis_op_new(&REDIS_ARG("k-"), id, &REDIS_ARG("record"));

	op->state = state;
	redis_queue_add(q, op);
	return op;
}

static void send_all(struct redis_queue *q)
{
	struct redis_op *op;

	while ((op = redis_queue_next(q)) != NULL)
		redis_queue_sent(q, op);
}

static void take_and_hold(struct redis_queue *q, struct redis_op *op)
{
	redis_queue_take(q, op);
	redis_queue_hold(q, op);
}

static void drop_all(struct redis_queue *q)
{
	struct redis_op *op;

	redis_queue_take_back(q);
	while ((op = redis_queue_next(q)) != NULL)
		redis_queue_drop(q, op);
	ck_assert_uint_eq(q->count, 0);
	ck_assert_uint_eq(q->bytes, 0);
}

START_TEST(what_comes_back_stands_in_the_order_of_the_calls)
{
	struct redis_op *ops[6];
	struct redis_queue q;

	redis_queue_init(&q);
	for (int i = 0; i < 4; i++)
		ops[i] = add(&q, "id", TASK_SUCCESS);
	send_all(&q);
	for (int i = 4; i < 6; i++)
		ops[i] = add(&q, "id", TASK_SUCCESS);
	take_and_hold(&q, ops[0]);
	take_and_hold(&q, ops[1]);
	ck_assert_uint_eq(q.sent_count, 2);
	redis_queue_take_back(&q);
	ck_assert_uint_eq(q.sent_count, 0);
	ck_assert_uint_eq(q.sent_bytes, 0);
	for (int i = 0; i < 6; i++) {
		ck_assert_ptr_eq(redis_queue_next(&q), ops[i]);
		redis_queue_drop(&q, ops[i]);
	}
	ck_assert_ptr_null(redis_queue_next(&q));
	drop_all(&q);
}
END_TEST

START_TEST(a_key_is_on_its_way_until_it_is_answered)
{
	struct redis_queue q;
	struct redis_op *one, *same, *other;

	redis_queue_init(&q);
	one = add(&q, "one", TASK_SUCCESS);
	send_all(&q);
	same = add(&q, "one", TASK_SUCCESS);
	other = add(&q, "two", TASK_SUCCESS);
	ck_assert(redis_queue_has_sent(&q, same));
	ck_assert(!redis_queue_has_sent(&q, other));
	take_and_hold(&q, one);
	ck_assert(!redis_queue_has_sent(&q, same));
	drop_all(&q);
}
END_TEST

/* T-100 */
START_TEST(a_younger_record_supersedes_what_is_held_but_a_success)
{
	struct redis_queue q;
	struct redis_op *started, *success, *other, *young;

	redis_queue_init(&q);
	success = add(&q, "id", TASK_SUCCESS);
	started = add(&q, "id", TASK_STARTED);
	other = add(&q, "other", TASK_STARTED);
	young = add(&q, "id", TASK_RETRY);
	send_all(&q);
	take_and_hold(&q, success);
	take_and_hold(&q, other);
	ck_assert_ptr_null(redis_queue_superseded(&q, young));
	take_and_hold(&q, started);
	ck_assert_ptr_eq(redis_queue_superseded(&q, young), started);
	drop_all(&q);
}
END_TEST

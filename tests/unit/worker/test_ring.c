#include <check.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "worker/pool/ring.h"

static struct ring *ring_new(void)
{
	struct ring *r = aligned_alloc(_Alignof(struct ring), sizeof(struct ring));

	ck_assert_ptr_nonnull(r);
	ring_reset(r);
	return r;
}

START_TEST(bytes_come_out_as_they_went_in_around_the_end)
{
	struct ring *r = ring_new();
	char head[300], tail[500], out[800];
	uint32_t at = 0;

	for (int round = 0; round < 100; round++) {
		memset(head, 'a' + round % 26, sizeof(head));
		memset(tail, 'A' + round % 26, sizeof(tail));
		ck_assert(ring_put(r, head, sizeof(head), tail, sizeof(tail)));
		ck_assert(ring_peek(r, at, out, sizeof(out)));
		ck_assert_mem_eq(out, head, sizeof(head));
		ck_assert_mem_eq(out + sizeof(head), tail, sizeof(tail));
		at += sizeof(out);
		ring_release(r, at);
	}
	free(r);
}
END_TEST

START_TEST(what_does_not_fit_is_not_put_at_all)
{
	struct ring *r = ring_new();
	static char big[RING_BYTES];
	char out[16];

	ck_assert(ring_put(r, big, RING_BYTES - 10, NULL, 0));
	ck_assert(!ring_put(r, "0123456", 7, "89ab", 4));
	ck_assert(ring_put(r, "0123456", 7, "89a", 3));
	ck_assert(!ring_put(r, "x", 1, NULL, 0));
	ring_release(r, RING_BYTES - 10);
	ck_assert(!ring_put(r, big, SIZE_MAX, "x", 1));
	ck_assert(ring_peek(r, RING_BYTES - 10, out, 10));
	ck_assert_mem_eq(out,
			 "0123456"
			 "89a",
			 10);
	ck_assert(!ring_peek(r, RING_BYTES - 10, out, 11));
	free(r);
}
END_TEST

/* A process gone wild may write any count. */
START_TEST(a_count_that_makes_no_sense_shows_nothing)
{
	struct ring *r = ring_new();
	char out[4];

	atomic_store(&r->put, RING_BYTES + 1);
	ck_assert(!ring_peek(r, 0, out, sizeof(out)));
	atomic_store(&r->put, 0);
	ck_assert(!ring_peek(r, 8, out, sizeof(out)));
	atomic_store(&r->taken, 77); /* more taken than put */
	ck_assert(!ring_put(r, "abcd", 4, NULL, 0));
	free(r);
}
END_TEST

START_TEST(the_bell_rings_once_until_the_reader_came_by)
{
	struct ring *r = ring_new();

	ck_assert(ring_bell(r));
	ck_assert(!ring_bell(r));
	ring_visit(r);
	ck_assert(ring_bell(r));
	free(r);
}
END_TEST

#define NUMBERS 200000

static void *put_numbers(void *arg)
{
	struct ring *r = arg;

	for (uint32_t i = 0; i < NUMBERS; i++)
		while (!ring_put(r, (const char *)&i, sizeof(i), (const char *)&i, sizeof(i)))
			continue;
	return NULL;
}

START_TEST(a_reader_beside_the_writer_sees_whole_frames_in_order)
{
	struct ring *r = ring_new();
	pthread_t writer;
	uint32_t at = 0, pair[2];

	ck_assert_int_eq(pthread_create(&writer, NULL, put_numbers, r), 0);
	for (uint32_t i = 0; i < NUMBERS; i++) {
		while (!ring_peek(r, at, (char *)pair, sizeof(pair)))
			continue;
		ck_assert_uint_eq(pair[0], i);
		ck_assert_uint_eq(pair[1], i);
		at += sizeof(pair);
		ring_release(r, at);
	}
	pthread_join(writer, NULL);
	free(r);
}
END_TEST

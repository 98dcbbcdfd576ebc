#include "base/heap.h"

#include <check.h>
#include <stdlib.h>

enum { COUNT = 2000 };

START_TEST(an_empty_heap_has_no_least)
{
	struct heap heap;

	heap_init(&heap);
	ck_assert_ptr_null(heap_min(&heap));
	ck_assert_ptr_null(heap_pop(&heap));
	heap_clear(&heap);
}
END_TEST

START_TEST(nodes_come_out_by_key_then_by_order_of_insertion)
{
	struct heap_node *nodes = calloc(COUNT, sizeof(*nodes));
	struct heap_node *last = NULL, *node;
	struct heap heap;

	heap_init(&heap);
	for (int i = 0; i < COUNT; i++)
		heap_push(&heap, &nodes[i], (i * 7919) % 101 - 50);
	for (int i = 0; i < COUNT; i++) {
		ck_assert_ptr_eq(heap_min(&heap), node = heap_pop(&heap));
		ck_assert(!heap_has(node));
		if (last)
			ck_assert(last->key < node->key || (last->key == node->key && last < node));
		last = node;
	}
	ck_assert_ptr_null(heap_pop(&heap));
	heap_clear(&heap);
	free(nodes);
}
END_TEST

START_TEST(any_node_can_be_removed)
{
	struct heap_node *nodes = calloc(COUNT, sizeof(*nodes));
	struct heap_node *node;
	int64_t last = INT64_MIN;
	size_t left = COUNT;
	struct heap heap;

	srand(1);
	heap_init(&heap);
	for (int i = 0; i < COUNT; i++)
		heap_push(&heap, &nodes[i], rand() % 1000);
	for (int i = 0; i < COUNT; i += 3, left--)
		heap_remove(&heap, &nodes[(i * 7) % COUNT]);
	heap_remove(&heap, &nodes[0]); /* out already */
	ck_assert_uint_eq(heap.count, left);
	for (; (node = heap_pop(&heap)); left--) {
		ck_assert_int_ge(node->key, last);
		last = node->key;
	}
	ck_assert_uint_eq(left, 0);
	heap_clear(&heap);
	free(nodes);
}
END_TEST

START_TEST(a_removed_node_can_be_pushed_again)
{
	struct heap_node a = {0}, b = {0};
	struct heap heap;

	heap_init(&heap);
	heap_push(&heap, &a, 1);
	heap_push(&heap, &b, 2);
	heap_remove(&heap, &a);
	ck_assert_ptr_eq(heap_min(&heap), &b);
	heap_push(&heap, &a, 3);
	ck_assert_ptr_eq(heap_pop(&heap), &b);
	ck_assert_ptr_eq(heap_pop(&heap), &a);
	heap_clear(&heap);
}
END_TEST

START_TEST(clearing_lets_the_nodes_go)
{
	struct heap_node a = {0};
	struct heap heap;

	heap_init(&heap);
	heap_push(&heap, &a, 1);
	heap_clear(&heap);
	ck_assert(!heap_has(&a));
	ck_assert_uint_eq(heap.count, 0);
	heap_remove(&heap, &a);
}
END_TEST

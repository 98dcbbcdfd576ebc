#include "base/list.h"

#include <check.h>

struct item {
	int number;
	struct list_node node;
};

static int number_of(struct list_node *node)
{
	return list_entry(node, struct item, node)->number;
}

START_TEST(nodes_stand_in_the_order_they_were_added)
{
	struct item a = {.number = 1}, b = {.number = 2}, c = {.number = 3};
	struct list_node head, *pos;
	int expected = 1;

	list_init(&head);
	ck_assert(list_is_empty(&head));
	ck_assert_ptr_null(list_pop(&head));
	list_append(&head, &b.node);
	list_append(&head, &c.node);
	list_prepend(&head, &a.node);
	list_foreach (pos, &head)
		ck_assert_int_eq(number_of(pos), expected++);
	ck_assert_int_eq(expected, 4);
	ck_assert_ptr_eq(list_pop(&head), &a.node);
	ck_assert(!list_is_linked(&a.node));
	ck_assert(list_is_linked(&b.node));
}
END_TEST

START_TEST(a_node_is_removed_twice_without_harm)
{
	struct item a = {.number = 1};
	struct list_node head;

	list_init(&head);
	list_append(&head, &a.node);
	list_remove(&a.node);
	list_remove(&a.node);
	ck_assert(list_is_empty(&head));
}
END_TEST

START_TEST(the_safe_walk_lets_nodes_go)
{
	struct item items[5];
	struct list_node head, *pos, *next;
	int left = 0;

	list_init(&head);
	for (int i = 0; i < 5; i++) {
		items[i].number = i;
		list_append(&head, &items[i].node);
	}
	list_foreach_safe (pos, next, &head)
		if (number_of(pos) % 2 == 0)
			list_remove(pos);
	list_foreach (pos, &head)
		left++;
	ck_assert_int_eq(left, 2);
}
END_TEST

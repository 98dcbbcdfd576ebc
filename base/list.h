/*
 * An intrusive doubly linked list: a node lives inside the object, so an object is on at most one
 * list per node. The head is a node too; an initialized node that is on no list points to itself.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>
#include <stddef.h>

struct list_node {
	struct list_node *prev, *next;
};

#define list_entry(node, type, member) ((type *)((char *)(node)-offsetof(type, member)))

static inline void list_init(struct list_node *head)
{
	head->prev = head->next = head;
}

static inline bool list_is_empty(const struct list_node *head)
{
	return head->next == head;
}

/* True when the node is on some list (it must have been initialized). */
static inline bool list_is_linked(const struct list_node *node)
{
	return node->next != node;
}

/* Puts `node` directly before `pos`: at the end, when `pos` is the head. */
static inline void list_insert_before(struct list_node *pos, struct list_node *node)
{
	node->prev = pos->prev;
	node->next = pos;
	pos->prev->next = node;
	pos->prev = node;
}

static inline void list_append(struct list_node *head, struct list_node *node)
{
	list_insert_before(head, node);
}

static inline void list_prepend(struct list_node *head, struct list_node *node)
{
	list_insert_before(head->next, node);
}

/* Safe to call on a node that is on no list. */
static inline void list_remove(struct list_node *node)
{
	node->prev->next = node->next;
	node->next->prev = node->prev;
	list_init(node);
}

/* Takes the first node off the list; NULL when it is empty. */
static inline struct list_node *list_pop(struct list_node *head)
{
	struct list_node *node = head->next;

	if (node == head)
		return NULL;
	list_remove(node);
	return node;
}

#define list_foreach(pos, head) for ((pos) = (head)->next; (pos) != (head); (pos) = (pos)->next)
/* The body may remove `pos`. */
#define list_foreach_safe(pos, tmp, head)                                                          \
	for ((pos) = (head)->next, (tmp) = (pos)->next; (pos) != (head);                           \
	     (pos) = (tmp), (tmp) = (pos)->next)

#endif

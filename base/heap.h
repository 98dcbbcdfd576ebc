/*
 * An indexed 4-ary min-heap of intrusive nodes ordered by (key, order of insertion): two timers
 * due at the same moment fire in the order they were set. Any node can be removed in O(log n).
 */
#ifndef BASE_HEAP_H
#define BASE_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct heap_node {
	int64_t key;  /* e.g. a time; set by heap_push */
	uint64_t seq; /* order of insertion */
	size_t index; /* place in the heap plus 1; 0 = not in a heap */
};

struct heap {
	struct heap_node **nodes;
	size_t count, cap;
	uint64_t next_seq;
};

void heap_init(struct heap *heap);
void heap_clear(struct heap *heap); /* frees the array, not the nodes */
void heap_push(struct heap *heap, struct heap_node *node, int64_t key);
struct heap_node *heap_min(const struct heap *heap);	     /* NULL when empty */
struct heap_node *heap_pop(struct heap *heap);		     /* NULL when empty */
void heap_remove(struct heap *heap, struct heap_node *node); /* no-op when not in */
static inline bool heap_has(const struct heap_node *node)
{
	return node->index != 0;
}

#endif

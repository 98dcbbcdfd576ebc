#include "base/heap.h"

#include <assert.h>
#include <stdlib.h>

#include "base/mem.h"

/* Four children to a node: half as deep as a binary heap, and siblings share a cache line. */
enum { HEAP_ARITY = 4, HEAP_FIRST_CAP = 16 };

static bool comes_before(const struct heap_node *a, const struct heap_node *b)
{
	return a->key != b->key ? a->key < b->key : a->seq < b->seq;
}

static void put_at(struct heap *heap, size_t place, struct heap_node *node)
{
	heap->nodes[place] = node;
	node->index = place + 1;
}

/* Moves the hole at `place` up until `node` fits into it. */
static void sift_up(struct heap *heap, size_t place, struct heap_node *node)
{
	while (place > 0) {
		size_t parent = (place - 1) / HEAP_ARITY;

		if (!comes_before(node, heap->nodes[parent]))
			break;
		put_at(heap, place, heap->nodes[parent]);
		place = parent;
	}
	put_at(heap, place, node);
}

static size_t least_child(const struct heap *heap, size_t first)
{
	size_t least = first, end = first + HEAP_ARITY;

	if (end > heap->count)
		end = heap->count;
	for (size_t i = first + 1; i < end; i++)
		if (comes_before(heap->nodes[i], heap->nodes[least]))
			least = i;
	return least;
}

static void sift_down(struct heap *heap, size_t place, struct heap_node *node)
{
	size_t first;

	while ((first = place * HEAP_ARITY + 1) < heap->count) {
		size_t child = least_child(heap, first);

		if (!comes_before(heap->nodes[child], node))
			break;
		put_at(heap, place, heap->nodes[child]);
		place = child;
	}
	put_at(heap, place, node);
}

void heap_init(struct heap *heap)
{
	*heap = (struct heap){0};
}

void heap_clear(struct heap *heap)
{
	/* A node must be able to tell that it is in no heap any more. */
	for (size_t i = 0; i < heap->count; i++)
		heap->nodes[i]->index = 0;
	free(heap->nodes);
	heap_init(heap);
}

void heap_push(struct heap *heap, struct heap_node *node, int64_t key)
{
	assert(!heap_has(node));
	if (heap->count == heap->cap) {
		heap->cap = heap->cap ? heap->cap * 2 : HEAP_FIRST_CAP;
		heap->nodes = mem_realloc(heap->nodes, heap->cap * sizeof(struct heap_node *));
	}
	node->key = key;
	node->seq = heap->next_seq++;
	sift_up(heap, heap->count++, node);
}

struct heap_node *heap_min(const struct heap *heap)
{
	return heap->count ? heap->nodes[0] : NULL;
}

struct heap_node *heap_pop(struct heap *heap)
{
	struct heap_node *node = heap_min(heap);

	if (node)
		heap_remove(heap, node);
	return node;
}

void heap_remove(struct heap *heap, struct heap_node *node)
{
	struct heap_node *last;
	size_t place;

	if (!heap_has(node))
		return;
	place = node->index - 1;
	assert(place < heap->count && heap->nodes[place] == node);
	node->index = 0;
	last = heap->nodes[--heap->count];
	if (last == node)
		return;
	/* The last node fills the hole; it may belong above it when it comes from another branch.
	 */
	if (place > 0 && comes_before(last, heap->nodes[(place - 1) / HEAP_ARITY]))
		sift_up(heap, place, last);
	else
		sift_down(heap, place, last);
}

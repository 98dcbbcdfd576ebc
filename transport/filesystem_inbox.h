/*
 * The names of message files that wait in a folder, in the order they are to be taken: by the
 * number of milliseconds that a name begins with, then by name. kombu sorts names as strings, which
 * breaks the order when the number gets another digit. Holds a bounded number of names; when there
 * are more files, the rest is read later. No message is opened here.
 */
#ifndef TRANSPORT_FILESYSTEM_INBOX_H
#define TRANSPORT_FILESYSTEM_INBOX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/heap.h"
#include "base/map.h"

struct filesystem_inbox;

struct filesystem_file {
	struct heap_node node;
	char *name, *queue;
	int64_t bad_since_us; /* 0 = was not found unreadable yet */
	unsigned bad_count;
};

/* Only files whose queue is a key of `queues` are kept; the map is borrowed. */
struct filesystem_inbox *filesystem_inbox_new(const char *folder, const struct map *queues);
void filesystem_inbox_free(struct filesystem_inbox *box); /* NULL is allowed */
void filesystem_inbox_add(struct filesystem_inbox *box, const char *name);
/* Reads the whole folder anew. */
int filesystem_inbox_scan(struct filesystem_inbox *box, struct err *err);
/* Removes every file that may be popped. Returns how many. */
unsigned filesystem_inbox_purge(struct filesystem_inbox *box);
/* The next file, the caller's; NULL when none waits. */
struct filesystem_file *filesystem_inbox_pop(struct filesystem_inbox *box);
/* Gives a file back, to be popped again after `delay_us`. */
void filesystem_inbox_defer(struct filesystem_inbox *box, struct filesystem_file *file,
			    int64_t delay_us);
void filesystem_file_free(struct filesystem_file *file);
/* Nothing is ready to be popped; the folder may still hold files (filesystem_inbox_is_partial). */
bool filesystem_inbox_is_empty(const struct filesystem_inbox *box);
bool filesystem_inbox_is_partial(const struct filesystem_inbox *box);
/* When a deferred file is due (monotonic), INT64_MAX when there is none. */
int64_t filesystem_inbox_due_us(const struct filesystem_inbox *box);

#endif

#include "transport/filesystem_inbox.h"

#include <ctype.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define MAX_NAMES 20000 /* held at most; twice as many while a folder is read */

struct filesystem_inbox {
	char *folder;
	const struct map *queues;
	struct heap ready;    /* by millisecond number */
	struct heap deferred; /* by the time they are due */
	bool is_partial;      /* the folder holds more names, all of them after `last_number` */
	int64_t last_number;
};

/* The part of a file name that names its queue, or NULL: what stands between the first dot and
 * ".msg". contract: control.md C-77 */
static const char *queue_of(const char *name, size_t *ret_len)
{
	const char *dot = strchr(name, '.');
	size_t len;

	if (dot == NULL)
		return NULL;
	len = strlen(dot + 1);
	if (len <= 4 || strcmp(dot + 1 + len - 4, ".msg") != 0)
		return NULL;
	*ret_len = len - 4;
	return dot + 1;
}

/* Names that nobody's kombu wrote come last. */
static int64_t number_of(const char *name)
{
	char *end;
	long long number;

	if (!isdigit((unsigned char)name[0]))
		return INT64_MAX;
	number = strtoll(name, &end, 10);
	return *end == '_' ? number : INT64_MAX;
}

struct filesystem_inbox *filesystem_inbox_new(const char *folder, const struct map *queues)
{
	struct filesystem_inbox *box = mem_calloc(1, sizeof(*box));

	box->folder = mem_strdup(folder);
	box->queues = queues;
	heap_init(&box->ready);
	heap_init(&box->deferred);
	return box;
}

static void heap_drop(struct heap *heap)
{
	struct heap_node *node;

	while ((node = heap_pop(heap)) != NULL)
		filesystem_file_free((struct filesystem_file *)(void *)node);
}

void filesystem_inbox_free(struct filesystem_inbox *box)
{
	if (box == NULL)
		return;
	heap_drop(&box->ready);
	heap_drop(&box->deferred);
	heap_clear(&box->ready);
	heap_clear(&box->deferred);
	free(box->folder);
	free(box);
}

void filesystem_file_free(struct filesystem_file *file)
{
	free(file->name);
	free(file->queue);
	free(file);
}

/* NULL when the name is not that of a message for one of our queues. */
static struct filesystem_file *file_new(const struct filesystem_inbox *box, const char *name)
{
	size_t len = 0;
	const char *queue = queue_of(name, &len);
	auto_free char *queue_name = NULL;
	struct filesystem_file *file;

	if (queue == NULL)
		return NULL;
	queue_name = mem_dup(queue, len);
	if (map_get(box->queues, queue_name) == NULL)
		return NULL;
	file = mem_calloc(1, sizeof(*file));
	file->name = mem_strdup(name);
	file->queue = queue_name;
	queue_name = NULL;
	return file;
}

void filesystem_inbox_add(struct filesystem_inbox *box, const char *name)
{
	int64_t number = number_of(name);
	struct filesystem_file *file;

	/* Past the end of what is held: the next scan finds it. */
	if (box->is_partial && number > box->last_number)
		return;
	if (box->ready.count >= (size_t)2 * MAX_NAMES) {
		box->is_partial = true;
		box->last_number = INT64_MIN;
		return;
	}
	file = file_new(box, name);
	if (file != NULL)
		heap_push(&box->ready, &file->node, number);
}

static int compare_files(const void *a, const void *b)
{
	struct filesystem_file *const *left = a, *const *right = b;
	int64_t l = number_of((*left)->name), r = number_of((*right)->name);

	if (l != r)
		return l < r ? -1 : 1;
	return strcmp((*left)->name, (*right)->name);
}

struct scan {
	struct filesystem_file **files;
	size_t count, cap;
};

/* Sorts, and forgets all but the first MAX_NAMES. */
static void scan_cut(struct filesystem_inbox *box, struct scan *scan)
{
	if (scan->count > 0)
		qsort(scan->files, scan->count, sizeof(*scan->files), compare_files);
	while (scan->count > MAX_NAMES) {
		filesystem_file_free(scan->files[--scan->count]);
		box->is_partial = true;
		box->last_number = number_of(scan->files[scan->count - 1]->name);
	}
}

static void scan_add(struct filesystem_inbox *box, struct scan *scan, const char *name)
{
	struct filesystem_file *file;

	if (box->is_partial && number_of(name) > box->last_number)
		return;
	file = file_new(box, name);
	if (file == NULL)
		return;
	if (scan->count == (size_t)2 * MAX_NAMES)
		scan_cut(box, scan);
	if (scan->count == scan->cap) {
		scan->cap = scan->cap ? scan->cap * 2 : 64;
		scan->files = mem_realloc(scan->files, scan->cap * sizeof(file));
	}
	scan->files[scan->count++] = file;
}

int filesystem_inbox_scan(struct filesystem_inbox *box, struct err *err)
{
	struct scan scan = {0};
	const struct dirent *entry;
	DIR *dir = opendir(box->folder);

	if (dir == NULL)
		return err_errno(err, "read folder '%.300s'", box->folder);
	heap_drop(&box->ready);
	box->is_partial = false;
	while ((entry = readdir(dir)) != NULL)
		scan_add(box, &scan, entry->d_name);
	closedir(dir);
	scan_cut(box, &scan);
	for (size_t i = 0; i < scan.count; i++)
		heap_push(&box->ready, &scan.files[i]->node, number_of(scan.files[i]->name));
	free(scan.files);
	return 0;
}

unsigned filesystem_inbox_purge(struct filesystem_inbox *box)
{
	const struct dirent *entry;
	DIR *dir = opendir(box->folder);
	unsigned count = 0;

	heap_drop(&box->ready);
	heap_drop(&box->deferred);
	while (dir != NULL && (entry = readdir(dir)) != NULL) {
		struct filesystem_file *file = file_new(box, entry->d_name);

		if (file == NULL)
			continue;
		count += unlinkat(dirfd(dir), file->name, 0) == 0;
		filesystem_file_free(file);
	}
	if (dir != NULL)
		closedir(dir);
	return count;
}

struct filesystem_file *filesystem_inbox_pop(struct filesystem_inbox *box)
{
	int64_t now = clock_mono_us();
	struct heap_node *node = heap_min(&box->deferred);

	if (node != NULL && node->key <= now)
		node = heap_pop(&box->deferred);
	else
		node = heap_pop(&box->ready);
	return (struct filesystem_file *)(void *)node;
}

void filesystem_inbox_defer(struct filesystem_inbox *box, struct filesystem_file *file,
			    int64_t delay_us)
{
	heap_push(&box->deferred, &file->node, clock_mono_us() + delay_us);
}

bool filesystem_inbox_is_empty(const struct filesystem_inbox *box)
{
	return box->ready.count == 0;
}

bool filesystem_inbox_is_partial(const struct filesystem_inbox *box)
{
	return box->is_partial;
}

int64_t filesystem_inbox_due_us(const struct filesystem_inbox *box)
{
	const struct heap_node *node = heap_min(&box->deferred);

	return node ? node->key : INT64_MAX;
}

/*
 * Results as files of one folder, as Celery's file backend keeps them: the name is the key, the
 * content is the record. A record appears whole (temporary name, then rename), so a client that
 * polls never reads half of one. A folder that cannot be written is an outage like any other: the
 * records wait. Mirrors celery/backends/filesystem.py. contract: tasks.md 5.6.
 */
#include "backend/driver.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "backend/file_cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/result.h"

#define KEY_PREFIX	 "celery-task-meta-"
#define MAX_ID_BYTES	 200
#define MAX_RECORD_BYTES ((size_t)64 << 20)
#define RETRY_MS	 1000
#define CLOSE_RETRY_MS	 50
#define OPS_PER_TURN	 128 /* the loop has other work to do */

struct backend_file {
	struct backend base;
	struct backend_options options; /* strings inside are not used after open */
	char *folder;
	uv_timer_t timer;
	struct list_node ops; /* struct file_op, in the order of the calls */
	size_t waiting, waiting_bytes;
	uint64_t stored, failed, outages;
	bool is_down, was_full, is_closing;
	int64_t close_by_us;
};

/* A store (`done` may be NULL) or, when `got` is set, a read. */
struct file_op {
	struct list_node node;
	char *id;
	char *record;
	enum task_state state;
	bool is_revoke;
	size_t len;
	backend_done_fn *done;
	backend_got_fn *got;
	void *ctx;
};

/* An id comes from a message: it must not name anything but a file of this folder. */
static int check_id(const char *id, struct err *err)
{
	size_t len = strlen(id);

	if (len > MAX_ID_BYTES)
		return err_set(err, ERR_REFUSED, "task id of %zu bytes is too long for a file name",
			       len);
	if (strchr(id, '/') != NULL || strstr(id, "..") != NULL)
		return err_set(err, ERR_REFUSED, "task id '%s' cannot be a file name", id);
	return 0;
}

static char *record_path(const struct backend_file *f, const char *id)
{
	return mem_printf("%s/" KEY_PREFIX "%s", f->folder, id);
}

/* Every writer puts `status` first; only records of somebody else need a full look. */
static bool is_success_stored(const char *path)
{
	static const char start[] = "{\"status\": \"";
	static const char success[] = "{\"status\": \"SUCCESS\"";
	auto_str record;

	str_init(&record, MAX_RECORD_BYTES);
	if (file_read(&record, path, NULL) <= 0 || record.len == 0)
		return false;
	if (record.len > sizeof(success) && memcmp(record.data, start, sizeof(start) - 1) == 0)
		return memcmp(record.data, success, sizeof(success) - 1) == 0;
	return result_state_of(record.data, record.len) == TASK_SUCCESS;
}

static bool is_begun(const char *path)
{
	auto_str record;

	str_init(&record, MAX_RECORD_BYTES);
	return file_read(&record, path, NULL) != 0 && !result_is_waiting(record.data, record.len);
}

/* A revoke that found nothing must not lie over what came in between; over a record, the look and
 * the rename are two steps. */
static int put_in_place(const char *temp, const char *path, bool is_revoke)
{
	if (is_revoke && link(temp, path) == 0)
		return unlink(temp);
	if (is_revoke && errno == EEXIST && is_begun(path))
		return unlink(temp);
	return rename(temp, path);
}

static int write_record(const struct backend_file *f, const char *path, const struct file_op *op,
			struct err *err)
{
	auto_free char *temp = mem_printf("%s/.smallage-%ld", f->folder, (long)getpid());

	if (folder_make(f->folder, err) < 0 || file_write(temp, op->record, op->len, err) < 0)
		return -1;
	if (put_in_place(temp, path, op->is_revoke) < 0)
		return err_errno(err, "rename to '%.300s'", path);
	return 0;
}

static void op_free(struct backend_file *f, struct file_op *op)
{
	list_remove(&op->node);
	f->waiting--;
	f->waiting_bytes -= op->len;
	mem_free_ptr(&op->id);
	mem_free_ptr(&op->record);
	mem_free_ptr(&op);
}

static void op_end(struct backend_file *f, struct file_op *op, const struct err *err)
{
	if (op->got)
		op->got(op->ctx, NULL, 0, err);
	else if (op->done)
		op->done(op->ctx, err);
	else if (err && f->options.on_refused)
		f->options.on_refused(f->options.ctx, op->id, op->state, err);
	if (err)
		f->failed++;
	else if (!op->got)
		f->stored++;
	op_free(f, op);
}

static void op_read(struct backend_file *f, struct file_op *op, const char *path)
{
	struct err err = {0};
	auto_str record;
	int found;

	str_init(&record, MAX_RECORD_BYTES);
	found = file_read(&record, path, &err);
	op->got(op->ctx, found > 0 ? (record.data ? record.data : "") : NULL, record.len,
		found < 0 ? &err : NULL);
	op_free(f, op);
}

static void say_down(struct backend_file *f, const struct err *err)
{
	auto_free char *text = NULL;

	if (f->is_down)
		return;
	f->is_down = true;
	f->outages++;
	text = mem_printf("Result folder cannot be written, results wait: %s", err->text);
	if (f->options.on_notice)
		f->options.on_notice(f->options.ctx, true, text);
}

static void say_up(struct backend_file *f)
{
	auto_free char *text = NULL;

	if (!f->is_down)
		return;
	f->is_down = false;
	text = mem_printf("Result folder '%.300s' can be written again", f->folder);
	if (f->options.on_notice)
		f->options.on_notice(f->options.ctx, false, text);
}

/* Returns -1 when the store has to be tried again later. */
static int op_run(struct backend_file *f, struct file_op *op)
{
	auto_free char *path = NULL;
	struct err err = {0};

	if (check_id(op->id, &err) < 0) {
		op_end(f, op, &err);
		return 0;
	}
	path = record_path(f, op->id);
	if (op->got) {
		op_read(f, op, path);
		return 0;
	}
	bool is_kept = op->is_revoke ? is_begun(path) : is_success_stored(path);

	if (!is_kept && write_record(f, path, op, &err) < 0) {
		say_down(f, &err);
		return -1;
	}
	say_up(f);
	op_end(f, op, NULL);
	return 0;
}

static void on_handle_closed(uv_handle_t *handle)
{
	struct backend_file *f = handle->data;

	if (f->options.on_closed)
		f->options.on_closed(f->options.ctx);
	mem_free_ptr(&f->folder);
	mem_free_ptr(&f);
}

static void give_up(struct backend_file *f)
{
	struct err err = {0};

	err_set(&err, ERR_TIMEOUT, "result folder '%.300s' could not be written in time",
		f->folder);
	while (!list_is_empty(&f->ops))
		op_end(f, list_entry(f->ops.next, struct file_op, node), &err);
}

static void on_timer(uv_timer_t *timer)
{
	struct backend_file *f = timer->data;
	uint64_t wait_ms = 0;

	for (int i = 0; i < OPS_PER_TURN && wait_ms == 0 && !list_is_empty(&f->ops); i++)
		if (op_run(f, list_entry(f->ops.next, struct file_op, node)) < 0)
			wait_ms = f->is_closing ? CLOSE_RETRY_MS : RETRY_MS;
	if (f->was_full && f->waiting_bytes < f->options.max_waiting_bytes) {
		f->was_full = false;
		if (f->options.on_room)
			f->options.on_room(f->options.ctx);
	}
	if (f->is_closing && clock_mono_us() >= f->close_by_us)
		give_up(f);
	if (!list_is_empty(&f->ops))
		uv_timer_start(&f->timer, on_timer, wait_ms, 0);
	else if (f->is_closing)
		uv_close((uv_handle_t *)&f->timer, on_handle_closed);
}

static struct backend *file_open(const struct backend_options *options, struct err *err)
{
	const char *path = options->url;
	struct backend_file *f;

	/* Taken as it stands, percent signs and all, as Celery does. */
	if (strncmp(path, "file://localhost/", 17) == 0)
		path += 16;
	else if (strncmp(path, "file://", 7) == 0)
		path += 7;
	else
		path = "";
	if (*path == '\0') {
		err_set(err, ERR_INVALID, "result_backend: write file:///folder");
		return NULL;
	}
	if (folder_make(path, err) < 0)
		return NULL;
	f = mem_calloc(1, sizeof(*f));
	f->base.driver = &backend_file_driver;
	f->options = *options;
	f->folder = mem_strdup(path);
	list_init(&f->ops);
	uv_timer_init(options->loop, &f->timer);
	f->timer.data = f;
	return &f->base;
}

static struct file_op *op_add(struct backend_file *f, const char *task_id, size_t len, void *ctx)
{
	struct file_op *op = mem_calloc(1, sizeof(*op));

	op->id = mem_strdup(task_id);
	op->len = len;
	op->ctx = ctx;
	list_append(&f->ops, &op->node);
	f->waiting++;
	f->waiting_bytes += len;
	/* While the folder is down the retry timer runs already. */
	if (!f->is_down)
		uv_timer_start(&f->timer, on_timer, 0, 0);
	return op;
}

static void file_store(struct backend *b, const struct backend_record *record,
		       backend_done_fn *done, void *ctx)
{
	struct backend_file *f = (struct backend_file *)b;
	struct file_op *op = op_add(f, record->task_id, record->len, ctx);

	op->record = mem_dup(record->data, record->len);
	op->state = record->state;
	op->is_revoke = record->is_revoke;
	op->done = done;
	f->was_full = f->was_full || f->waiting_bytes >= f->options.max_waiting_bytes;
}

static void file_get(struct backend *b, const char *task_id, backend_got_fn *done, void *ctx)
{
	op_add((struct backend_file *)b, task_id, 0, ctx)->got = done;
}

static void cleanup(struct backend *b)
{
	const struct backend_file *f = (const struct backend_file *)b;

	file_cleanup(f->options.loop, f->folder, f->options.result_expires_s);
}

static bool file_is_full(const struct backend *b)
{
	const struct backend_file *f = (const struct backend_file *)b;

	return f->waiting_bytes >= f->options.max_waiting_bytes;
}

static void file_close(struct backend *b, double deadline_s)
{
	struct backend_file *f = (struct backend_file *)b;

	f->is_closing = true;
	f->close_by_us = clock_mono_us() + (int64_t)(deadline_s * 1e6);
	uv_timer_start(&f->timer, on_timer, 0, 0);
}

static void file_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	const struct backend_file *f = (const struct backend_file *)b;

	ret_stats->is_up = !f->is_down;
	ret_stats->waiting = f->waiting;
	ret_stats->waiting_bytes = f->waiting_bytes;
	ret_stats->stored = f->stored;
	ret_stats->failed = f->failed;
	ret_stats->reconnects = f->outages;
	snprintf(ret_stats->host, sizeof(ret_stats->host), "%s", f->folder);
}

static const char *const file_schemes[] = {"file", NULL};

const struct backend_driver backend_file_driver = {
	.schemes = file_schemes,
	.open = file_open,
	.store = file_store,
	.get = file_get,
	.chords = BACKEND_CHORDS_POLLED,
	.cleanup = cleanup,
	.is_full = file_is_full,
	.close = file_close,
	.stats = file_stats,
};

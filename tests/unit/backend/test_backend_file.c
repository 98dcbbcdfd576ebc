#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/backend.h"
#include "base/file.h"
#include "base/mem.h"
#include "base/str.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/support/temp_folder.h"

#define SUCCESS "{\"status\": \"SUCCESS\", \"result\": 3}"
#define FAILURE "{\"status\": \"FAILURE\", \"result\": {}}"
#define OTHER	"{\"status\": \"SUCCESS\", \"result\": 4}"

struct fixture {
	uv_loop_t loop;
	struct backend *backend;
	char folder[64];
	unsigned done, failed, notices, rooms;
	char *got;
	bool has_got, is_closed;
	struct err last;
};

static void on_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *x = ctx;

	(void)is_error;
	ck_assert_ptr_nonnull(text);
	x->notices++;
}

static void on_room(void *ctx)
{
	((struct fixture *)ctx)->rooms++;
}

static void on_closed(void *ctx)
{
	((struct fixture *)ctx)->is_closed = true;
}

static void on_done(void *ctx, const struct err *err)
{
	struct fixture *x = ctx;

	x->done++;
	if (err) {
		x->failed++;
		x->last = *err;
	}
}

static void on_got(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct fixture *x = ctx;

	ck_assert_ptr_null(err);
	x->has_got = true;
	x->got = record ? mem_dup(record, len) : NULL;
}

static void set_up(struct fixture *x)
{
	auto_free char *url = NULL;
	struct backend_options options = {.loop = &x->loop,
					  .max_waiting_bytes = 100,
					  .result_expires_s = 86400,
					  .on_notice = on_notice,
					  .on_room = on_room,
					  .on_closed = on_closed,
					  .ctx = x};
	struct err err = {0};

	memset(x, 0, sizeof(*x));
	uv_loop_init(&x->loop);
	temp_folder_make(x->folder);
	url = mem_printf("file://%s/a/b", x->folder);
	options.url = url;
	x->backend = backend_open(&options, &err);
	ck_assert_msg(x->backend != NULL, "%s", err.text);
}

static void tear_down(struct fixture *x)
{
	if (!x->is_closed) {
		backend_close(x->backend, 1);
		wait_until(&x->loop, x->is_closed, 2000);
	}
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	temp_folder_remove(x->folder);
	free(x->got);
}

static void store(struct fixture *x, const char *id, const char *record)
{
	backend_store(x->backend,
		      &(struct backend_record){.task_id = id,
					       .state = TASK_SUCCESS,
					       .data = record,
					       .len = strlen(record)},
		      on_done, x);
}

/* The content of the key's file, to be freed; NULL when there is none. */
static char *content(struct fixture *x, const char *id)
{
	auto_free char *path = mem_printf("%s/a/b/celery-task-meta-%s", x->folder, id);
	auto_str text;

	str_init(&text, 1 << 20);
	if (file_read(&text, path, NULL) <= 0)
		return NULL;
	return str_detach(&text);
}

#define assert_content(x, id, expected)                                                            \
	do {                                                                                       \
		auto_free char *content_ = content((x), (id));                                     \
		ck_assert_pstr_eq(content_, (expected));                                           \
	} while (0)

/* T-97 */
START_TEST(a_record_lies_under_its_key)
{
	struct fixture x;

	set_up(&x);
	store(&x, "id-1", SUCCESS);
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.loop, x.done == 1, 1000);
	ck_assert_uint_eq(x.failed, 0);
	assert_content(&x, "id-1", SUCCESS);
	tear_down(&x);
}
END_TEST

/* T-100 */
START_TEST(a_stored_success_is_kept)
{
	struct fixture x;

	set_up(&x);
	store(&x, "id", SUCCESS);
	store(&x, "id", FAILURE);
	store(&x, "id", OTHER);
	wait_until(&x.loop, x.done == 3, 1000);
	ck_assert_uint_eq(x.failed, 0);
	assert_content(&x, "id", SUCCESS);
	tear_down(&x);
}
END_TEST

/* T-100 */
START_TEST(a_success_in_another_writing_is_kept_too)
{
	struct fixture x;
	auto_free char *path = NULL;

	set_up(&x);
	path = mem_printf("%s/a/b/celery-task-meta-id", x.folder);
	ck_assert_int_eq(file_write(path, "{\"result\":1,\"status\":\"SUCCESS\"}", 31, NULL), 0);
	store(&x, "id", FAILURE);
	wait_until(&x.loop, x.done == 1, 1000);
	assert_content(&x, "id", "{\"result\":1,\"status\":\"SUCCESS\"}");
	tear_down(&x);
}
END_TEST

/* T-168 */
START_TEST(a_revoke_is_stored_over_nothing_and_over_what_has_not_begun)
{
	static const char *const ids[] = {"new", "retry", "started", "failed", "strange"};
	static const char *const old[] = {NULL, "{\"status\": \"RETRY\", \"result\": {}}",
					  "{\"status\": \"STARTED\"}", FAILURE, "no JSON"};
	static const char revoked[] = "{\"status\": \"REVOKED\"}";
	struct fixture x;

	set_up(&x);
	for (size_t i = 0; i < 5; i++) {
		auto_free char *path = mem_printf("%s/a/b/celery-task-meta-%s", x.folder, ids[i]);

		if (old[i])
			ck_assert_int_eq(file_write(path, old[i], strlen(old[i]), NULL), 0);
		backend_store(x.backend,
			      &(struct backend_record){.task_id = ids[i],
						       .state = TASK_REVOKED,
						       .is_revoke = true,
						       .data = revoked,
						       .len = strlen(revoked)},
			      on_done, &x);
	}
	wait_until(&x.loop, x.done == 5, 1000);
	ck_assert_uint_eq(x.failed, 0);
	for (size_t i = 0; i < 5; i++)
		assert_content(&x, ids[i], i < 2 ? revoked : old[i]);
	tear_down(&x);
}
END_TEST

/* T-101 */
START_TEST(a_failure_is_overwritten)
{
	struct fixture x;

	set_up(&x);
	store(&x, "id", FAILURE);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 2, 1000);
	assert_content(&x, "id", SUCCESS);
	tear_down(&x);
}
END_TEST

START_TEST(get_gives_the_record_or_nothing)
{
	struct fixture x;

	set_up(&x);
	backend_get(x.backend, "id", on_got, &x);
	wait_until(&x.loop, x.has_got, 1000);
	ck_assert_ptr_null(x.got);
	x.has_got = false;
	store(&x, "id", SUCCESS);
	backend_get(x.backend, "id", on_got, &x);
	wait_until(&x.loop, x.has_got, 1000);
	ck_assert_str_eq(x.got, SUCCESS);
	tear_down(&x);
}
END_TEST

START_TEST(files_that_have_expired_are_removed)
{
	static const char *const names[] = {"celery-task-meta-old", "celery-taskset-meta-old",
					    "celery-task-meta-new", "other"};
	const struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
	struct fixture x;

	set_up(&x);
	auto_free char *old = mem_printf("%s/a/b/celery-taskset-meta-old", x.folder);

	for (size_t i = 0; i < 4; i++) {
		auto_free char *path = mem_printf("%s/a/b/%s", x.folder, names[i]);

		ck_assert_int_eq(file_write(path, SUCCESS, strlen(SUCCESS), NULL), 0);
		if (i != 2)
			ck_assert_int_eq(utimensat(AT_FDCWD, path, times, 0), 0);
	}
	backend_cleanup(x.backend);
	wait_until(&x.loop, access(old, F_OK) != 0, 3000);
	backend_get(x.backend, "new", on_got, &x);
	wait_until(&x.loop, x.has_got, 1000);
	ck_assert_str_eq(x.got, SUCCESS);
	tear_down(&x);
}
END_TEST

START_TEST(an_id_cannot_leave_the_folder)
{
	struct fixture x;
	char longest[202];

	set_up(&x);
	memset(longest, 'x', 201);
	longest[201] = '\0';
	store(&x, "/../../evil", SUCCESS);
	store(&x, "..", SUCCESS);
	store(&x, longest, SUCCESS);
	wait_until(&x.loop, x.done == 3, 1000);
	ck_assert_uint_eq(x.failed, 3);
	ck_assert_int_eq(x.last.code, ERR_REFUSED);
	tear_down(&x);
}
END_TEST

/* An unwritable folder: its name is taken by a file (permissions do not stop root). */
static void break_folder(struct fixture *x)
{
	auto_free char *path = mem_printf("%s/a", x->folder);
	auto_free char *away = mem_printf("%s/away", x->folder);

	ck_assert_int_eq(rename(path, away), 0);
	ck_assert_int_eq(file_write(path, "", 0, NULL), 0);
}

static void mend_folder(struct fixture *x)
{
	auto_free char *path = mem_printf("%s/a", x->folder);
	auto_free char *away = mem_printf("%s/away", x->folder);

	ck_assert_int_eq(unlink(path), 0);
	ck_assert_int_eq(rename(away, path), 0);
}

START_TEST(records_wait_for_a_folder_that_is_broken)
{
	struct fixture x;

	set_up(&x);
	break_folder(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.notices == 1, 1000);
	ck_assert(!backend_is_full(x.backend));
	store(&x, "2", SUCCESS);
	store(&x, "3", SUCCESS);
	ck_assert(backend_is_full(x.backend));
	mend_folder(&x);
	wait_until(&x.loop, x.done == 3, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	ck_assert_uint_eq(x.rooms, 1);
	assert_content(&x, "1", SUCCESS);
	assert_content(&x, "3", SUCCESS);
	tear_down(&x);
}
END_TEST

START_TEST(closing_gives_up_at_the_deadline)
{
	struct fixture x;

	set_up(&x);
	break_folder(&x);
	store(&x, "1", SUCCESS);
	backend_close(x.backend, 0.2);
	wait_until(&x.loop, x.is_closed, 1000);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_TIMEOUT);
	tear_down(&x);
}
END_TEST

START_TEST(closing_writes_what_waits)
{
	struct fixture x;

	set_up(&x);
	for (int i = 0; i < 500; i++) {
		auto_free char *id = mem_printf("%d", i);

		store(&x, id, SUCCESS);
	}
	backend_close(x.backend, 5);
	wait_until(&x.loop, x.is_closed, 5000);
	ck_assert_uint_eq(x.done, 500);
	ck_assert_uint_eq(x.failed, 0);
	assert_content(&x, "499", SUCCESS);
	tear_down(&x);
}
END_TEST

START_TEST(a_disabled_store_takes_everything_and_has_nothing)
{
	struct fixture x = {0};
	struct backend_options options = {.loop = &x.loop, .on_closed = on_closed, .ctx = &x};

	uv_loop_init(&x.loop);
	x.backend = backend_open(&options, NULL);
	ck_assert_ptr_nonnull(x.backend);
	store(&x, "id", SUCCESS);
	backend_get(x.backend, "id", on_got, &x);
	ck_assert_uint_eq(x.done, 0);
	backend_close(x.backend, 0);
	wait_until(&x.loop, x.is_closed, 1000);
	ck_assert_uint_eq(x.done, 1);
	ck_assert(x.has_got);
	ck_assert_ptr_null(x.got);
	uv_loop_close(&x.loop);
}
END_TEST

START_TEST(unknown_stores_are_refused_with_what_to_use)
{
	struct backend_options options = {.url = "mongodb://user:secret@h/"};
	struct err err = {0};

	ck_assert_ptr_null(backend_open(&options, &err));
	ck_assert_int_eq(err.code, ERR_UNSUPPORTED);
	ck_assert_ptr_nonnull(strstr(err.text, "redis://"));
	ck_assert_ptr_null(strstr(err.text, "secret"));
}
END_TEST

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "backend/sql.h"
#include "base/mem.h"
#include "tests/unit/support/run_loop.h"
#include "tests/unit/support/temp_folder.h"

struct fixture {
	uv_loop_t loop;
	struct backend *backend;
	char folder[64];
	unsigned done, failed, errors, rooms;
	char *got;
	bool has_got, is_closed;
	struct err last;
	char last_notice[600];
};

static void on_notice(void *ctx, bool is_error, const char *text)
{
	struct fixture *x = ctx;

	x->errors += is_error;
	snprintf(x->last_notice, sizeof(x->last_notice), "%s", text);
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
	x->failed += err != NULL;
	if (err)
		x->last = *err;
}

static void on_got(void *ctx, const char *record, size_t len, const struct err *err)
{
	struct fixture *x = ctx;

	x->has_got = true;
	if (err)
		x->last = *err;
	free(x->got);
	x->got = record ? mem_dup(record, len) : NULL;
}

/* `below`: the file's path inside the fixture's folder. */
static void set_up(struct fixture *x, const char *below)
{
	auto_free char *url = NULL;
	struct backend_options options = {.loop = &x->loop,
					  .max_waiting_bytes = 20000,
					  .result_expires_s = 86400,
					  .on_notice = on_notice,
					  .on_room = on_room,
					  .on_closed = on_closed,
					  .ctx = x};
	struct err err = {0};

	memset(x, 0, sizeof(*x));
	uv_loop_init(&x->loop);
	temp_folder_make(x->folder);
	url = mem_printf("db+sqlite:///%s/%s", x->folder, below);
	options.url = url;
	x->backend = backend_open(&options, &err);
	ck_assert_msg(x->backend != NULL, "%s", err.text);
}

static void tear_down(struct fixture *x)
{
	backend_close(x->backend, 0.2);
	wait_until(&x->loop, x->is_closed, 5000);
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	temp_folder_remove(x->folder);
	free(x->got);
}

static void store(struct fixture *x, const char *id, enum task_state state, const char *json)
{
	const struct result_record fields = {
		.status = state_name(state),
		.result = {json, strlen(json)},
		.date_done_us = 1763782554123456,
		.task_id = id,
	};

	backend_store(x->backend,
		      &(struct backend_record){.task_id = id,
					       .state = state,
					       .is_revoke = state == TASK_REVOKED,
					       .fields = &fields},
		      on_done, x);
}

static const char *read_back(struct fixture *x, const char *id)
{
	x->has_got = false;
	backend_get(x->backend, id, on_got, x);
	wait_until(&x->loop, x->has_got, 3000);
	return x->got;
}

#define assert_result(x, id, state, json)                                                          \
	ck_assert_str_eq(read_back((x), (id)),                                                     \
			 "{\"status\": \"" state "\", \"result\": " json                           \
			 ", \"traceback\": null, \"children\": [], \"date_done\": "                \
			 "\"2025-11-22T03:35:54.123456+00:00\", \"task_id\": \"" id "\"}")

/* T-119 */
START_TEST(a_record_comes_back_from_its_row)
{
	struct fixture x;

	set_up(&x, "a.db");
	ck_assert_ptr_null(read_back(&x, "id"));
	store(&x, "id", TASK_SUCCESS, "{\"a\": [1, \"\\u00e9\"]}");
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.loop, x.done == 1, 3000);
	ck_assert_uint_eq(x.failed, 0);
	assert_result(&x, "id", "SUCCESS", "{\"a\": [1, \"\\u00e9\"]}");
	tear_down(&x);
}
END_TEST

/* T-181 */
START_TEST(a_stored_success_is_kept_and_nothing_else)
{
	struct fixture x;

	set_up(&x, "a.db");
	store(&x, "kept", TASK_SUCCESS, "1");
	store(&x, "kept", TASK_FAILURE, "2");
	store(&x, "kept", TASK_SUCCESS, "3");
	store(&x, "other", TASK_FAILURE, "4");
	store(&x, "other", TASK_SUCCESS, "5");
	wait_until(&x.loop, x.done == 5, 3000);
	ck_assert_uint_eq(x.failed, 0);
	assert_result(&x, "kept", "SUCCESS", "1");
	assert_result(&x, "other", "SUCCESS", "5");
	tear_down(&x);
}
END_TEST

START_TEST(a_revoke_is_stored_over_nothing_and_over_what_has_not_begun)
{
	struct fixture x;

	set_up(&x, "a.db");
	store(&x, "retry", TASK_RETRY, "1");
	store(&x, "started", TASK_STARTED, "1");
	store(&x, "new", TASK_REVOKED, "2");
	store(&x, "retry", TASK_REVOKED, "2");
	store(&x, "started", TASK_REVOKED, "2");
	wait_until(&x.loop, x.done == 5, 3000);
	assert_result(&x, "new", "REVOKED", "2");
	assert_result(&x, "retry", "REVOKED", "2");
	assert_result(&x, "started", "STARTED", "1");
	tear_down(&x);
}
END_TEST

START_TEST(what_waits_is_bounded_and_goes_in_order)
{
	struct fixture x;
	char value[1000];

	set_up(&x, "a.db");
	for (int i = 0; i < 300; i++) {
		snprintf(value, sizeof(value), "\"%500d\"", i);
		store(&x, "id", TASK_RETRY, value);
		ck_assert(i < 40 || backend_is_full(x.backend));
	}
	wait_until(&x.loop, x.done == 300, 5000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_ge(x.rooms, 1);
	ck_assert_ptr_nonnull(strstr(read_back(&x, "id"), " 299\""));
	tear_down(&x);
}
END_TEST

START_TEST(a_folder_that_comes_later_is_waited_for)
{
	struct fixture x;
	auto_free char *folder = NULL;

	set_up(&x, "later/a.db");
	store(&x, "id", TASK_SUCCESS, "1");
	wait_until(&x.loop, x.errors == 1, 3000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "results wait: unable to open"));
	ck_assert_uint_eq(x.done, 0);
	folder = mem_printf("%s/later", x.folder);
	ck_assert_int_eq(mkdir(folder, 0700), 0);
	wait_until(&x.loop, x.done == 1, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "is back"));
	tear_down(&x);
}
END_TEST

START_TEST(what_cannot_be_stored_in_time_is_told)
{
	struct fixture x;

	set_up(&x, "never/a.db");
	store(&x, "id", TASK_SUCCESS, "1");
	wait_until(&x.loop, x.errors == 1, 3000);
	tear_down(&x);
	ck_assert_uint_eq(x.done, 1);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_TIMEOUT);
}
END_TEST

START_TEST(rows_that_have_expired_are_removed)
{
	struct fixture x;

	set_up(&x, "a.db");
	store(&x, "old", TASK_SUCCESS, "1");
	wait_until(&x.loop, x.done == 1, 3000);
	backend_cleanup(x.backend);
	ck_assert_ptr_null(read_back(&x, "old"));
	tear_down(&x);
}
END_TEST

/* What a URL becomes: the dialect's path, or keywords and values. */
START_TEST(urls_are_read_as_sqlalchemy_reads_them)
{
	static const struct {
		const char *url, *expected;
	} cases[] = {
		{"db+sqlite:////a/b%20c.db", "SQLite /a/b%20c.db"},
		{"database+sqlite:///c.db?timeout=20", "SQLite c.db"},
		{"db+sqlite+pysqlite:///c.db", "SQLite c.db"},
		{"db+sqlite://", "write db+sqlite:////folder/file.db"},
		{"db+sqlite:///:memory:", "write db+sqlite:////folder/file.db"},
		{"db+sqlite:///a?uri=true", "'uri' of an SQLite URL"},
		{"db+postgresql://u:p%40ss@h:5433/shop?sslmode=require",
		 "host=h port=5433 user=u password=p@ss dbname=shop sslmode=require "
		 "application_name=smallage-results"},
		{"db+postgresql+psycopg2:///shop?host=/run/pg&application_name=x",
		 "dbname=shop host=/run/pg application_name=x"},
		{"db+mysql://u:secret@h/d", "use db+postgresql:// or db+sqlite:///"},
		{"db", "or in database_url"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct sql_place place;
		enum sql_dialect dialect;
		struct err err = {0};
		auto_str text = STR_INIT(4096);

		if (sql_place_read(&place, cases[i].url, &dialect, &err) < 0)
			str_puts(&text, err.text);
		else if (dialect == SQL_SQLITE)
			str_puts(&text, place.label);
		for (size_t k = 0; k < place.count; k++)
			str_addf(&text, "%s%s=%s", k ? " " : "", place.keys[k], place.values[k]);
		ck_assert_msg(strstr(text.data, cases[i].expected) != NULL, "%s: %s", cases[i].url,
			      text.data);
		ck_assert_ptr_null(strstr(text.data, "secret"));
		sql_place_clear(&place);
	}
}
END_TEST

START_TEST(names_of_tables_are_quoted)
{
	struct sql_names names;
	auto_str text = STR_INIT(65536);
	struct err err = {0};

	ck_assert_int_eq(
		sql_names_read(&names, "{\"task\": \"a\\\"b\"}", "{\"task\": \"Shop\"}", &err), 0);
	sql_add_read(&text, SQL_POSTGRES, &names, 3);
	ck_assert_str_eq(text.data,
			 "SELECT task_id, status FROM \"Shop\".\"a\"\"b\" WHERE task_id = $1");
	str_reset(&text);
	sql_add_store(&text, SQL_POSTGRES, &names, 3, false);
	ck_assert_str_eq(text.data,
			 "INSERT INTO \"Shop\".\"a\"\"b\" AS t (id, task_id, status) VALUES "
			 "(nextval('\"Shop\".\"task_id_sequence\"'), $1, $2) ON CONFLICT (task_id) "
			 "DO UPDATE SET status = excluded.status WHERE t.status IS DISTINCT FROM "
			 "'SUCCESS'");
	sql_names_clear(&names);
	ck_assert_int_eq(sql_names_read(&names, "{", NULL, &err), -1);
}
END_TEST

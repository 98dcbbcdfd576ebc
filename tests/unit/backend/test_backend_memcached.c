#include <check.h>
#include <stdlib.h>

#include "backend/backend.h"
#include "backend/memcached_place.h"
#include "base/mem.h"
#include "tests/unit/backend/memcached_server.h"
#include "tests/unit/backend/record.h"
#include "tests/unit/support/run_loop.h"

#define SUCCESS "{\"status\": \"SUCCESS\", \"result\": 3}"
#define FAILURE "{\"status\": \"FAILURE\", \"result\": {}}"
#define GROUP	"{\"result\": [[\"g\", null], []]}"

struct fixture {
	struct memcached_server server;
	uv_loop_t loop;
	struct backend *backend;
	unsigned done, failed, errors, parts;
	bool is_closed;
	struct err last;
	struct backend_chord_state state; /* texts are not kept */
	char group[200];
};

static void on_notice(void *ctx, bool is_error, const char *text)
{
	ck_assert_ptr_nonnull(strstr(text, "memcached"));
	((struct fixture *)ctx)->errors += is_error;
}

static void on_room(void *ctx)
{
	(void)ctx;
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

static void on_part(void *ctx, const struct backend_chord_state *state, const struct err *err)
{
	struct fixture *x = ctx;

	ck_assert_ptr_null(err);
	x->parts++;
	x->state = *state;
	snprintf(x->group, sizeof(x->group), "%.*s", (int)state->group_len,
		 state->group ? state->group : "");
}

static const struct backend_chord_events part_events = {.got = on_part};

static void set_up(struct fixture *x)
{
	auto_free char *url = NULL;
	struct backend_options options = {.loop = &x->loop,
					  .result_expires_s = 3600,
					  .chord_expires_s = -1,
					  .transport_options = "{\"global_keyprefix\": \"p\"}",
					  .max_waiting_bytes = 64 << 20,
					  .on_notice = on_notice,
					  .on_room = on_room,
					  .on_closed = on_closed,
					  .ctx = x};
	struct err err = {0};

	memset(x, 0, sizeof(*x));
	memcached_start(&x->server);
	uv_loop_init(&x->loop);
	url = mem_printf("cache+memcached://127.0.0.1:%d/", x->server.port);
	options.url = url;
	x->backend = backend_open(&options, &err);
	ck_assert_msg(x->backend != NULL, "%s", err.text);
}

static void tear_down(struct fixture *x)
{
	backend_close(x->backend, 1);
	wait_until(&x->loop, x->is_closed, 3000);
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	memcached_stop(&x->server);
}

static void store(struct fixture *x, const char *id, enum task_state state, const char *text,
		  bool is_only)
{
	struct backend_record record = record_of(id, state, text, is_only);

	record.is_revoke = state == TASK_REVOKED;
	backend_store(x->backend, &record, on_done, x);
}

#define assert_asked(x, command, expected)                                                         \
	do {                                                                                       \
		char answer_[512];                                                                 \
		ck_assert_str_eq(memcached_ask(&(x)->server, command "\r\n", answer_), expected);  \
	} while (0)

static void report(struct fixture *x, const char *task_id)
{
	unsigned before = x->parts;

	backend_chord_part(
		x->backend,
		&(struct backend_chord_part){.group_id = "g", .task_id = task_id, .index = -1},
		&part_events, x);
	wait_until(&x->loop, x->parts == before + 1, 3000);
}

/* T-119 */
START_TEST(a_stored_success_is_kept_whatever_way_the_next_one_goes)
{
	struct fixture x;

	set_up(&x);
	store(&x, "a", TASK_FAILURE, FAILURE, false);
	store(&x, "a", TASK_SUCCESS, SUCCESS, false);
	store(&x, "a", TASK_FAILURE, FAILURE, false);
	store(&x, "b", TASK_SUCCESS, SUCCESS, true);
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.loop, x.done == 4, 3000);
	store(&x, "b", TASK_FAILURE, FAILURE, true);
	wait_until(&x.loop, x.done == 5, 3000);
	ck_assert_uint_eq(x.failed, 0);
	assert_asked(&x, "get p_celery-task-meta-a",
		     "VALUE p_celery-task-meta-a 0 34|" SUCCESS "|END|");
	assert_asked(&x, "get p_celery-task-meta-b",
		     "VALUE p_celery-task-meta-b 0 34|" SUCCESS "|END|");
	tear_down(&x);
}
END_TEST

START_TEST(a_revoke_is_stored_over_nothing_and_over_what_has_not_begun)
{
	static const char revoked[] = "{\"status\": \"REVOKED\"}";
	struct fixture x;

	set_up(&x);
	store(&x, "a", TASK_RETRY, "{\"status\": \"RETRY\"}", false);
	store(&x, "b", TASK_STARTED, "{\"status\": \"STARTED\"}", false);
	wait_until(&x.loop, x.done == 2, 3000);
	store(&x, "a", TASK_REVOKED, revoked, false);
	store(&x, "b", TASK_REVOKED, revoked, false);
	store(&x, "c", TASK_REVOKED, revoked, false);
	wait_until(&x.loop, x.done == 5, 3000);
	assert_asked(&x, "get p_celery-task-meta-a",
		     "VALUE p_celery-task-meta-a 0 21|{\"status\": \"REVOKED\"}|END|");
	assert_asked(&x, "get p_celery-task-meta-b",
		     "VALUE p_celery-task-meta-b 0 21|{\"status\": \"STARTED\"}|END|");
	assert_asked(&x, "get p_celery-task-meta-c",
		     "VALUE p_celery-task-meta-c 0 21|{\"status\": \"REVOKED\"}|END|");
	tear_down(&x);
}
END_TEST

START_TEST(an_id_that_is_no_key_is_refused)
{
	struct fixture x;
	char longest[251];

	set_up(&x);
	memset(longest, 'x', 250);
	longest[250] = '\0';
	store(&x, "a b", TASK_SUCCESS, SUCCESS, false);
	store(&x, "a\r\nflush_all", TASK_SUCCESS, SUCCESS, false);
	store(&x, longest, TASK_SUCCESS, SUCCESS, false);
	ck_assert_uint_eq(x.done, 0);
	wait_until(&x.loop, x.done == 3, 3000);
	ck_assert_uint_eq(x.failed, 3);
	ck_assert_int_eq(x.last.code, ERR_REFUSED);
	tear_down(&x);
}
END_TEST

/* T-149 */
START_TEST(a_chord_is_counted_once_for_each_part)
{
	static const char *const ids[] = {"t1", "t2"};
	struct fixture x;

	set_up(&x);
	backend_chord_start(
		x.backend,
		&(struct backend_chord){
			.group_id = "g", .size = 2, .group = GROUP, .group_len = strlen(GROUP)},
		on_done, &x);
	wait_until(&x.loop, x.done == 1, 3000);
	assert_asked(&x, "get p_chord-unlock-g", "VALUE p_chord-unlock-g 0 1|0|END|");
	store(&x, "t1", TASK_SUCCESS, SUCCESS, true);
	report(&x, "t1");
	ck_assert_int_eq(x.state.status, BACKEND_CHORD_COUNTED);
	ck_assert_uint_eq(x.state.count, 1);
	ck_assert_str_eq(x.group, GROUP);
	report(&x, "t1"); /* its message came twice */
	ck_assert_uint_eq(x.state.count, 1);
	report(&x, "t2");
	ck_assert_uint_eq(x.state.count, 2);
	backend_chord_end(
		x.backend,
		&(struct backend_chord_end){.group_id = "g", .task_ids = ids, .task_count = 2},
		on_done, &x);
	wait_until(&x.loop, x.done == 3, 3000);
	ck_assert_uint_eq(x.failed, 0);
	assert_asked(&x, "get p_chord-unlock-g", "END|");
	assert_asked(&x, "get p_celery-taskset-meta-g", "END|");
	report(&x, "t2"); /* again, after all is over */
	ck_assert_int_eq(x.state.status, BACKEND_CHORD_OPEN);
	report(&x, "t3");
	ck_assert_int_eq(x.state.status, BACKEND_CHORD_GONE);
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_comes_back_gets_what_waited)
{
	struct fixture x;

	set_up(&x);
	store(&x, "a", TASK_SUCCESS, SUCCESS, false);
	wait_until(&x.loop, x.done == 1, 3000);
	memcached_stop(&x.server);
	for (int i = 0; i < 100; i++)
		store(&x, i % 2 ? "b" : "c", TASK_RETRY, FAILURE, i < 50);
	store(&x, "b", TASK_SUCCESS, SUCCESS, false);
	wait_until(&x.loop, x.errors == 1, 3000);
	memcached_start(&x.server);
	wait_until(&x.loop, x.done == 102, 5000);
	ck_assert_uint_eq(x.failed, 0);
	assert_asked(&x, "get p_celery-task-meta-b",
		     "VALUE p_celery-task-meta-b 0 34|" SUCCESS "|END|");
	tear_down(&x);
}
END_TEST

START_TEST(urls_say_where_it_is)
{
	static const struct {
		const char *url, *expected;
	} cases[] = {
		{"cache+memcached://", "memcached localhost:11211"},
		{"cache+pymemcache://h:1/", "memcached h:1"},
		{"cache+memcached:///run/m.sock", "memcached /run/m.sock"},
		{"cache+memcached://unix:/run/m.sock", "memcached /run/m.sock"},
		{"cache+memcached://[::1]:7/", "memcached ::1:7"},
		{"cache+memcached://a;b", "name one"},
		{"cache+other://a", "use cache+memcached://"},
		{"cache", "or set cache_backend"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		const struct backend_options options = {.url = cases[i].url};
		struct memcached_place place;
		struct err err = {0};
		int result = memcached_place_read(&place, &options, &err);
		const char *found = result == 0 ? place.label : err.text;

		ck_assert_msg(strstr(found, cases[i].expected) != NULL, "%s: %s", cases[i].url,
			      found);
		memcached_place_clear(&place);
	}
}
END_TEST

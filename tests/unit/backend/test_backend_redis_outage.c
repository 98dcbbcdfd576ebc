/* Servers that die, refuse, stand still: nothing is lost, nothing out of order. */
#include "tests/unit/backend/redis_revoke.h"
#include "tests/unit/backend/redis_user.h"

#define MANY 1000

struct numbered {
	struct fixture *x;
	unsigned number;
};

static void on_numbered_done(void *ctx, const struct err *err)
{
	struct numbered *n = ctx;

	n->x->order[n->x->done] = n->number;
	on_done(n->x, err);
}

START_TEST(a_flushed_script_is_loaded_again)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	tell(&x, "SCRIPT FLUSH");
	store(&x, "2", STARTED);
	store(&x, "2", SUCCESS);
	wait_until(&x.loop, x.done == 3, 2000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 0);
	assert_text(&x, SUCCESS, "GET " KEY "2");
	tear_down(&x);
}
END_TEST

/* T-168 */
START_TEST(a_revoke_looks_first_without_scripts_too)
{
	struct fixture x;
	auto_free char *url = NULL;

	set_up(&x);
	tell(&x, "ACL SETUSER plain on >pw ~* &* +@all -evalsha -eval -script");
	url = mem_printf("redis://plain:pw@127.0.0.1:%d/0", x.server.port);
	open_url(&x, url);
	store(&x, "begun", STARTED);
	store(&x, "failed", FAILURE);
	store(&x, "retry", RETRY);
	store_revoke(&x, "begun");
	store_revoke(&x, "failed");
	store_revoke(&x, "retry");
	store_revoke(&x, "new");
	wait_until(&x.loop, x.done == 7, 3000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, STARTED, "GET " KEY "begun");
	assert_text(&x, FAILURE, "GET " KEY "failed");
	assert_text(&x, REVOKED, "GET " KEY "retry");
	assert_text(&x, REVOKED, "GET " KEY "new");
	tear_down(&x);
}
END_TEST

/* T-98 T-100 T-101 */
START_TEST(a_server_without_scripts_gets_transactions)
{
	struct fixture x;

	set_up(&x);
	open_as_user(&x, x.server.port, WITHOUT_SCRIPTS);
	for (int i = 0; i < 200; i++) {
		auto_free char *id = mem_printf("%d", i / 2);

		store(&x, id, i % 2 ? SUCCESS : STARTED);
	}
	store(&x, "0", FAILURE);
	wait_until(&x.loop, x.done == 201, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 1);
	ck_assert_uint_eq(x.errors, 0);
	assert_text(&x, SUCCESS, "GET " KEY "0");
	assert_text(&x, SUCCESS, "GET " KEY "99");
	ck_assert_int_gt(number(&x, "TTL %s", KEY "99"), 86000);
	tear_down(&x);
}
END_TEST

START_TEST(a_refusal_for_good_is_reported)
{
	struct fixture x;

	set_up(&x);
	open_as_user(&x, x.server.port, READ_ONLY);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_REFUSED);
	tear_down(&x);
}
END_TEST

START_TEST(a_full_server_is_waited_for)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	tell(&x, "CONFIG SET maxmemory 1");
	store_as(&x, "id", TASK_STARTED, STARTED);
	store(&x, "id", SUCCESS);
	store(&x, "other", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "OOM"));
	ck_assert_uint_eq(x.done, 0);
	tell(&x, "CONFIG SET maxmemory 0");
	wait_until(&x.loop, x.done == 3, 3000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	assert_text(&x, SUCCESS, "GET " KEY "id");
	assert_text(&x, SUCCESS, "GET " KEY "other");
	tear_down(&x);
}
END_TEST

START_TEST(a_replica_is_left_until_it_is_master_again)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	tell(&x, "REPLICAOF 127.0.0.1 1");
	store(&x, "2", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	tell(&x, "REPLICAOF NO ONE");
	wait_until(&x.loop, x.done == 2, 4000);
	ck_assert_uint_eq(x.failed, 0);
	assert_text(&x, SUCCESS, "GET " KEY "2");
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_comes_late_gets_everything)
{
	struct fixture x;

	set_up(&x);
	redis_server_stop(&x.server, SIGKILL);
	open_backend(&x);
	store(&x, "id", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 2000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.done == 1, 5000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "is back"));
	tear_down(&x);
}
END_TEST

/* T-71 */
START_TEST(nothing_is_lost_when_redis_dies_in_the_middle) /* timeout 30 */
{
	struct fixture x;
	struct numbered *numbers = mem_calloc(MANY, sizeof(*numbers));
	struct backend_stats stats;

	set_up(&x);
	x.server.has_persistence = true;
	redis_server_stop(&x.server, SIGKILL);
	redis_server_start(&x.server);
	open_backend(&x);
	for (unsigned i = 0; i < MANY; i++) {
		auto_free char *id = mem_printf("%u", i);
		auto_free char *record = mem_printf("{\"status\": \"SUCCESS\", \"result\": %u}", i);

		numbers[i] = (struct numbered){&x, i};
		backend_store(x.backend,
			      &(struct backend_record){.task_id = id,
						       .state = TASK_SUCCESS,
						       .is_only = i % 2 == 0,
						       .data = record,
						       .len = strlen(record)},
			      on_numbered_done, &numbers[i]);
		if (i == MANY / 2) {
			wait_until(&x.loop, x.done > MANY / 4, 2000);
			redis_server_stop(&x.server, SIGKILL);
		}
	}
	wait_until(&x.loop, x.errors == 1, 3000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.done == MANY, 8000);
	ck_assert_uint_eq(x.failed, 0);
	ck_assert_uint_eq(x.notices, 2);
	backend_stats(x.backend, &stats);
	ck_assert_uint_eq(stats.waiting, 0);
	ck_assert_uint_eq(stats.stored, MANY);
	ck_assert_uint_ge(stats.reconnects, 1);
	redisFree(x.client);
	x.client = redis_server_try(&x.server);
	for (unsigned i = 0; i < MANY; i++) {
		auto_free char *key = mem_printf(KEY "%u", i);
		auto_free char *record = mem_printf("{\"status\": \"SUCCESS\", \"result\": %u}", i);

		ck_assert_uint_eq(x.order[i], i);
		assert_text(&x, record, "GET %s", key);
	}
	tear_down(&x);
	free(numbers);
}
END_TEST

START_TEST(stores_of_one_id_keep_their_order_over_a_restart) /* timeout 20 */
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store_as(&x, "id", TASK_STARTED, STARTED);
	redis_server_stop(&x.server, SIGKILL);
	for (int i = 0; i < 100; i++) {
		auto_free char *record =
			mem_printf("{\"status\": \"PROGRESS\", \"result\": %d}", i);

		store_as(&x, "id", TASK_CUSTOM, record);
	}
	wait_until(&x.loop, x.errors == 1, 3000);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.done == 101, 5000);
	redisFree(x.client);
	x.client = redis_server_try(&x.server);
	assert_text(&x, "{\"status\": \"PROGRESS\", \"result\": 99}", "GET " KEY "id");
	tear_down(&x);
}
END_TEST

START_TEST(the_bound_is_told_and_so_is_the_room_after_it) /* timeout 20 */
{
	struct fixture x;

	set_up(&x);
	x.options.max_waiting_bytes = 10000;
	redis_server_stop(&x.server, SIGKILL);
	open_backend(&x);
	for (int i = 0; !backend_is_full(x.backend); i++) {
		auto_free char *id = mem_printf("%d", i);

		ck_assert_int_lt(i, 1000);
		store(&x, id, SUCCESS);
	}
	wait_until(&x.loop, x.errors == 1, 2000);
	ck_assert_uint_eq(x.rooms, 0);
	redis_server_start(&x.server);
	wait_until(&x.loop, x.rooms == 1, 5000);
	ck_assert(!backend_is_full(x.backend));
	tear_down(&x);
}
END_TEST

START_TEST(a_server_that_stands_still_is_given_up) /* timeout 40 */
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	wait_until(&x.loop, x.done == 1, 2000);
	kill(x.server.pid, SIGSTOP);
	store(&x, "2", SUCCESS);
	wait_until(&x.loop, x.errors == 1, 20000);
	ck_assert_ptr_nonnull(strstr(x.last_notice, "no answer"));
	kill(x.server.pid, SIGCONT);
	wait_until(&x.loop, x.done == 2, 5000);
	tear_down(&x);
}
END_TEST

START_TEST(closing_gives_up_at_the_deadline)
{
	struct fixture x;

	set_up(&x);
	redis_server_stop(&x.server, SIGKILL);
	open_backend(&x);
	store(&x, "1", SUCCESS);
	backend_close(x.backend, 0.2);
	wait_until(&x.loop, x.is_closed, 1000);
	ck_assert_uint_eq(x.failed, 1);
	ck_assert_int_eq(x.last.code, ERR_TIMEOUT);
	tear_down(&x);
}
END_TEST

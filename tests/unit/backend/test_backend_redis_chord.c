/* Chords on a Redis server that is well. */
#include "base/clock.h"
#include "tests/unit/backend/redis_chords.h"
#include "tests/unit/backend/redis_relay.h"
#include "tests/unit/backend/redis_user.h"

/* T-135 T-137 T-165 */
START_TEST(the_last_part_gets_the_members_in_order)
{
	struct fixture x;
	struct report last;

	set_up(&x);
	x.options.chord_expires_s = 500;
	open_backend(&x);
	start_chord(&x, "gid", 3, NULL);
	assert_text(&x, "3", "GET " GROUP ".s");
	ck_assert_int_eq(number(&x, "TTL %s", GROUP ".s"), 500);
	ck_assert_int_eq(report_status(&x, "c", 2), BACKEND_CHORD_OPEN);
	ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
	ck_assert_int_eq(number(&x, "TTL %s", GROUP ".j"), 500);
	ck_assert_int_eq(number(&x, "TTL %s", GROUP ".d"), 500);
	assert_text(&x, "2", "ZSCORE " GROUP ".j c");
	ck_assert_int_eq(number(&x, "SISMEMBER %s c:2", GROUP ".d"), 1);
	report_part(&x, &last, "b", 1);
	ck_assert_int_eq(last.status, BACKEND_CHORD_COMPLETE);
	ck_assert_uint_eq(last.count, 3);
	ck_assert_str_eq(last.members.data, "a\nb\nc\n");
	ck_assert_ptr_null(last.group);
	assert_text(&x, last.token, "GET " GROUP ".c");
	end_chord(&x, last.token, false);
	assert_text(&x, "done", "GET " GROUP ".c");
	ck_assert_int_eq(number(&x, "TTL %s", GROUP ".c"), 300);
	ck_assert_int_eq(number(&x, "EXISTS " GROUP ".j " GROUP ".t " GROUP ".s %s", GROUP ".d"),
			 0);
	report_clear(&last);
	tear_down(&x);
}
END_TEST

/* T-160 T-162 */
START_TEST(a_part_after_the_end_leaves_nothing_and_a_new_run_begins_anew)
{
	struct fixture x;
	struct report last;

	set_up(&x);
	open_backend(&x);
	for (int run = 0; run < 2; run++) {
		start_chord(&x, "gid", 1, NULL);
		report_part(&x, &last, "a", 0);
		ck_assert_int_eq(last.status, BACKEND_CHORD_COMPLETE);
		end_chord(&x, last.token, false);
		report_clear(&last);
		ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
		ck_assert_int_eq(number(&x, "DBSIZE%s", ""), 1);
	}
	tear_down(&x);
}
END_TEST

/* T-159 */
START_TEST(a_part_that_is_reported_twice_counts_once_with_its_first_result)
{
	struct fixture x;
	struct report last;
	struct backend_chord_part again = {"gid", "a", 0, 0, "other", 5};

	set_up(&x);
	open_backend(&x);
	start_chord(&x, "gid", 2, NULL);
	ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
	report_begin(&x, &last, &again);
	wait_until(&x.loop, last.is_in, 2000);
	ck_assert_int_eq(last.status, BACKEND_CHORD_OPEN);
	ck_assert_uint_eq(last.count, 1);
	report_clear(&last);
	report_part(&x, &last, "b", 1);
	ck_assert_str_eq(last.members.data, "a\nb\n");
	report_clear(&last);
	tear_down(&x);
}
END_TEST

/* T-138 */
START_TEST(parts_may_come_before_the_size)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
	start_chord(&x, "gid", 2, NULL);
	ck_assert_int_eq(report_status(&x, "b", 1), BACKEND_CHORD_COMPLETE);
	tear_down(&x);
}
END_TEST

START_TEST(the_size_may_stand_in_the_message)
{
	struct fixture x;
	struct report report;
	struct backend_chord_part parts[] = {{"gid", "a", -1, 2, "a", 1},
					     {"gid", "b", -1, 2, "b", 1}};

	set_up(&x);
	open_backend(&x);
	for (size_t i = 0; i < 2; i++) {
		report_begin(&x, &report, &parts[i]);
		wait_until(&x.loop, report.is_in, 2000);
		ck_assert_int_eq(report.status, i ? BACKEND_CHORD_COMPLETE : BACKEND_CHORD_OPEN);
		assert_text(&x, "inf", "ZSCORE " GROUP ".j a");
		ck_assert_uint_eq(report.member_count, 2 * i);
		report_clear(&report);
	}
	tear_down(&x);
}
END_TEST

/* T-161 T-163 */
START_TEST(while_one_worker_completes_it_another_waits_and_takes_over)
{
	struct fixture x;
	struct report first, second;
	struct backend_chord_part part = {"gid", "a", 0, 0, "a", 1};
	int64_t until;

	set_up(&x);
	open_backend(&x);
	start_chord(&x, "gid", 1, NULL);
	report_part(&x, &first, "a", 0);
	until = clock_mono_us() + 1500000;
	ck_assert_int_eq(first.status, BACKEND_CHORD_COMPLETE);
	ck_assert_int_gt(number(&x, "TTL %s", GROUP ".c"), 6);
	/* Delivered again, elsewhere, before the body is out. */
	report_begin(&x, &second, &part);
	wait_until(&x.loop, clock_mono_us() >= until, 3000);
	ck_assert(!second.is_in);
	/* That worker died. */
	tell(&x, "DEL " GROUP ".c");
	wait_until(&x.loop, second.is_in, 2000);
	ck_assert_int_eq(second.status, BACKEND_CHORD_COMPLETE);
	ck_assert_str_ne(first.token, second.token);
	end_chord(&x, first.token, false); /* not its own any more */
	assert_text(&x, second.token, "GET " GROUP ".c");
	report_clear(&first);
	report_clear(&second);
	tear_down(&x);
}
END_TEST

/* T-164 */
START_TEST(after_an_error_a_late_part_does_not_complete_it_again)
{
	struct fixture x;
	struct report last;

	set_up(&x);
	open_backend(&x);
	start_chord(&x, "gid", 1, NULL);
	report_part(&x, &last, "a", 0);
	end_chord(&x, last.token, true);
	ck_assert_int_eq(number(&x, "EXISTS %s", GROUP ".s"), 0);
	ck_assert_int_eq(number(&x, "EXISTS %s", GROUP ".j"), 1);
	tell(&x, "DEL " GROUP ".c");
	ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
	report_clear(&last);
	tear_down(&x);
}
END_TEST

/* T-148 */
START_TEST(without_order_the_members_are_a_list)
{
	struct fixture x;
	struct report last;

	set_up(&x);
	x.options.transport_options =
		"{\"result_chord_ordered\": false, \"global_keyprefix\": \"my\"}";
	open_backend(&x);
	start_chord(&x, "gid", 2, NULL);
	ck_assert_int_eq(report_status(&x, "b", 1), BACKEND_CHORD_OPEN);
	ck_assert_int_eq(report_status(&x, "b", 1), BACKEND_CHORD_OPEN);
	ck_assert_int_eq(number(&x, "LLEN %s", "my_" GROUP ".j"), 1);
	ck_assert_int_eq(number(&x, "SISMEMBER %s b:1", "my_" GROUP ".d"), 1);
	report_part(&x, &last, "a", 0);
	ck_assert_str_eq(last.members.data, "b\na\n");
	report_clear(&last);
	tear_down(&x);
}
END_TEST

/* T-135 */
START_TEST(a_long_chord_comes_in_pieces_and_a_member_added_later_counts)
{
	struct fixture x;
	struct report *reports = mem_calloc(2501, sizeof(*reports));
	char id[16];
	size_t complete = 0;

	set_up(&x);
	open_backend(&x);
	start_chord(&x, "gid", 2500, NULL);
	for (int twice = 0; twice < 2; twice++)
		backend_chord_add(x.backend, "gid", "more", on_done, &x);
	for (int i = 0; i <= 2500; i++) {
		struct backend_chord_part part = {"gid", id, i < 2500 ? i : -1, 0, id, 7};

		snprintf(id, sizeof(id), "id-%04d", i);
		report_begin(&x, &reports[i], &part);
	}
	wait_until(&x.loop, reports[2500].is_in, 5000);
	for (int i = 0; i <= 2500; i++) {
		ck_assert_int_eq(reports[i].err.code, ERR_NONE);
		complete += reports[i].status == BACKEND_CHORD_COMPLETE;
	}
	ck_assert_uint_eq(complete, 1);
	ck_assert_uint_eq(reports[2500].member_count, 2501);
	for (int i = 0; i <= 2500; i++) {
		snprintf(id, sizeof(id), "id-%04d\n", i);
		ck_assert_mem_eq(reports[2500].members.data + 8 * (size_t)i, id, 8);
		report_clear(&reports[i]);
	}
	free(reports);
	tear_down(&x);
}
END_TEST

START_TEST(a_saved_group_comes_with_the_end)
{
	struct fixture x;
	struct report last;

	set_up(&x);
	x.options.chord_expires_s = 500;
	open_backend(&x);
	start_chord(&x, "gid", 1, "{\"result\": 1}");
	ck_assert_int_eq(number(&x, "TTL %s", GROUP), 500);
	report_part(&x, &last, "a", 0);
	ck_assert_str_eq(last.group, "{\"result\": 1}");
	ck_assert_int_eq(number(&x, "TTL %s", GROUP), 86400);
	report_clear(&last);
	tear_down(&x);
}
END_TEST

/* T-165 */
START_TEST(zero_seconds_are_for_ever)
{
	struct fixture x;

	set_up(&x);
	x.options.chord_expires_s = 0;
	open_backend(&x);
	start_chord(&x, "gid", 2, "group");
	ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
	ck_assert_int_eq(number(&x, "TTL %s", GROUP ".s"), -1);
	ck_assert_int_eq(number(&x, "TTL %s", GROUP ".j"), -1);
	ck_assert_int_eq(number(&x, "TTL %s", GROUP), -1);
	tear_down(&x);
}
END_TEST

START_TEST(a_user_without_scripts_is_told)
{
	struct fixture x;
	struct report report;

	set_up(&x);
	open_as_user(&x, x.server.port, WITHOUT_SCRIPTS);
	report_part(&x, &report, "a", 0);
	ck_assert_int_eq(report.err.code, ERR_REFUSED);
	ck_assert_ptr_nonnull(strstr(report.err.text, "eval"));
	report_clear(&report);
	tear_down(&x);
}
END_TEST

START_TEST(a_script_that_the_server_forgot_is_loaded_again)
{
	struct fixture x;

	set_up(&x);
	open_backend(&x);
	start_chord(&x, "gid", 2, NULL);
	tell(&x, "SCRIPT FLUSH");
	ck_assert_int_eq(report_status(&x, "a", 0), BACKEND_CHORD_OPEN);
	ck_assert_int_eq(report_status(&x, "b", 1), BACKEND_CHORD_COMPLETE);
	tear_down(&x);
}
END_TEST

static void report_forty(struct fixture *x, struct report *reports)
{
	for (int n = 0; n < 40; n++) {
		char id[16];
		struct backend_chord_part part = {"gid", id, n, 0, id, 7};

		snprintf(id, sizeof(id), "id-%04d", n);
		report_begin(x, &reports[n], &part);
	}
}

/* The server has carried out the last report, and its answer is lost, or that with more members:
 * the repeat is not taken for a late part. T-163 */
START_TEST(an_answer_that_is_lost_is_asked_for_again) /* timeout 20 */
{
	static const char *const answers[] = {"id-0003", "id-0020"};

	for (size_t i = 0; i < 2; i++) {
		struct fixture x;
		struct redis_relay relay;
		struct report reports[40];
		struct backend_stats stats;

		set_up(&x);
		redis_relay_start_deaf(&relay, x.server.port, answers[i]);
		auto_free char *url = mem_printf("redis://127.0.0.1:%d/0", relay.port);

		open_url(&x, url);
		start_chord(&x, "gid", 40, NULL);
		report_forty(&x, reports);
		wait_until(&x.loop, reports[39].is_in, 5000);
		ck_assert_int_eq(reports[39].status, BACKEND_CHORD_COMPLETE);
		ck_assert_uint_eq(reports[39].member_count, 40);
		end_chord(&x, reports[39].token, false);
		for (int n = 0; n < 40; n++) {
			wait_until(&x.loop, reports[n].is_in, 3000);
			ck_assert_int_eq(reports[n].err.code, ERR_NONE);
			ck_assert_int_eq(reports[n].status, n < 39 ? 0 : BACKEND_CHORD_COMPLETE);
			report_clear(&reports[n]);
		}
		backend_stats(x.backend, &stats);
		ck_assert_uint_eq(stats.reconnects, 1);
		tear_down(&x);
		redis_relay_stop(&relay);
	}
}
END_TEST

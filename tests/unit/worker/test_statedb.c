#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "worker/request/statedb.h"

#define NOW_US 1795235878000000LL

static int decode(struct revoked *r, uint64_t *clock, const char *text, struct err *err)
{
	revoked_init(r, 100, 1000);
	return statedb_decode(r, clock, text, strlen(text), NOW_US, err);
}

struct ages {
	const char *ids[8];
	int64_t ages_s[8];
	size_t count;
};

static void note_age(void *ctx, const char *id, int64_t age_us)
{
	struct ages *ages = ctx;

	ages->ids[ages->count] = id;
	ages->ages_s[ages->count++] = age_us / 1000000;
}

/* T-93 */
START_TEST(what_was_revoked_comes_back_with_its_age_and_the_clock)
{
	struct revoked r, back;
	struct ages ages = {0};
	json_auto_t *value = json_pack("[i, s]", 7, "x");
	auto_str text = STR_INIT(65536);
	uint64_t clock = 0;
	struct err err = {0};

	revoked_init(&r, 100, 1000);
	revoked_add_aged(&r, "old \"\\ \xc3\xb3", 100 * 1000000LL);
	revoked_add(&r, "new");
	revoked_add_stamp(&r, "st", value);
	statedb_encode(&text, &r, 123456789012345, NOW_US - 60 * 1000000LL);
	ck_assert_msg(decode(&back, &clock, text.data, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(clock, 123456789012345);
	revoked_each(&back, note_age, &ages);
	ck_assert_uint_eq(ages.count, 2);
	ck_assert_str_eq(ages.ids[0], "old \"\\ \xc3\xb3");
	ck_assert_int_eq(ages.ages_s[0], 160);
	ck_assert_str_eq(ages.ids[1], "new");
	ck_assert_int_eq(ages.ages_s[1], 60);
	ck_assert(revoked_by_stamps(&back, "[\"st\"]", "{\"st\": [[7.0, \"x\"]]}", NULL));
	revoked_clear(&r);
	revoked_clear(&back);
}
END_TEST

START_TEST(an_empty_state_is_written_and_read)
{
	struct revoked r, back;
	auto_str text = STR_INIT(65536);
	uint64_t clock = 9;

	revoked_init(&r, 100, 1000);
	statedb_encode(&text, &r, 0, NOW_US);
	ck_assert_int_eq(decode(&back, &clock, text.data, NULL), 0);
	ck_assert_uint_eq(clock, 0);
	ck_assert_uint_eq(revoked_count(&back), 0);
	revoked_clear(&r);
	revoked_clear(&back);
}
END_TEST

START_TEST(what_expired_while_the_worker_was_away_is_not_taken)
{
	struct revoked r, back;
	auto_str text = STR_INIT(65536);
	struct ages ages = {0};
	uint64_t clock;

	revoked_init(&r, 100, 1000);
	revoked_add_aged(&r, "old", 500 * 1000000LL);
	revoked_add_aged(&r, "young", 100 * 1000000LL);
	statedb_encode(&text, &r, 0, NOW_US - 600 * 1000000LL);
	ck_assert_int_eq(decode(&back, &clock, text.data, NULL), 0);
	ck_assert(!revoked_has(&back, "old"));
	ck_assert(revoked_has(&back, "young"));
	revoked_clear(&back);
	/* The wall clock was set back. */
	ck_assert_int_eq(
		(revoked_init(&back, 100, 1000), statedb_decode(&back, &clock, text.data, text.len,
								NOW_US - 9000 * 1000000LL, NULL)),
		0);
	ck_assert(revoked_has(&back, "old"));
	revoked_each(&back, note_age, &ages);
	ck_assert_int_eq(ages.ages_s[0], 500);
	revoked_clear(&r);
	revoked_clear(&back);
}
END_TEST

#define HEAD "{\"format\": \"smallage-state\", \"version\": 1, \"saved_at\": 1, \"clock\": 1, "

START_TEST(a_foreign_or_damaged_file_is_told_apart_and_nothing_is_taken)
{
	static const struct {
		const char *text, *part;
	} rows[] = {
		{"\x13\x57\x9a\xce", "no state file of smallage"},
		{"{}", "no state file of smallage"},
		{"{\"format\": \"other\"}", "no state file of smallage"},
		{"[]", "no state file of smallage"},
		{"x", "no state file of smallage"},
		{"{\"format\": \"smallage-state\", \"version\": 2}", "another version"},
		{"{\"format\": \"smallage-state\", \"versi", "damaged"},
		{HEAD "\"revoked\": []}", "damaged"},
		{HEAD "\"revoked\": {}, \"stamps\": []}", "damaged"},
		{HEAD "\"revoked\": [[\"a\", 1], [\"b\"]], \"stamps\": []}", "damaged"},
		{HEAD "\"revoked\": [[\"a\", -1]], \"stamps\": []}", "damaged"},
		{HEAD "\"revoked\": [[1, 1]], \"stamps\": []}", "damaged"},
		{HEAD "\"revoked\": [[\"a\", 1]], \"stamps\": [\"x\"]}", "damaged"},
		{"{\"format\": \"smallage-state\", \"version\": 1, \"saved_at\": \"x\", \"clock\": "
		 "1, \"revoked\": [], \"stamps\": []}",
		 "damaged"},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		struct revoked r;
		uint64_t clock = 7;
		struct err err = {0};

		ck_assert_msg(decode(&r, &clock, rows[i].text, &err) == -1, "%s", rows[i].text);
		ck_assert_msg(strstr(err.text, rows[i].part) != NULL, "%s: %s", rows[i].text,
			      err.text);
		ck_assert_msg(strstr(err.text, "name another file with --statedb") != NULL, "%s",
			      err.text);
		ck_assert_uint_eq(clock, 7);
		ck_assert_uint_eq(revoked_count(&r), 0);
		revoked_clear(&r);
	}
}
END_TEST

/* A state cut anywhere, or with one byte changed, is read or refused; never half. */
START_TEST(no_cut_and_no_changed_byte_is_taken_for_more_than_it_is)
{
	struct revoked r;
	auto_str text = STR_INIT(65536);
	uint64_t clock;

	revoked_init(&r, 100, 1000);
	revoked_add(&r, "aaa");
	revoked_add(&r, "bbb");
	statedb_encode(&text, &r, 5, NOW_US);
	/* The last two bytes are "}" and the end of the line. */
	for (size_t len = 1; len < text.len - 1; len++) {
		struct revoked back;

		revoked_init(&back, 100, 1000);
		ck_assert_int_eq(statedb_decode(&back, &clock, text.data, len, NOW_US, NULL), -1);
		ck_assert_uint_eq(revoked_count(&back), 0);
		revoked_clear(&back);
	}
	for (size_t i = 0; i < text.len * 256; i++) {
		auto_free char *copy = mem_dup(text.data, text.len);
		struct revoked back;

		copy[i / 256] = (char)(i % 256);
		revoked_init(&back, 100, 1000);
		if (statedb_decode(&back, &clock, copy, text.len, NOW_US, NULL) < 0)
			ck_assert_uint_eq(revoked_count(&back), 0);
		revoked_clear(&back);
	}
	revoked_clear(&r);
}
END_TEST

struct place {
	char folder[64], path[128];
	uv_loop_t loop;
	struct revoked revoked;
	uint64_t clock;
};

static void begin(struct place *p)
{
	memset(p, 0, sizeof(*p));
	snprintf(p->folder, sizeof(p->folder), "/tmp/smallage-state-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(p->folder));
	snprintf(p->path, sizeof(p->path), "%s/w.state", p->folder);
	ck_assert_int_eq(uv_loop_init(&p->loop), 0);
	revoked_init(&p->revoked, 100, 1000);
}

static void finish(struct place *p)
{
	auto_free char *temp = mem_printf("%s.new", p->path);

	uv_run(&p->loop, UV_RUN_DEFAULT);
	uv_loop_close(&p->loop);
	revoked_clear(&p->revoked);
	unlink(p->path);
	unlink(temp);
	ck_assert_int_eq(rmdir(p->folder), 0);
}

/* Opens the file again in an own set, and tells what it holds. */
static char *reread(struct place *p)
{
	auto_str text = STR_INIT(65536);

	ck_assert_int_eq(file_read(&text, p->path, NULL), 1);
	return str_detach(&text);
}

/* T-93 */
START_TEST(a_state_is_saved_at_the_end_and_read_at_the_start)
{
	struct place p;
	struct err err = {0};
	struct statedb *s;

	begin(&p);
	s = statedb_open(&p.loop, p.path, &p.revoked, &p.clock, &err);
	ck_assert_msg(s != NULL, "%s", err.text);
	revoked_add(&p.revoked, "a");
	p.clock = 77;
	statedb_stop(s);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	statedb_close(s);
	revoked_clear(&p.revoked);
	revoked_init(&p.revoked, 100, 1000);
	p.clock = 3;
	s = statedb_open(&p.loop, p.path, &p.revoked, &p.clock, &err);
	ck_assert_msg(s != NULL, "%s", err.text);
	ck_assert(revoked_has(&p.revoked, "a"));
	ck_assert_uint_eq(p.clock, 77);
	statedb_stop(s);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	statedb_close(s);
	finish(&p);
}
END_TEST

static void stop_loop(uv_timer_t *timer)
{
	uv_stop(timer->loop);
}

/* A worker that is killed has saved what is some seconds old. */
START_TEST(a_change_is_saved_while_the_worker_runs) /* timeout 20 */
{
	struct place p;
	uv_timer_t timer;
	struct statedb *s;

	begin(&p);
	s = statedb_open(&p.loop, p.path, &p.revoked, &p.clock, NULL);
	ck_assert_ptr_nonnull(s);
	revoked_add(&p.revoked, "soon");
	uv_timer_init(&p.loop, &timer);
	uv_timer_start(&timer, stop_loop, 4500, 0);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	auto_free char *text = reread(&p);

	ck_assert_ptr_nonnull(strstr(text, "[\"soon\", "));
	uv_close((uv_handle_t *)&timer, NULL);
	statedb_stop(s);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	statedb_close(s);
	finish(&p);
}
END_TEST

START_TEST(a_file_in_use_is_refused)
{
	struct place p;
	struct revoked other;
	uint64_t clock = 0;
	struct err err = {0};
	struct statedb *s;

	begin(&p);
	revoked_init(&other, 100, 1000);
	s = statedb_open(&p.loop, p.path, &p.revoked, &p.clock, NULL);
	ck_assert_ptr_nonnull(s);
	ck_assert_ptr_null(statedb_open(&p.loop, p.path, &other, &clock, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "in use by another worker"));
	statedb_stop(s);
	uv_run(&p.loop, UV_RUN_DEFAULT);
	statedb_close(s);
	finish(&p);
}
END_TEST

START_TEST(a_file_that_cannot_be_used_is_a_start_error_and_stays)
{
	struct place p;
	struct err err = {0};

	begin(&p);
	ck_assert_int_eq(file_write(p.path, "\x13\x57\x9a\xce gdbm", 9, NULL), 0);
	ck_assert_ptr_null(statedb_open(&p.loop, p.path, &p.revoked, &p.clock, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "no state file of smallage"));
	ck_assert_ptr_nonnull(strstr(err.text, p.path));
	auto_free char *text = reread(&p);

	ck_assert_int_eq(memcmp(text, "\x13\x57\x9a\xce gdbm", 9), 0);
	err = (struct err){0};
	ck_assert_ptr_null(
		statedb_open(&p.loop, "/nonexistent/folder/x", &p.revoked, &p.clock, &err));
	ck_assert_ptr_nonnull(strstr(err.text, "/nonexistent/folder/x"));
	finish(&p);
}
END_TEST

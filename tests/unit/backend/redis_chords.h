/* A Redis store that is told of chords, and what it answered. */
#ifndef TESTS_UNIT_BACKEND_REDIS_CHORDS_H
#define TESTS_UNIT_BACKEND_REDIS_CHORDS_H

#include "base/str.h"
#include "tests/unit/backend/redis_fixture.h"

#define GROUP "celery-taskset-meta-gid"

struct report {
	struct fixture *fixture;
	struct str members; /* with a newline behind each */
	size_t member_count, begun;
	enum backend_chord_status status;
	size_t count;
	char token[33];
	char *group;
	bool is_in;
	struct err err;
};

static inline void on_begin(void *ctx, const char *group, size_t len)
{
	struct report *report = ctx;

	report->begun++;
	report->member_count = 0;
	str_reset(&report->members);
	free(report->group);
	report->group = group ? mem_dup(group, len) : NULL;
}

static inline void on_member(void *ctx, const char *member, size_t len)
{
	struct report *report = ctx;

	ck_assert_uint_gt(report->begun, 0);
	report->member_count++;
	str_add(&report->members, member, len);
	str_addc(&report->members, '\n');
}

static inline void on_report(void *ctx, const struct backend_chord_state *state,
			     const struct err *err)
{
	struct report *report = ctx;

	ck_assert(!report->is_in);
	report->is_in = true;
	report->status = state->status;
	report->count = state->count;
	snprintf(report->token, sizeof(report->token), "%s", state->token);
	if (err)
		report->err = *err;
}

static inline void report_init(struct report *report)
{
	memset(report, 0, sizeof(*report));
	str_init(&report->members, 1 << 26);
}

static inline void report_clear(struct report *report)
{
	str_clear(&report->members);
	free(report->group);
}

static inline void start_chord(struct fixture *x, const char *group_id, size_t size,
			       const char *group)
{
	struct backend_chord chord = {group_id, size, group, group ? strlen(group) : 0};
	unsigned before = x->done;

	backend_chord_start(x->backend, &chord, on_done, x);
	ck_assert_uint_eq(x->done, before);
	wait_until(&x->loop, x->done == before + 1, 2000);
	ck_assert_uint_eq(x->failed, 0);
}

static const struct backend_chord_events chord_events = {
	.begin = on_begin,
	.member = on_member,
	.got = on_report,
};

static inline void report_begin(struct fixture *x, struct report *report,
				const struct backend_chord_part *part)
{
	report_init(report);
	backend_chord_part(x->backend, part, &chord_events, report);
}

/* Reports a part whose member is its id. */
static inline void report_part(struct fixture *x, struct report *report, const char *id,
			       int64_t index)
{
	struct backend_chord_part part = {"gid", id, index, 0, id, strlen(id)};

	report_begin(x, report, &part);
	wait_until(&x->loop, report->is_in, 2000);
}

static inline enum backend_chord_status report_status(struct fixture *x, const char *id,
						      int64_t index)
{
	struct report report;

	report_part(x, &report, id, index);
	ck_assert_int_eq(report.err.code, ERR_NONE);
	report_clear(&report);
	return report.status;
}

static inline void end_chord(struct fixture *x, const char *token, bool is_error)
{
	struct backend_chord_end end = {.group_id = "gid", .token = token, .is_error = is_error};
	unsigned before = x->done;

	backend_chord_end(x->backend, &end, on_done, x);
	wait_until(&x->loop, x->done == before + 1, 2000);
	ck_assert_uint_eq(x->failed, 0);
}

#endif

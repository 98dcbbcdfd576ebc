#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "worker/pool/frame.h"
#include "worker/task/job_request.h"

/* Head and tail as a reader sees them. */
static struct frame frame_of(const struct str *bytes, const char *tail)
{
	struct frame f;

	ck_assert_int_eq(frame_read_prefix(&f, bytes->data, 1000, NULL), 0);
	ck_assert_uint_eq(FRAME_PREFIX_BYTES + f.head_len, bytes->len);
	f.head = bytes->data + FRAME_PREFIX_BYTES;
	f.tail = tail;
	return f;
}

START_TEST(a_run_comes_back_as_it_went)
{
	struct frame_run run = {.serial = 1ULL << 40,
				.place = 15,
				.task = 7,
				.retries = 2,
				.max_retries = -1,
				.is_redelivered = true,
				.id = "some-id",
				.custom_headers = {"{}", 2},
				.args = {"[1]", 3},
				.kwargs = {"{\"a\": 2}", 8}};
	struct frame_run back;
	struct frame f;
	auto_str out = {0};

	str_init(&out, 1000);
	ck_assert_int_eq(frame_put_run(&out, &run), 0);
	ck_assert_uint_eq(frame_run_tail_len(&run), 13);
	f = frame_of(&out, "{}[1]{\"a\": 2}");
	ck_assert_uint_eq(f.tail_len, 13);
	ck_assert_int_eq(frame_get_run(&back, &f, NULL), 0);
	ck_assert(back.serial == run.serial && back.place == 15 && back.task == 7);
	ck_assert(back.retries == 2 && back.max_retries == -1 && back.is_redelivered);
	ck_assert_str_eq(back.id, "some-id");
	ck_assert_mem_eq(back.custom_headers.data, "{}", 2);
	ck_assert_mem_eq(back.args.data, "[1]", 3);
	ck_assert_uint_eq(back.args.len, 3);
	ck_assert_mem_eq(back.kwargs.data, "{\"a\": 2}", 8);
	ck_assert_uint_eq(back.kwargs.len, 8);
}
END_TEST

START_TEST(a_run_takes_along_what_its_message_says)
{
	struct frame_run run = {.id = "i",
				.args = {"[]", 2},
				.kwargs = {"{}", 2},
				.errbacks = {"[1]", 3},
				.chord = {"{2}", 3}};
	struct task_message message, back_message;
	struct frame_run back;
	struct frame f;
	auto_str out = {0};

	task_message_init(&message);
	message.root_id = "root";
	message.group = "";
	message.priority = 7;
	message.eta_us = 5;
	run.message = &message;
	str_init(&out, 1000);
	ck_assert_int_eq(frame_put_run(&out, &run), 0);
	f = frame_of(&out, "[]{}[1]{2}");
	ck_assert_int_eq(frame_get_run(&back, &f, NULL), 0);
	ck_assert_ptr_null(back.callbacks.data);
	ck_assert_ptr_null(back.chain.data);
	ck_assert_mem_eq(back.errbacks.data, "[1]", 3);
	ck_assert_mem_eq(back.chord.data, "{2}", 3);
	ck_assert_int_eq(job_request_get(&back_message, back.request), 0);
	ck_assert_str_eq(back_message.root_id, "root");
	ck_assert_str_eq(back_message.group, "");
	ck_assert_ptr_null(back_message.parent_id);
	ck_assert(back_message.priority == 7 && back_message.eta_us == 5);
	for (size_t len = 0; len < back.request.len; len++)
		ck_assert_int_eq(
			job_request_get(&back_message, (struct span){back.request.data, len}), -1);
}
END_TEST

START_TEST(a_task_to_send_comes_back_as_it_went)
{
	enum job_send how;
	uint64_t serial;
	struct frame f;
	auto_str out = {0};

	str_init(&out, 1000);
	ck_assert_int_eq(frame_put_send(&out, 77, JOB_ADD_TO_CHORD, 2), 0);
	f = frame_of(&out, "{}");
	ck_assert_int_eq(frame_get_send(&serial, &how, &f, NULL), 0);
	ck_assert(serial == 77 && how == JOB_ADD_TO_CHORD && f.tail_len == 2);
	out.data[FRAME_PREFIX_BYTES + 8] = 9;
	ck_assert_int_eq(frame_get_send(&serial, &how, &f, NULL), -1);
}
END_TEST

START_TEST(no_custom_headers_stay_none)
{
	struct frame_run run = {.id = "i", .args = {"[]", 2}, .kwargs = {"{}", 2}};
	struct frame_run back;
	struct frame f;
	auto_str out = {0};

	str_init(&out, 1000);
	frame_put_run(&out, &run);
	f = frame_of(&out, "[]{}");
	ck_assert_int_eq(frame_get_run(&back, &f, NULL), 0);
	ck_assert_ptr_null(back.custom_headers.data);
}
END_TEST

START_TEST(an_outcome_comes_back_as_it_went)
{
	struct outcome o, back;
	uint64_t serial, rss_kib;
	struct frame f;
	auto_str out = {0};

	outcome_init(&o, OUTCOME_RETRY);
	outcome_set_exception(&o, "builtins", "ValueError", "no\xc3\xa9");
	o.countdown_s = 2.5;
	o.runtime_s = 0.25;
	o.answers = mem_strdup("mail\tsmtp\taccepted\n");
	str_init(&out, 1000);
	ck_assert_int_eq(frame_put_outcome(&out, 9, 4096, &o), 0);
	f = frame_of(&out, NULL);
	ck_assert_int_eq(frame_get_outcome(&serial, &rss_kib, &back, &f, NULL), 0);
	ck_assert(serial == 9 && rss_kib == 4096);
	ck_assert(back.countdown_s == 2.5 && back.runtime_s == 0.25);
	ck_assert_int_eq(back.kind, OUTCOME_RETRY);
	ck_assert_str_eq(back.exc_module, "builtins");
	ck_assert_str_eq(back.exc_type, "ValueError");
	ck_assert_str_eq(back.exc_args, "[\"no\\u00e9\"]");
	ck_assert_str_eq(back.exc_text, "no\xc3\xa9");
	ck_assert_str_eq(back.exc_repr, "ValueError('no\xc3\xa9')");
	ck_assert_ptr_null(back.traceback);
	ck_assert_str_eq(back.answers, "mail\tsmtp\taccepted\n");
	outcome_clear(&o);
	outcome_clear(&back);
}
END_TEST

START_TEST(a_state_comes_back_as_it_went)
{
	const char *name;
	uint64_t serial;
	struct frame f;
	auto_str out = {0};

	str_init(&out, 1000);
	ck_assert_int_eq(frame_put_state(&out, 3, "PROGRESS", 4), 0);
	f = frame_of(&out, "null");
	ck_assert_uint_eq(f.tail_len, 4);
	ck_assert_int_eq(frame_get_state(&serial, &name, &f, NULL), 0);
	ck_assert_uint_eq(serial, 3);
	ck_assert_str_eq(name, "PROGRESS");
}
END_TEST

START_TEST(prefixes_over_the_limits_are_refused)
{
	struct frame_run run = {.id = "i", .args = {"[]", 2}, .kwargs = {"{}", 2}};
	struct err err = {0};
	struct frame f;
	auto_str out = {0};
	char bytes[FRAME_PREFIX_BYTES];
	uint32_t head_len = FRAME_HEAD_MAX + 1;

	str_init(&out, 1000);
	frame_put_run(&out, &run);
	memcpy(bytes, out.data, sizeof(bytes));
	ck_assert_int_eq(frame_read_prefix(&f, bytes, 4, NULL), 0);
	ck_assert_int_eq(frame_read_prefix(&f, bytes, 3, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	memcpy(bytes + 4, &head_len, sizeof(head_len));
	ck_assert_int_eq(frame_read_prefix(&f, bytes, 4, NULL), -1);
	bytes[0] = 9;
	memset(bytes + 4, 0, 4);
	ck_assert_int_eq(frame_read_prefix(&f, bytes, 4, NULL), -1);
}
END_TEST

/* Every cut and every flipped byte is either refused or harmless (sanitizers watch). */
START_TEST(damaged_frames_do_no_harm)
{
	struct outcome o;
	auto_str out = {0};

	outcome_init(&o, OUTCOME_FAILURE);
	outcome_set_exception(&o, "builtins", "KeyError", "k");
	str_init(&out, 1000);
	frame_put_outcome(&out, 1, 2, &o);
	for (size_t i = 0; i < out.len - FRAME_PREFIX_BYTES; i++) {
		/* An exact copy, so that reading past its end is seen. */
		char *head = malloc(i + 1);
		struct frame f = {.type = FRAME_OUTCOME, .head = head, .head_len = i};
		struct outcome back;
		uint64_t a, b;

		memcpy(head, out.data + FRAME_PREFIX_BYTES, i);
		ck_assert_int_eq(frame_get_outcome(&a, &b, &back, &f, NULL), -1);
		free(head);
	}
	for (size_t i = FRAME_PREFIX_BYTES; i < out.len; i++) {
		struct frame f = {.type = FRAME_OUTCOME,
				  .head = out.data + FRAME_PREFIX_BYTES,
				  .head_len = out.len - FRAME_PREFIX_BYTES};
		struct outcome back;
		uint64_t a, b;

		out.data[i] ^= (char)0xff;
		if (frame_get_outcome(&a, &b, &back, &f, NULL) == 0)
			outcome_clear(&back);
		out.data[i] ^= (char)0xff;
	}
	outcome_clear(&o);
}
END_TEST

START_TEST(a_slot_cannot_claim_what_only_the_pool_knows)
{
	struct outcome o, back;
	uint64_t a, b;
	struct frame f;
	auto_str out = {0};

	outcome_init(&o, OUTCOME_LOST);
	str_init(&out, 1000);
	frame_put_outcome(&out, 1, 2, &o);
	f = frame_of(&out, NULL);
	ck_assert_int_eq(frame_get_outcome(&a, &b, &back, &f, NULL), -1);
	/* A failure without its exception would crash whoever stores it. */
	outcome_init(&o, OUTCOME_FAILURE);
	str_reset(&out);
	frame_put_outcome(&out, 1, 2, &o);
	f = frame_of(&out, NULL);
	ck_assert_int_eq(frame_get_outcome(&a, &b, &back, &f, NULL), -1);
}
END_TEST

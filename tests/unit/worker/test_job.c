/* The task API as a task author and a Python client see it. */
#include <check.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/str.h"
#include "worker/task/job.h"
#include "worker/task/job_state.h"

static struct outcome outcome;
static _Atomic uint32_t expired;
static char states[200];
static const char *custom;

static void on_state(void *ctx, const char *state, const char *meta, size_t len)
{
	(void)ctx;
	snprintf(states + strlen(states), sizeof(states) - strlen(states), "%s=%.*s;", state,
		 (int)len, meta);
}

static const char *setting(const char *name)
{
	return strcmp(name, "email_host") == 0 ? "mail.example" : NULL;
}

/* Runs one body; the outcome stays in `outcome`. */
static void run_with(json_t *(*body)(struct sm_job *), const char *signature, const char *args,
		     const char *kwargs)
{
	static const char *const dirs[] = {NULL};
	struct sm_task task = {.name = "app.send", .signature = signature, .run = body};
	struct sm_plugin plugin = {.name = "p", .tasks = SM_TASKS(&task)};
	struct registry *r = registry_new();
	struct err err = {0};
	struct job_host host = {
		.update_state = on_state, .setting = setting, .template_dirs = dirs};

	outcome_clear(&outcome);
	ck_assert_msg(registry_add_plugin(r, &plugin, NULL, &err) == 0, "%s", err.text);
	job_run(&(struct job_run_args){.task = registry_at(r, 0),
				       .id = "id-1",
				       .retries = 1,
				       .max_retries = 3,
				       .is_redelivered = true,
				       .args = {args, strlen(args)},
				       .kwargs = {kwargs, strlen(kwargs)},
				       .custom_headers = {custom, custom ? strlen(custom) : 0},
				       .expired = &expired},
		&host, &outcome);
	registry_free(r);
}

static void run(json_t *(*body)(struct sm_job *))
{
	run_with(body, "", "[]", "{}");
}

static void check_failure(const char *module, const char *type, const char *args)
{
	ck_assert_int_eq(outcome.kind, OUTCOME_FAILURE);
	ck_assert_str_eq(outcome.exc_module, module);
	ck_assert_str_eq(outcome.exc_type, type);
	ck_assert_str_eq(outcome.exc_args, args);
}

static void check_success(const char *result)
{
	ck_assert_msg(outcome.kind == OUTCOME_SUCCESS, "%s", outcome.exc_text);
	ck_assert_str_eq(outcome.result, result);
	ck_assert_uint_eq(outcome.result_len, strlen(result));
}

/* --- results -------------------------------------------------------------------------------- */

static json_t *give_back(struct sm_job *job)
{
	return json_incref(sm_json(job, "value"));
}

/* T-28 T-31 T-32 T-33 */
START_TEST(a_value_passes_through_as_python_writes_it)
{
	static const char text[] = "{\"t\": {\"__type__\": \"decimal\", \"__value__\": \"1.50\"}, "
				   "\"n\": NaN, \"i\": 123456789012345678901234567890, "
				   "\"s\": \"\\ud800 \\u00e9\", \"f\": 0.1}";
	auto_free char *args = mem_printf("[%s]", text);

	run_with(give_back, "value", args, "{}");
	check_success(text);
	ck_assert(outcome.runtime_s >= 0 && outcome.runtime_s < 1);
	outcome_clear(&outcome);
}
END_TEST

static json_t *answered(struct sm_job *job)
{
	sm_answered(job, "mail", "smtp", "accepted");
	sm_answered(job, "S M\tS", "Tw\xc3\xa4lio\n", "");
	sm_answered(job, "a-very-long-name-that-no-label-ought-to-have", "x", "y");
	return sm_raise(job, "ValueError", "all the same");
}

static json_t *answered_often(struct sm_job *job)
{
	for (int i = 0; i < 10000; i++)
		sm_answered(job, "mail", "smtp", "accepted");
	return json_null();
}

START_TEST(answers_go_with_the_outcome_whatever_it_is)
{
	run(answered);
	check_failure("builtins", "ValueError", "[\"all the same\"]");
	ck_assert_str_eq(outcome.answers, "mail\tsmtp\taccepted\ns_m_s\ttw_lio_\t_\n"
					  "a-very-long-name-that-no-label-o\tx\ty\n");
	run(answered_often);
	check_success("null");
	ck_assert_uint_eq(strlen(outcome.answers) % strlen("mail\tsmtp\taccepted\n"), 0);
	ck_assert_uint_le(strlen(outcome.answers), JOB_ANSWERS_MAX);
	outcome_clear(&outcome);
}
END_TEST

static json_t *bad_bytes(struct sm_job *job)
{
	(void)job;
	return json_pack("{s:[o]}", "a", json_string_nocheck("\xff\xfe"));
}

/* A real circle could not be freed; the depth is what is noticed. */
static json_t *circle(struct sm_job *job)
{
	json_t *a = json_array();

	(void)job;
	for (int i = 0; i < 600; i++) {
		json_t *outer = json_array();

		json_array_append_new(outer, a);
		a = outer;
	}
	return a;
}

/* T-113 */
START_TEST(a_result_without_json_form_is_an_encode_error)
{
	run(bad_bytes);
	check_failure("kombu.exceptions", "EncodeError",
		      "[\"ValueError('a string is not valid UTF-8')\"]");
	run(circle);
	check_failure("kombu.exceptions", "EncodeError",
		      "[\"ValueError('Circular reference detected')\"]");
	outcome_clear(&outcome);
}
END_TEST

static json_t *nothing(struct sm_job *job)
{
	(void)job;
	return NULL;
}

static json_t *both(struct sm_job *job)
{
	sm_raise(job, "ValueError", "x");
	return json_true();
}

START_TEST(null_without_an_exception_is_a_system_error)
{
	run(nothing);
	check_failure("builtins", "SystemError",
		      "[\"app.send returned NULL without setting an exception\"]");
	run(both);
	check_failure("builtins", "SystemError",
		      "[\"app.send returned a result with an exception set\"]");
	outcome_clear(&outcome);
}
END_TEST

/* --- exceptions ----------------------------------------------------------------------------- */

static const char *raise_type, *raise_text;

static json_t *raising(struct sm_job *job)
{
	return sm_raise(job, raise_type, "%s", raise_text);
}

static void run_raising(const char *type, const char *text)
{
	raise_type = type;
	raise_text = text;
	run(raising);
}

/* T-111 */
START_TEST(an_exception_looks_like_pythons)
{
	run_raising("ValueError", "it's \"bad\"");
	check_failure("builtins", "ValueError", "[\"it's \\\"bad\\\"\"]");
	ck_assert_str_eq(outcome.exc_text, "it's \"bad\"");
	ck_assert_str_eq(outcome.exc_repr, "ValueError('it\\'s \"bad\"')");
	ck_assert_str_eq(outcome.traceback, "Traceback (most recent call last):\n"
					    "  Task app.send, in smallage\n"
					    "ValueError: it's \"bad\"\n");
	run_raising("smtplib:SMTPServerDisconnected", "gone");
	check_failure("smtplib", "SMTPServerDisconnected", "[\"gone\"]");
	ck_assert_ptr_nonnull(
		strstr(outcome.traceback, "\nsmtplib.SMTPServerDisconnected: gone\n"));
	run_raising("KeyError", "k");
	ck_assert_str_eq(outcome.exc_text, "'k'");
	run_raising("ValueError", "bytes \xff here");
	ck_assert_str_eq(outcome.exc_args, "[\"bytes \\ufffd here\"]");
	outcome_clear(&outcome);
}
END_TEST

/* T-75 */
START_TEST(celerys_own_exceptions_have_their_modules)
{
	run_raising("SoftTimeLimitExceeded", "");
	check_failure("billiard.exceptions", "SoftTimeLimitExceeded", "[]");
	ck_assert_str_eq(outcome.exc_text, "SoftTimeLimitExceeded()");
	ck_assert_str_eq(outcome.exc_repr, "SoftTimeLimitExceeded()");
	run_raising("MaxRetriesExceededError", "x");
	check_failure("celery.exceptions", "MaxRetriesExceededError", "[\"x\"]");
	run_raising("WorkerLostError", "x");
	check_failure("billiard.exceptions", "WorkerLostError", "[\"x\"]");
	run_raising("Ignore", "");
	ck_assert_int_eq(outcome.kind, OUTCOME_IGNORE);
	run_raising("Reject", "why");
	ck_assert_int_eq(outcome.kind, OUTCOME_REJECT);
	ck_assert_str_eq(outcome.exc_text, "why");
	outcome_clear(&outcome);
}
END_TEST

static json_t *raise_two(struct sm_job *job)
{
	return sm_raise_args(job, "smtplib:SMTPDataError", json_pack("[i,s]", 550, "no such user"));
}

static json_t *raise_bad_argument(struct sm_job *job)
{
	return sm_raise_args(job, "ValueError",
			     json_pack("[i,o]", 1, json_string_nocheck("a\xff")));
}

START_TEST(an_exception_takes_any_arguments)
{
	run(raise_two);
	check_failure("smtplib", "SMTPDataError", "[550, \"no such user\"]");
	ck_assert_str_eq(outcome.exc_text, "(550, 'no such user')");
	ck_assert_str_eq(outcome.exc_repr, "SMTPDataError(550, 'no such user')");
	outcome_clear(&outcome);
}
END_TEST

/* T-112 */
START_TEST(an_argument_without_json_form_becomes_its_repr)
{
	run(raise_bad_argument);
	check_failure("builtins", "ValueError", "[1, \"'a\\ufffd'\"]");
	outcome_clear(&outcome);
}
END_TEST

static json_t *retry(struct sm_job *job)
{
	return sm_retry(job, 2.5);
}

static json_t *retry_raise(struct sm_job *job)
{
	return sm_retry_raise(job, -1, "ConnectionError", "try %d", sm_retries(job));
}

static json_t *reject(struct sm_job *job)
{
	return sm_reject(job, "poison", true);
}

static json_t *change_of_mind(struct sm_job *job)
{
	sm_raise(job, "ValueError", "first");
	return sm_ignore(job);
}

START_TEST(other_ends_say_what_they_want)
{
	run(retry);
	ck_assert_int_eq(outcome.kind, OUTCOME_RETRY);
	ck_assert(outcome.countdown_s == 2.5);
	ck_assert_ptr_null(outcome.exc_type);
	run(retry_raise);
	ck_assert_int_eq(outcome.kind, OUTCOME_RETRY);
	ck_assert(outcome.countdown_s < 0);
	ck_assert_str_eq(outcome.exc_repr, "ConnectionError('try 1')");
	run(reject);
	ck_assert_int_eq(outcome.kind, OUTCOME_REJECT);
	ck_assert(outcome.requeue);
	ck_assert_str_eq(outcome.exc_text, "poison");
	run(change_of_mind);
	ck_assert_int_eq(outcome.kind, OUTCOME_IGNORE);
	ck_assert_ptr_null(outcome.exc_type);
	outcome_clear(&outcome);
}
END_TEST

/* --- arguments ------------------------------------------------------------------------------ */

/* T-26 */
START_TEST(a_wrong_call_is_pythons_type_error)
{
	run_with(give_back, "value", "[]", "{}");
	check_failure("builtins", "TypeError",
		      "[\"send() missing 1 required positional argument: 'value'\"]");
	ck_assert_ptr_nonnull(outcome.traceback);
	run_with(give_back, "value", "[1]", "{\"other\": 2}");
	check_failure("builtins", "TypeError",
		      "[\"send() got an unexpected keyword argument 'other'\"]");
	run_with(give_back, "value: int", "[\"x\"]", "{}");
	ck_assert_str_eq(outcome.exc_type, "TypeError");
	outcome_clear(&outcome);
}
END_TEST

static json_t *read_all(struct sm_job *job)
{
	ck_assert(sm_int(job, "i") == 7);
	ck_assert(sm_float(job, "f") == 1.5);
	ck_assert(sm_float(job, "i") == 7);
	ck_assert(sm_float(job, "d") == 1.5);
	ck_assert(isnan(sm_float(job, "n")));
	ck_assert(sm_bool(job, "b"));
	ck_assert_str_eq(sm_str(job, "s"), "text");
	ck_assert_ptr_null(sm_str(job, "none"));
	ck_assert(sm_is_none(job, "none") && !sm_is_none(job, "s"));
	ck_assert_str_eq(sm_text(job, "i"), "7");
	ck_assert_str_eq(sm_text(job, "f"), "1.5");
	ck_assert_str_eq(sm_text(job, "d"), "1.50");
	ck_assert_str_eq(sm_text(job, "b"), "True");
	ck_assert_str_eq(sm_text(job, "s"), "text");
	ck_assert_ptr_null(sm_text(job, "none"));
	ck_assert(json_is_array(sm_json(job, "l")));
	ck_assert(json_is_null(sm_json(job, "perhaps")));
	ck_assert(json_integer_value(sm_json(job, "more")) == 1);
	ck_assert_uint_eq(json_object_size(sm_args(job)), 9);
	return json_true();
}

START_TEST(accessors_read_by_name)
{
	run_with(read_all,
		 "i: int, f: float, d: number, n: number, b: bool, s: str, none: str | None, "
		 "l: list, **rest",
		 "[7, 1.5, {\"__type__\": \"decimal\", \"__value__\": \"1.50\"}, NaN]",
		 "{\"b\": true, \"s\": \"text\", \"none\": null, \"l\": [], \"more\": 1}");
	check_success("true");
	outcome_clear(&outcome);
}
END_TEST

static json_t *undeclared(struct sm_job *job)
{
	ck_assert_str_eq(sm_str(job, "typo"), "");
	ck_assert(sm_int(job, "typo") == 0);
	return json_true();
}

static json_t *wrong_accessor(struct sm_job *job)
{
	sm_int(job, "value");
	return sm_raise(job, "ValueError", "hides nothing");
}

static json_t *too_large(struct sm_job *job)
{
	return json_integer(sm_int(job, "value"));
}

START_TEST(an_authors_mistake_is_a_system_error)
{
	run_with(undeclared, "value", "[1]", "{}");
	check_failure("builtins", "SystemError",
		      "[\"app.send asks for 'typo', which its signature does not declare\"]");
	run_with(wrong_accessor, "value", "[\"x\"]", "{}");
	check_failure("builtins", "SystemError",
		      "[\"app.send reads 'value' with sm_int, which is not of that type\"]");
	run_with(too_large, "value", "[99999999999999999999]", "{}");
	ck_assert_str_eq(outcome.exc_type, "OverflowError");
	outcome_clear(&outcome);
}
END_TEST

static json_t *read_request(struct sm_job *job)
{
	ck_assert_str_eq(sm_id(job), "id-1");
	ck_assert_str_eq(sm_name(job), "app.send");
	ck_assert_int_eq(sm_retries(job), 1);
	ck_assert_int_eq(sm_max_retries(job), 3);
	ck_assert(sm_is_redelivered(job));
	ck_assert_str_eq(sm_setting(job, "email_host"), "mail.example");
	ck_assert_str_eq(sm_setting(job, "unset"), "");
	ck_assert_ptr_null(sm_header(job, "absent"));
	return sm_header(job, "tenant") ? json_incref(sm_header(job, "tenant")) : json_null();
}

/* T-9 T-182 */
START_TEST(the_request_can_be_read)
{
	custom = "{\"tenant\": [1], \"celery_beat_task\": true}";
	run(read_request);
	check_success("[1]");
	custom = NULL;
	run(read_request);
	check_success("null");
	outcome_clear(&outcome);
}
END_TEST

/* --- on the way ----------------------------------------------------------------------------- */

static char order[8];

static void note(void *mark)
{
	strncat(order, mark, 1);
}

static json_t *clean_up(struct sm_job *job)
{
	char a[] = "a", *text = sm_printf(job, "%s-%d", "x", 5);
	char *block = sm_alloc(job, 100);

	(void)a;
	for (int i = 0; i < 100; i++)
		ck_assert_int_eq(block[i], 0);
	sm_defer(job, note, memcpy(sm_alloc(job, 2), "1", 2));
	sm_defer(job, note, memcpy(sm_alloc(job, 2), "2", 2));
	ck_assert_str_eq(order, "");
	return json_string(text);
}

START_TEST(what_was_deferred_runs_last_first)
{
	run(clean_up);
	check_success("\"x-5\"");
	ck_assert_str_eq(order, "21");
	outcome_clear(&outcome);
}
END_TEST

static json_t *report(struct sm_job *job)
{
	sm_progress(job, 1, 3);
	sm_update_state(job, "UPLOADING", json_pack("{s:s}", "file", "\xc3\xa9"));
	sm_update_state(job, "BARE", NULL);
	return json_true();
}

/* T-114, the task's part */
START_TEST(states_leave_as_json)
{
	run(report);
	ck_assert_str_eq(states, "PROGRESS={\"current\": 1, \"total\": 3};"
				 "UPLOADING={\"file\": \"\\u00e9\"};BARE=null;");
	outcome_clear(&outcome);
}
END_TEST

static json_t *sleepy(struct sm_job *job)
{
	int64_t begin_us = clock_mono_us();
	int ret = sm_sleep(job, 0.1);
	int64_t took_us = clock_mono_us() - begin_us;

	if (ret == 0) {
		ck_assert_int_ge(took_us, 100000);
		ck_assert(!sm_expired(job));
	} else {
		ck_assert_int_lt(took_us, 50000);
		ck_assert(sm_expired(job));
	}
	return json_integer(ret);
}

START_TEST(sleep_ends_early_when_expired)
{
	run(sleepy);
	check_success("0");
	expired = 1;
	run(sleepy);
	check_success("-1");
	outcome_clear(&outcome);
}
END_TEST

static json_t *render(struct sm_job *job)
{
	json_t *context = json_object();
	const char *text = sm_render(job, "no/such.html", context);

	json_decref(context);
	return text ? json_string(text) : NULL;
}

START_TEST(a_missing_template_raises)
{
	run(render);
	ck_assert_int_eq(outcome.kind, OUTCOME_FAILURE);
	ck_assert_str_eq(outcome.exc_module, "jinja2.exceptions");
	ck_assert_str_eq(outcome.exc_type, "TemplateNotFound");
	outcome_clear(&outcome);
}
END_TEST

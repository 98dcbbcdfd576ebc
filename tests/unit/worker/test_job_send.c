/* Signatures, sending and retries as a task author sees them. */
#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "protocol/pyjson.h"
#include "worker/task/job.h"
#include "worker/task/job_request.h"

static struct outcome outcome;
static struct str sent; /* lines */

static enum job_send_result take(void *ctx, enum job_send how, const char *signature, size_t len)
{
	(void)ctx;
	if (sent.max == 0)
		str_init(&sent, STR_MAX_DEFAULT);
	str_addf(&sent, "%d %.*s\n", (int)how, (int)len, signature);
	return JOB_SENT;
}

static enum job_send_result refuse(void *ctx, enum job_send how, const char *signature, size_t len)
{
	(void)ctx, (void)how, (void)signature, (void)len;
	return JOB_SEND_EXPIRED;
}

static struct job_host host = {.send = take, .hostname = "w@h"};
static struct job_run_args args;

static void run_with(json_t *(*body)(struct sm_job *), const char *signature)
{
	struct sm_task task = {.name = "app.f", .signature = signature, .run = body};
	struct sm_plugin plugin = {.name = "p", .tasks = SM_TASKS(&task)};
	struct registry *r = registry_new();

	outcome_clear(&outcome);
	str_clear(&sent);
	ck_assert_int_eq(registry_add_plugin(r, &plugin, NULL, NULL), 0);
	args.task = registry_at(r, 0);
	args.id = "id-1";
	if (!args.args.data)
		args.args = (struct span){"[]", 2};
	if (!args.kwargs.data)
		args.kwargs = (struct span){"{}", 2};
	job_run(&args, &host, &outcome);
	registry_free(r);
}

static void run(json_t *(*body)(struct sm_job *))
{
	run_with(body, "*rest, **extra");
}

static void check_json(json_t *value, const char *expected)
{
	auto_str out = STR_INIT(STR_MAX_DEFAULT);

	ck_assert_ptr_nonnull(value);
	pyjson_dump(&out, value);
	ck_assert_str_eq(out.data, expected);
	json_decref(value);
}

#define ADD(ARGS, OPTIONS, IMMUTABLE)                                                              \
	"{\"task\": \"x.add\", \"args\": " ARGS ", \"kwargs\": {}, \"options\": {" OPTIONS         \
	"}, \"subtask_type\": null, \"immutable\": " IMMUTABLE "}"

static json_t *add_(int n)
{
	return sm_signature("x.add", json_pack("[i]", n), NULL);
}

/* The texts are what Celery 5.7 writes. */
START_TEST(signatures_are_those_of_python)
{
	check_json(sm_signature("x.add", json_pack("[i]", 1), json_pack("{s:i}", "y", 2)),
		   "{\"task\": \"x.add\", \"args\": [1], \"kwargs\": {\"y\": 2}, \"options\": {}, "
		   "\"subtask_type\": null, \"immutable\": false}");
	check_json(sm_immutable(add_(1)), ADD("[1]", "", "true"));
	check_json(sm_chain(SM_LIST(add_(1), add_(2))),
		   "{\"task\": \"celery.chain\", \"args\": [], \"kwargs\": {\"tasks\": [" ADD(
			   "[1]", "", "false") ", " ADD("[2]", "",
							"false") "]}, \"options\": {}, "
								 "\"subtask_type\": \"chain\", "
								 "\"immutable\": false}");
	check_json(sm_immutable(sm_group(SM_LIST(add_(1)))),
		   "{\"task\": \"celery.group\", \"args\": [], \"kwargs\": {\"tasks\": [" ADD(
			   "[1]", "", "true") "]}, \"options\": {}, \"subtask_type\": \"group\", "
					      "\"immutable\": false}");
	check_json(sm_link(sm_chord(SM_LIST(add_(1)), add_(2)), add_(3)),
		   "{\"task\": \"celery.chord\", \"args\": [], \"kwargs\": {\"kwargs\": {}, "
		   "\"header\": [" ADD("[1]", "", "false") "], \"body\": " ADD(
			   "[2]", "\"link\": [" ADD("[3]", "", "false") "]",
			   "false") "}, \"options\": {}, \"subtask_type\": \"chord\", "
				    "\"immutable\": false}");
	check_json(
		sm_map("x.add", json_pack("[ii]", 1, 2)),
		"{\"task\": \"celery.map\", \"args\": [], \"kwargs\": {\"task\": " ADD(
			"[]", "", "false") ", \"it\": [1, 2]}, \"options\": {}, \"subtask_type\": "
					   "null, \"immutable\": true}");
}
END_TEST

START_TEST(chunks_are_a_group_of_starmaps)
{
	json_t *group = sm_chunks("x.add", json_pack("[[i][i][i]]", 1, 2, 3), 2);
	json_t *members = json_object_get(json_object_get(group, "kwargs"), "tasks");
	json_t *second = json_object_get(json_array_get(members, 1), "kwargs");

	ck_assert_uint_eq(json_array_size(members), 2);
	check_json(json_incref(json_object_get(second, "it")), "[[3]]");
	json_decref(group);
}
END_TEST

START_TEST(links_go_where_python_puts_them)
{
	check_json(sm_link_error(sm_group(SM_LIST(add_(1), add_(2))), add_(4)),
		   "{\"task\": \"celery.group\", \"args\": [], \"kwargs\": {\"tasks\": [" ADD(
			   "[1]", "\"link_error\": [" ADD("[4]", "", "false") "]",
			   "false") ", " ADD("[2]", "\"link_error\": [" ADD("[4]", "", "false") "]",
					     "false") "]}, \"options\": {}, \"subtask_type\": "
						      "\"group\", \"immutable\": false}");
	check_json(sm_link(sm_set(add_(1), "link", add_(2)), add_(3)),
		   ADD("[1]",
		       "\"link\": [" ADD("[2]", "", "false") ", " ADD("[3]", "", "false") "]",
		       "false"));
}
END_TEST

START_TEST(what_is_missing_makes_the_whole_missing)
{
	ck_assert_ptr_null(sm_chain(SM_LIST(add_(1), NULL)));
	ck_assert_ptr_null(sm_chord(SM_LIST(add_(1)), NULL));
	ck_assert_ptr_null(sm_link(add_(1), NULL));
	ck_assert_ptr_null(sm_link_error(NULL, add_(1)));
	ck_assert_ptr_null(sm_set(add_(1), "queue", NULL));
	ck_assert_ptr_null(sm_map("x.add", NULL));
}
END_TEST

static json_t *send_two(struct sm_job *job)
{
	json_t *signature = sm_set(add_(1), "countdown", json_real(0.5));
	const char *first = sm_send(job, json_incref(signature));
	const char *second = sm_send(job, signature);

	return json_pack("[ss]", first, second);
}

START_TEST(each_sending_has_an_id_of_its_own)
{
	json_t *ids;
	auto_free char *expected = NULL;

	run(send_two);
	ck_assert_int_eq(outcome.kind, OUTCOME_SUCCESS);
	ids = json_loads(outcome.result, 0, NULL);
	ck_assert_str_ne(json_string_value(json_array_get(ids, 0)),
			 json_string_value(json_array_get(ids, 1)));
	expected = mem_printf(
		"0 " ADD("[1]", "\"countdown\": 0.5, \"task_id\": \"%s\"", "false") "\n0 " ADD(
			"[1]", "\"countdown\": 0.5, \"task_id\": \"%s\"", "false") "\n",
		json_string_value(json_array_get(ids, 0)),
		json_string_value(json_array_get(ids, 1)));
	ck_assert_str_eq(sent.data, expected);
	json_decref(ids);
}
END_TEST

static json_t *send_composites(struct sm_job *job)
{
	json_t *ids = json_array();
	json_t *body = sm_set(add_(3), "task_id", json_string("body"));
	json_t *group = sm_set(sm_group(SM_LIST(add_(1))), "task_id", json_string("group"));

	json_array_append_new(
		ids, json_string(sm_send(
			     job, sm_chain(SM_LIST(add_(1), sm_chord(SM_LIST(add_(2)), body))))));
	json_array_append_new(ids, json_string(sm_send(job, group)));
	json_array_append_new(ids, json_string(sm_send(job, sm_chain(SM_LIST(add_(1))))));
	return ids;
}

START_TEST(the_id_is_that_of_the_whole_result)
{
	run(send_composites);
	ck_assert_int_eq(outcome.kind, OUTCOME_SUCCESS);
	ck_assert_int_eq(strncmp(outcome.result, "[\"body\", \"group\", ", 18), 0);
	ck_assert_uint_eq(strlen(outcome.result), 18 + 38 + 1);
}
END_TEST

static json_t *send_nothing(struct sm_job *job)
{
	const char *id = sm_send(job, sm_chain(json_array()));

	ck_assert_ptr_null(id);
	return NULL;
}

static json_t *send_odd(struct sm_job *job)
{
	return sm_send(job, sm_set(add_(1), "countdown", json_string("soon"))) ? json_null() : NULL;
}

static json_t *send_missing(struct sm_job *job)
{
	return sm_send(job, NULL) ? json_null() : NULL;
}

static json_t *send_one(struct sm_job *job)
{
	return sm_send(job, add_(1)) ? json_null() : NULL;
}

static void check_raised(const char *module, const char *type, const char *text)
{
	ck_assert_int_eq(outcome.kind, OUTCOME_FAILURE);
	ck_assert_str_eq(outcome.exc_module, module);
	ck_assert_str_eq(outcome.exc_type, type);
	ck_assert_str_eq(outcome.exc_text, text);
	ck_assert_uint_eq(sent.len, 0);
}

START_TEST(what_cannot_be_sent_raises)
{
	run(send_nothing);
	check_raised("builtins", "ValueError", "there is nothing to send");
	run(send_missing);
	check_raised("builtins", "ValueError", "there is nothing to send");
	run(send_odd);
	check_raised("builtins", "ValueError", "the signature of x.add has an unusable countdown");
	host.send = NULL;
	run(send_one);
	check_raised("builtins", "RuntimeError", "no task can be sent from here");
	host.send = refuse;
	run(send_one);
	check_raised("billiard.exceptions", "SoftTimeLimitExceeded", "SoftTimeLimitExceeded()");
	host.send = take;
}
END_TEST

static json_t *grow(struct sm_job *job)
{
	return sm_add_to_chord(job, add_(1)) ? json_null() : NULL;
}

START_TEST(only_a_member_of_a_chord_makes_it_larger)
{
	run(grow);
	check_raised("builtins", "ValueError", "Current task is not member of any chord");
	args.chord = (struct span){"{}", 2};
	run(grow);
	ck_assert_int_eq(outcome.kind, OUTCOME_SUCCESS);
	ck_assert_int_eq(strncmp(sent.data, "1 {", 3), 0);
	args.chord = (struct span){0};
}
END_TEST

static json_t *request(struct sm_job *job)
{
	return json_incref(sm_request(job));
}

START_TEST(the_request_has_the_names_of_python)
{
	struct task_message m;
	auto_str bytes = STR_INIT(STR_MAX_DEFAULT);

	task_message_init(&m);
	m.root_id = "root";
	m.exchange = "";
	m.routing_key = "q";
	m.expires_us = 1000000;
	m.time_limit_s = 1.5;
	m.stamps = "{\"s\": 1}";
	job_request_put(&bytes, &m);
	args.request = (struct span){bytes.data, bytes.len};
	args.args = (struct span){"[1]", 3};
	args.chain = (struct span){"[{}]", 4};
	args.custom_headers = (struct span){"{\"h\": \"v\"}", 10};
	args.retries = 2;
	args.is_redelivered = true;
	run(request);
	ck_assert_int_eq(outcome.kind, OUTCOME_SUCCESS);
	ck_assert_str_eq(
		outcome.result,
		"{\"lang\": null, \"task\": \"app.f\", \"id\": \"id-1\", \"shadow\": null, "
		"\"eta\": null, "
		"\"expires\": \"1970-01-01T00:00:01+00:00\", \"retries\": 2, \"timelimit\": [1.5, "
		"null], "
		"\"root_id\": \"root\", \"parent_id\": null, \"group\": null, \"group_index\": "
		"null, "
		"\"callbacks\": null, \"errbacks\": null, \"chain\": [{}], \"chord\": null, "
		"\"replaced_task_nesting\": 0, \"stamped_headers\": null, \"stamps\": {\"s\": 1}, "
		"\"argsrepr\": null, \"kwargsrepr\": null, \"origin\": null, \"ignore_result\": "
		"null, "
		"\"args\": [1], \"kwargs\": {}, \"headers\": {\"h\": \"v\"}, \"correlation_id\": "
		"null, "
		"\"reply_to\": null, \"delivery_info\": {\"exchange\": \"\", \"routing_key\": "
		"\"q\", "
		"\"priority\": null, \"redelivered\": true}, \"hostname\": \"w@h\"}");
	args = (struct job_run_args){0};
	run(request);
	ck_assert_int_eq(outcome.kind, OUTCOME_SUCCESS);
}
END_TEST

static const char *again_options;
static json_t *again(struct sm_job *job)
{
	return sm_retry_with(job, json_loads(again_options, 0, NULL), "ValueError",
			     json_pack("[s]", "why"));
}

static void retry_with(const char *options)
{
	again_options = options;
	run_with(again, "a, b = 0, *, c = None");
}

START_TEST(a_retry_changes_what_it_names)
{
	args.args = (struct span){"[1, 2]", 6};
	args.kwargs = (struct span){"{\"c\": 3}", 8};
	retry_with("{\"countdown\": 2, \"max_retries\": 7, \"queue\": \"slow\"}");
	ck_assert_int_eq(outcome.kind, OUTCOME_RETRY);
	ck_assert(outcome.countdown_s == 2 && outcome.max_retries == 7);
	ck_assert(outcome.eta_us == TIME_UNSET);
	ck_assert_str_eq(outcome.exc_repr, "ValueError('why')");
	ck_assert_str_eq(outcome.changes,
			 "{\"task\": \"app.f\", \"options\": {\"queue\": \"slow\"}}");
	retry_with("{\"eta\": \"1970-01-01T00:00:02\"}");
	ck_assert(outcome.eta_us == 2000000 && outcome.max_retries == OUTCOME_TASKS_OWN);
	ck_assert_ptr_null(outcome.changes);
	retry_with("{\"kwargs\": {\"b\": 9, \"c\": 4}}");
	ck_assert_str_eq(outcome.changes, "{\"task\": \"app.f\", \"args\": [1, 9], \"kwargs\": "
					  "{\"c\": 4}, \"options\": {}}");
	args = (struct job_run_args){.kwargs = {"{\"a\": 1, \"c\": 3}", 16}};
	retry_with("{\"args\": [5]}");
	ck_assert_str_eq(outcome.changes, "{\"task\": \"app.f\", \"args\": [5], \"kwargs\": "
					  "{\"c\": 3}, \"options\": {}}");
	args = (struct job_run_args){0};
}
END_TEST

START_TEST(a_retry_that_makes_no_sense_is_a_mistake)
{
	args.args = (struct span){"[1]", 3};
	retry_with("{\"cuontdown\": 2}");
	check_raised("builtins", "TypeError", "sm_retry_with: unusable 'cuontdown'");
	retry_with("{\"max_retries\": \"many\"}");
	check_raised("builtins", "TypeError", "sm_retry_with: unusable 'max_retries'");
	retry_with("{\"eta\": \"tomorrow\"}");
	check_raised("builtins", "ValueError", "the signature of app.f has an unusable eta");
	args = (struct job_run_args){0};
}
END_TEST

#include "base/log.h"

#include <check.h>
#include <errno.h>
#include <jansson.h>
#include <pthread.h>
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static char path[64];
static char text[300000];

/* Every test runs in its own process, so the settings of one do not reach the next. */
static void open_log(enum log_format format, enum log_level level)
{
	(void)snprintf(path, sizeof(path), "/tmp/test_log.%d.log", (int)getpid());
	(void)unlink(path);
	ck_assert_int_eq(log_open(path, format, level), 0);
}

static const char *read_log(void)
{
	FILE *file = fopen(path, "r");
	size_t len;

	ck_assert_ptr_nonnull(file);
	len = fread(text, 1, sizeof(text) - 1, file);
	text[len] = '\0';
	(void)fclose(file);
	(void)unlink(path);
	return text;
}

static void assert_matches(const char *subject, const char *pattern)
{
	regex_t regex;

	ck_assert_int_eq(regcomp(&regex, pattern, REG_EXTENDED | REG_NOSUB), 0);
	ck_assert_msg(regexec(&regex, subject, 0, NULL, 0) == 0, "%s", subject);
	regfree(&regex);
}

static json_t *read_json(void)
{
	json_error_t error;
	const char *line = read_log();
	json_t *record = json_loads(line, 0, &error);

	ck_assert_msg(record != NULL, "%s: %s", error.text, line);
	ck_assert_ptr_eq(strchr(line, '\n'), line + strlen(line) - 1);
	return record;
}

static const char *member(const json_t *record, const char *key)
{
	return json_string_value(json_object_get(record, key));
}

START_TEST(a_text_record_looks_like_celerys)
{
	open_log(LOG_TEXT, LOG_INFO);
	log_info("celery@%s ready.", "host");
	assert_matches(read_log(),
		       "^\\[[0-9]{4}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2},[0-9]{3}: "
		       "INFO/MainProcess\\] celery@host ready\\.\n$");
}
END_TEST

START_TEST(text_time_is_local_time)
{
	char expected[32];
	time_t now = time(NULL) + 14 * 3600;
	struct tm shifted;

	ck_assert_int_eq(setenv("TZ", "XXX-14", 1), 0); /* 14 hours ahead */
	tzset();
	open_log(LOG_TEXT, LOG_INFO);
	(void)gmtime_r(&now, &shifted);
	(void)strftime(expected, sizeof(expected), "[%Y-%m-%d %H:", &shifted);
	log_info("x");
	ck_assert_int_eq(strncmp(read_log(), expected, strlen(expected)), 0);
}
END_TEST

START_TEST(lines_of_a_traceback_stay_and_control_characters_go)
{
	open_log(LOG_TEXT, LOG_INFO);
	log_error("Traceback:\n\tline \x1b[31mred\r\x7f");
	ck_assert_ptr_nonnull(strstr(read_log(), "ERROR/MainProcess] Traceback:\n\tline "
						 "\\x1b[31mred\\x0d\\x7f\n"));
}
END_TEST

START_TEST(records_below_the_level_are_not_written)
{
	open_log(LOG_TEXT, LOG_WARNING);
	log_info("quiet");
	log_debug("quieter");
	log_warning("loud");
	ck_assert(!log_is_on(LOG_INFO));
	log_set_level(LOG_DEBUG);
	log_debug("now heard");
	(void)read_log();
	ck_assert_ptr_null(strstr(text, "quiet"));
	ck_assert_ptr_nonnull(strstr(text, "WARNING/MainProcess] loud\n"));
	ck_assert_ptr_nonnull(strstr(text, "DEBUG/MainProcess] now heard\n"));
}
END_TEST

START_TEST(a_json_record_is_one_line_with_its_context)
{
	const struct log_ctx ctx = {.task_id = "id-1", .task_name = "mail.send", .tenant = "a\"b"};
	json_t *record;

	open_log(LOG_JSON, LOG_INFO);
	log_set_process("PoolWorker-2");
	log_write(LOG_CRITICAL, &ctx, "two\nlines \"quoted\" back\\slash caf\xc3\xa9 \x01\x7f");
	record = read_json();
	assert_matches(member(record, "time"),
		       "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\\.[0-9]{3}Z$");
	ck_assert_str_eq(member(record, "level"), "CRITICAL");
	ck_assert_str_eq(member(record, "process"), "PoolWorker-2");
	ck_assert_str_eq(member(record, "message"),
			 "two\nlines \"quoted\" back\\slash caf\xc3\xa9 \x01\x7f");
	ck_assert_str_eq(member(record, "task_id"), "id-1");
	ck_assert_str_eq(member(record, "task_name"), "mail.send");
	ck_assert_str_eq(member(record, "tenant"), "a\"b");
	json_decref(record);
}
END_TEST

START_TEST(json_without_context_has_no_empty_members)
{
	json_t *record;

	open_log(LOG_JSON, LOG_INFO);
	log_write(LOG_INFO, &(struct log_ctx){.task_id = "x"}, "m");
	record = read_json();
	ck_assert_uint_eq(json_object_size(record), 5);
	json_decref(record);
}
END_TEST

START_TEST(bytes_that_are_not_utf8_are_replaced_in_json)
{
	json_t *record;

	open_log(LOG_JSON, LOG_INFO);
	log_info("a\xff\xc3(\xe2\x82");
	record = read_json();
	ck_assert_str_eq(member(record, "message"),
			 "a\xef\xbf\xbd\xef\xbf\xbd(\xef\xbf\xbd\xef\xbf\xbd");
	json_decref(record);
}
END_TEST

START_TEST(auto_is_json_when_nobody_watches)
{
	open_log(LOG_AUTO, LOG_INFO);
	log_info("x");
	json_decref(read_json());
}
END_TEST

START_TEST(a_long_message_is_cut)
{
	char *longer = calloc(1, 200001);

	memset(longer, 'z', 200000);
	open_log(LOG_TEXT, LOG_INFO);
	log_info("%s", longer);
	free(longer);
	ck_assert_uint_gt(strlen(read_log()), 60000);
	ck_assert_uint_lt(strlen(text), 70000);
	ck_assert_int_eq(text[strlen(text) - 1], '\n');
}
END_TEST

START_TEST(a_file_that_cannot_be_opened_is_an_error_and_changes_nothing)
{
	open_log(LOG_TEXT, LOG_INFO);
	ck_assert_int_eq(log_open("/nonexistent/dir/log", LOG_TEXT, LOG_INFO), -1);
	ck_assert_int_eq(errno, ENOENT);
	log_info("still here");
	ck_assert_ptr_nonnull(strstr(read_log(), "still here"));
}
END_TEST

START_TEST(before_it_is_opened_the_log_is_standard_error)
{
	(void)snprintf(path, sizeof(path), "/tmp/test_log.%d.err", (int)getpid());
	ck_assert_ptr_nonnull(freopen(path, "w", stderr));
	log_debug("no");
	log_info("yes");
	assert_matches(read_log(), "^\\[.*: INFO/MainProcess\\] yes\n$");
}
END_TEST

START_TEST(errno_survives_a_record)
{
	open_log(LOG_TEXT, LOG_INFO);
	errno = EAGAIN;
	log_info("x");
	ck_assert_int_eq(errno, EAGAIN);
	(void)read_log();
}
END_TEST

static void *write_hundred(void *name)
{
	log_set_thread(name);
	for (int i = 0; i < 100; i++)
		log_info("0123456789012345678901234567890123456789");
	return NULL;
}

START_TEST(threads_have_their_names_and_whole_lines)
{
	static char names[2][16] = {"Thread-1", "Thread-2"};
	pthread_t threads[2];
	char *line, *rest = text;
	int lines = 0;

	open_log(LOG_TEXT, LOG_INFO);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_create(&threads[i], NULL, write_hundred, names[i]), 0);
	for (int i = 0; i < 2; i++)
		ck_assert_int_eq(pthread_join(threads[i], NULL), 0);
	(void)read_log();
	for (; (line = strsep(&rest, "\n")) && *line; lines++)
		assert_matches(line, "^\\[[^]]*: INFO/Thread-[12]\\] [0-9]{40}$");
	ck_assert_int_eq(lines, 200);
}
END_TEST

START_TEST(levels_have_names_in_any_case)
{
	ck_assert_int_eq(log_level_parse("debug", LOG_INFO), LOG_DEBUG);
	ck_assert_int_eq(log_level_parse("Warning", LOG_INFO), LOG_WARNING);
	ck_assert_int_eq(log_level_parse("CRITICAL", LOG_INFO), LOG_CRITICAL);
	ck_assert_int_eq(log_level_parse("fatal", LOG_INFO), LOG_CRITICAL);
	ck_assert_int_eq(log_level_parse("loud", LOG_ERROR), LOG_ERROR);
	ck_assert_int_eq(log_level_parse(NULL, LOG_ERROR), LOG_ERROR);
	ck_assert_str_eq(log_level_name(LOG_ERROR), "ERROR");
}
END_TEST

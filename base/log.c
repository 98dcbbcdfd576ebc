#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log_sink.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"

enum {
	LOG_MESSAGE_MAX = 64 * 1024, /* longer ones are cut: a traceback, not a data dump */
	LOG_LINE_MAX = 8 * LOG_MESSAGE_MAX,
	LOG_NAME_MAX = 64,
};

/*
 * Settings change at the start, before or between records; what may change while threads write is
 * atomic.
 */
static struct {
	int fd; /* of the file, or standard error */
	struct log_sink sink;
	pthread_mutex_t lock; /* of a sink that may refuse */
	bool is_json;
	_Atomic(enum log_level) level;
	char process[LOG_NAME_MAX];
} the_log = {.fd = STDERR_FILENO,
	     .sink = {.fd = STDERR_FILENO},
	     .lock = PTHREAD_MUTEX_INITIALIZER,
	     .level = LOG_INFO,
	     .process = "MainProcess"};

static _Thread_local char thread_name[LOG_NAME_MAX];

static const char *const level_names[LOG_LEVEL_COUNT] = {
	[LOG_DEBUG] = "DEBUG", [LOG_INFO] = "INFO",	    [LOG_WARNING] = "WARNING",
	[LOG_ERROR] = "ERROR", [LOG_CRITICAL] = "CRITICAL",
};

int log_open(const char *path, enum log_format format, enum log_level level)
{
	int fd = STDERR_FILENO;

	if (path) {
		fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
		if (fd < 0)
			return -1;
	}
	log_sink_close(&the_log.sink);
	if (the_log.fd != STDERR_FILENO)
		(void)close(the_log.fd);
	the_log.fd = fd;
	log_sink_open(&the_log.sink, fd);
	the_log.is_json = format == LOG_JSON || (format == LOG_AUTO && !isatty(fd));
	log_set_level(level);
	return 0;
}

void log_set_level(enum log_level level)
{
	atomic_store_explicit(&the_log.level, level, memory_order_relaxed);
}

bool log_is_on(enum log_level level)
{
	return level >= atomic_load_explicit(&the_log.level, memory_order_relaxed);
}

void log_set_process(const char *name)
{
	(void)snprintf(the_log.process, sizeof(the_log.process), "%s", name);
}

void log_set_thread(const char *name)
{
	(void)snprintf(thread_name, sizeof(thread_name), "%s", name ? name : "");
}

enum log_level log_level_parse(const char *name, enum log_level otherwise)
{
	if (!name)
		return otherwise;
	for (int i = 0; i < LOG_LEVEL_COUNT; i++)
		if (strcasecmp(name, level_names[i]) == 0)
			return (enum log_level)i;
	/* Names Python's logging knows as well. */
	if (strcasecmp(name, "WARN") == 0)
		return LOG_WARNING;
	if (strcasecmp(name, "FATAL") == 0)
		return LOG_CRITICAL;
	return otherwise;
}

const char *log_level_name(enum log_level level)
{
	return level_names[level];
}

/* Local time with milliseconds, as Python's logging writes it. */
static void add_local_time(struct str *line, int64_t now_us)
{
	time_t seconds = (time_t)(now_us / 1000000);
	struct tm local = {0};
	char text[32];

	(void)localtime_r(&seconds, &local);
	(void)strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &local);
	(void)str_addf(line, "%s,%03d", text, (int)(now_us / 1000 % 1000));
}

static void add_utc_time(struct str *line, int64_t now_us)
{
	time_t seconds = (time_t)(now_us / 1000000);
	struct tm utc = {0};
	char text[32];

	(void)gmtime_r(&seconds, &utc);
	(void)strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%S", &utc);
	(void)str_addf(line, "%s.%03dZ", text, (int)(now_us / 1000 % 1000));
}

/* Text from the network must not move a terminal's cursor; lines of a traceback stay lines. */
static void add_printable(struct str *line, const char *text)
{
	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if ((c < 0x20 && c != '\n' && c != '\t') || c == 0x7f)
			(void)str_addf(line, "\\x%02x", c);
		else
			(void)str_addc(line, *text);
	}
}

static size_t utf8_char_len(const char *text)
{
	size_t left = strnlen(text, 4);

	for (size_t len = 1; len <= left; len++)
		if (utf8_is_valid(text, len))
			return len;
	return 0;
}

static void add_json_string(struct str *line, const char *text)
{
	(void)str_addc(line, '"');
	while (*text) {
		unsigned char c = (unsigned char)*text;
		size_t len = c < 0x80 ? 1 : utf8_char_len(text);

		if (len == 0)
			(void)str_puts(line, "\xef\xbf\xbd"); /* U+FFFD */
		else if (c == '"' || c == '\\')
			(void)str_addf(line, "\\%c", c);
		else if (c == '\n')
			(void)str_puts(line, "\\n");
		else if (c < 0x20 || c == 0x7f)
			(void)str_addf(line, "\\u%04x", c);
		else
			(void)str_add(line, text, len);
		text += len ? len : 1;
	}
	(void)str_addc(line, '"');
}

static void add_json_member(struct str *line, const char *key, const char *value)
{
	if (!value)
		return;
	(void)str_addf(line, ", \"%s\": ", key);
	add_json_string(line, value);
}

static void compose(struct str *line, enum log_level level, const struct log_ctx *ctx,
		    const char *message)
{
	const char *process = thread_name[0] ? thread_name : the_log.process;
	int64_t now_us = clock_wall_us();

	if (!the_log.is_json) {
		(void)str_addc(line, '[');
		add_local_time(line, now_us);
		(void)str_addf(line, ": %s/%s] ", level_names[level], process);
		add_printable(line, message);
		(void)str_addc(line, '\n');
		return;
	}
	(void)str_puts(line, "{\"time\": \"");
	add_utc_time(line, now_us);
	(void)str_addf(line, "\", \"level\": \"%s\"", level_names[level]);
	add_json_member(line, "process", process);
	add_json_member(line, "message", message);
	if (ctx) {
		add_json_member(line, "task_id", ctx->task_id);
		add_json_member(line, "task_name", ctx->task_name);
		add_json_member(line, "tenant", ctx->tenant);
	}
	(void)str_puts(line, "}\n");
}

/* The text cut to the maximum; in `small` when it fits, else allocated. NULL = not formattable. */
__attribute__((format(printf, 3, 0))) static char *format_message(char *small, size_t size,
								  const char *fmt, va_list args)
{
	va_list again;
	char *message = small;
	int len;

	va_copy(again, args);
	len = vsnprintf(small, size, fmt, args);
	if (len >= (int)size) {
		size_t room = len < LOG_MESSAGE_MAX ? (size_t)len + 1 : LOG_MESSAGE_MAX;

		message = mem_alloc(room);
		(void)vsnprintf(message, room, fmt, again);
	}
	va_end(again);
	return len < 0 ? NULL : message;
}

/* In front of the first line that gets through again. */
static void put_with_notice(enum log_level level, const struct str *line)
{
	uint64_t dropped = log_sink_take_dropped(&the_log.sink);
	auto_str both = {.max = 2 * LOG_LINE_MAX};
	char notice[80];

	if (dropped == 0) {
		(void)log_sink_put(&the_log.sink, line->data, line->len);
		return;
	}
	(void)snprintf(notice, sizeof(notice),
		       "%llu lines of the log were dropped: nobody read them",
		       (unsigned long long)dropped);
	compose(&both, level < LOG_WARNING ? LOG_WARNING : level, NULL, notice);
	(void)str_add(&both, line->data, line->len);
	if (!log_sink_put(&the_log.sink, both.data, both.len))
		the_log.sink.dropped += dropped;
}

static void write_out(enum log_level level, const struct str *line)
{
	if (!the_log.sink.may_refuse) {
		(void)log_sink_put(&the_log.sink, line->data, line->len);
		return;
	}
	(void)pthread_mutex_lock(&the_log.lock);
	put_with_notice(level, line);
	(void)pthread_mutex_unlock(&the_log.lock);
}

void log_say(int fd, const char *text)
{
	struct log_sink sink;

	log_sink_open(&sink, fd);
	(void)log_sink_put(&sink, text, strlen(text));
	log_sink_close(&sink);
}

void log_write(enum log_level level, const struct log_ctx *ctx, const char *fmt, ...)
{
	int saved = errno; /* a caller may log and then report errno */
	auto_str line = {.max = LOG_LINE_MAX};
	char small[1024];
	char *message;
	va_list args;

	if (!log_is_on(level))
		return;
	va_start(args, fmt);
	message = format_message(small, sizeof(small), fmt, args);
	va_end(args);
	if (message) {
		compose(&line, level, ctx, message);
		write_out(level, &line);
	}
	if (message != small)
		free(message);
	errno = saved;
}

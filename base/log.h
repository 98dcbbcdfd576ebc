/*
 * The log: one line per record on standard error or a file, as text for people on a terminal or as
 * one JSON object per line. Only worker/ and cmd code logs above debug; lower rooms return errors.
 * Log calls never fail. A reader of standard error that does not read holds a call up for a quarter
 * of a second once (log_sink.h); lines that it does not take are dropped and counted. Safe to call
 * from several threads.
 *
 * Text form follows Celery's: "[2026-11-21 04:35:54,664: INFO/MainProcess] message". JSON form:
 * {"time": ISO 8601, "level": "INFO", "process": "MainProcess", "message": "...", ...context}.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARNING, LOG_ERROR, LOG_CRITICAL, LOG_LEVEL_COUNT };
enum log_format { LOG_AUTO, LOG_TEXT, LOG_JSON }; /* AUTO: text on a terminal, JSON otherwise */

/* Names the task a record is about; members may be NULL. In text form it is not printed apart
 * (messages already say name[id]); in JSON form members become keys. */
struct log_ctx {
	const char *task_id;
	const char *task_name;
	const char *tenant;
};

/* `path` NULL = standard error. Returns -1 with errno set when the file cannot be opened. */
int log_open(const char *path, enum log_format format, enum log_level level);
void log_set_level(enum log_level level);
/* What stands behind the level: "MainProcess", "PoolWorker-2". Copied. */
void log_set_process(const char *name);
/* The same for the calling thread alone (pool threads); NULL = the process's. Copied. */
void log_set_thread(const char *name);
bool log_is_on(enum log_level level);
enum log_level log_level_parse(const char *name, enum log_level otherwise); /* any case */
const char *log_level_name(enum log_level level);

/* Text for people that is no record, on one of the standard descriptors; lost when nobody reads. */
void log_say(int fd, const char *text);

void log_write(enum log_level level, const struct log_ctx *ctx, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

#define log_debug(...)                                                                             \
	do {                                                                                       \
		if (log_is_on(LOG_DEBUG))                                                          \
			log_write(LOG_DEBUG, NULL, __VA_ARGS__);                                   \
	} while (0)
#define log_info(...)	  log_write(LOG_INFO, NULL, __VA_ARGS__)
#define log_warning(...)  log_write(LOG_WARNING, NULL, __VA_ARGS__)
#define log_error(...)	  log_write(LOG_ERROR, NULL, __VA_ARGS__)
#define log_critical(...) log_write(LOG_CRITICAL, NULL, __VA_ARGS__)

#endif

/* The task API: what a body does while it runs. */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "base/str.h"
#include "protocol/pyjson.h"
#include "template/template.h"
#include "worker/task/job_state.h"

/* Either a block of memory (fn NULL) or a call to make. */
struct job_cleanup {
	struct job_cleanup *next;
	void (*fn)(void *);
	void *arg;
	max_align_t block[];
};

static struct job_cleanup *cleanup_push(struct job_state *state, size_t size)
{
	struct job_cleanup *c;

	if (size > SIZE_MAX - sizeof(*c))
		abort();
	c = mem_calloc(1, sizeof(*c) + size);
	c->next = state->cleanups;
	state->cleanups = c;
	return c;
}

void job_cleanup_run(struct job_state *state)
{
	while (state->cleanups) {
		struct job_cleanup *c = state->cleanups;

		state->cleanups = c->next;
		if (c->fn)
			c->fn(c->arg);
		free(c);
	}
}

void *sm_alloc(struct sm_job *job, size_t size)
{
	return cleanup_push(job->state, size)->block;
}

void sm_defer(struct sm_job *job, void (*fn)(void *), void *arg)
{
	struct job_cleanup *c = cleanup_push(job->state, 0);

	c->fn = fn;
	c->arg = arg;
}

char *sm_printf(struct sm_job *job, const char *fmt, ...)
{
	struct job_cleanup *c = cleanup_push(job->state, 0);
	va_list ap;

	va_start(ap, fmt);
	c->arg = job_text(fmt, ap);
	va_end(ap);
	c->fn = free;
	return c->arg;
}

bool sm_expired(const struct sm_job *job)
{
	return job->run->expired && atomic_load(job->run->expired) != 0;
}

/* Waits on the flag itself, so that a soft limit wakes it without any race with a signal. */
int sm_sleep(const struct sm_job *job, double seconds)
{
	static const _Atomic uint32_t never;
	const _Atomic uint32_t *flag = job->run->expired ? job->run->expired : &never;
	int64_t until_us;
	struct timespec until;

	if (!(seconds > 0))
		return sm_expired(job) ? -1 : 0;
	until_us = clock_mono_us() + (int64_t)(fmin(seconds, 1e9) * 1e6);
	until.tv_sec = (time_t)(until_us / 1000000);
	until.tv_nsec = (long)(until_us % 1000000) * 1000;
	while (atomic_load(flag) == 0) {
		/* FUTEX_WAIT_BITSET takes an absolute CLOCK_MONOTONIC time. */
		long r = syscall(SYS_futex, flag, FUTEX_WAIT_BITSET, 0, &until, NULL,
				 FUTEX_BITSET_MATCH_ANY);

		if (r != 0 && errno == ETIMEDOUT)
			return sm_expired(job) ? -1 : 0;
	}
	return -1;
}

void sm_update_state(struct sm_job *job, const char *state, json_t *meta)
{
	const char *fault = meta ? job_value_fault(meta, 0) : NULL;
	auto_str text;

	str_init(&text, STR_MAX_DEFAULT);
	if (fault)
		sm_log_warning(job, "state %s not sent: %s", state, fault);
	else if (job->host->update_state &&
		 (meta ? pyjson_dump(&text, meta) : str_puts(&text, "null")) == 0)
		job->host->update_state(job->host->ctx, state, text.data, text.len);
	json_decref(meta);
}

void sm_progress(struct sm_job *job, int64_t done, int64_t total)
{
	sm_update_state(
		job, "PROGRESS",
		json_pack("{s:I, s:I}", "current", (json_int_t)done, "total", (json_int_t)total));
}

/* Each run of other characters than those of a name is one "_". */
static void put_name(struct str *out, const char *text)
{
	static const char letters[] = "abcdefghijklmnopqrstuvwxyz0123456789_.-";
	char name[32];
	size_t len = 0;

	for (; *text && len < sizeof(name); text++) {
		char c = *text >= 'A' && *text <= 'Z' ? (char)(*text - 'A' + 'a') : *text;

		if (strchr(letters, c))
			name[len++] = c;
		else if (len == 0 || name[len - 1] != '_')
			name[len++] = '_';
	}
	str_add(out, len ? name : "_", len ? len : 1);
}

void sm_answered(struct sm_job *job, const char *service, const char *provider, const char *answer)
{
	struct str *out = &job->state->answers;
	size_t before = out->len;

	put_name(out, service);
	str_addc(out, '\t');
	put_name(out, provider);
	str_addc(out, '\t');
	put_name(out, answer);
	if (str_addc(out, '\n') == 0)
		return;
	out->len = before;
	if (out->data)
		out->data[before] = '\0';
}

const char *sm_render(struct sm_job *job, const char *name, const json_t *context)
{
	struct err err = {0};
	auto_str out;

	str_init(&out, STR_MAX_DEFAULT);
	if (template_render(job->host->template_dirs, name, context, &out, &err) == 0)
		return sm_printf(job, "%s", out.data ? out.data : "");
	sm_raise(job,
		 err.code == ERR_NOT_FOUND ? "jinja2.exceptions:TemplateNotFound"
					   : "jinja2.exceptions:TemplateSyntaxError",
		 "%s", err.text);
	return NULL;
}

__attribute__((format(printf, 3, 0))) static void
log_line(const struct sm_job *job, enum log_level level, const char *fmt, va_list ap)
{
	struct log_ctx ctx = {.task_id = job->run->id,
			      .task_name = job->run->task->name,
			      .tenant =
				      json_string_value(json_object_get(job->bound, "tenant_id"))};
	auto_free char *text = job_text(fmt, ap);

	log_write(level, &ctx, "%s[%s]: %s", ctx.task_name, ctx.task_id, text);
}

void sm_log_debug(const struct sm_job *job, const char *fmt, ...)
{
	va_list ap;

	if (!log_is_on(LOG_DEBUG))
		return;
	va_start(ap, fmt);
	log_line(job, LOG_DEBUG, fmt, ap);
	va_end(ap);
}

void sm_log_info(const struct sm_job *job, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(job, LOG_INFO, fmt, ap);
	va_end(ap);
}

void sm_log_warning(const struct sm_job *job, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(job, LOG_WARNING, fmt, ap);
	va_end(ap);
}

void sm_log_error(const struct sm_job *job, const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	log_line(job, LOG_ERROR, fmt, ap);
	va_end(ap);
}

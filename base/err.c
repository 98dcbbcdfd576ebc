#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static bool is_free(const struct err *err)
{
	return err && err->code == ERR_NONE;
}

int err_set(struct err *err, enum err_code code, const char *fmt, ...)
{
	va_list args;

	if (!is_free(err))
		return -1;
	err->code = code;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	return -1;
}

int err_errno(struct err *err, const char *fmt, ...)
{
	int number = errno; /* before anything below changes it */
	char reason[128];
	size_t used;
	va_list args;

	if (!is_free(err))
		return -1;
	err->code = ERR_IO;
	va_start(args, fmt);
	(void)vsnprintf(err->text, sizeof(err->text), fmt, args);
	va_end(args);
	used = strlen(err->text);
	(void)snprintf(err->text + used, sizeof(err->text) - used, ": %s",
		       strerror_r(number, reason, sizeof(reason)));
	errno = number;
	return -1;
}

int err_prefix(struct err *err, const char *fmt, ...)
{
	char front[sizeof(err->text)];
	size_t shift, keep;
	va_list args;

	if (!err || err->code == ERR_NONE)
		return -1;
	va_start(args, fmt);
	(void)vsnprintf(front, sizeof(front), fmt, args);
	va_end(args);
	/* What does not fit is cut from the end of the old text. */
	shift = strlen(front);
	keep = strlen(err->text);
	if (keep > sizeof(err->text) - 1 - shift)
		keep = sizeof(err->text) - 1 - shift;
	memmove(err->text + shift, err->text, keep);
	memcpy(err->text, front, shift);
	err->text[shift + keep] = '\0';
	return -1;
}

void err_clear(struct err *err)
{
	if (!err)
		return;
	err->code = ERR_NONE;
	err->text[0] = '\0';
}

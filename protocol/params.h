/*
 * A task's parameters, declared as the Python parameter list its callers see:
 *     "to: str, subject: str, body: str, html: str | None = None, *, tenant_id: any = None,
 * **extra" "x: float, /, *more: float" Types: any, str, int, float (takes int too), number (int,
 * float, Decimal), bool, list, dict; each may be followed by "| None". Defaults are JSON (or
 * Python's None, True, False). A tagged value (datetime, UUID, Decimal, bytes) passes as `str` too
 * and is bound as its text; a truth value passes as `int` and is bound as 0 or 1. Binding words its
 * errors as CPython 3.11 does.
 *
 * What a call binds to is one object, so two things that Python allows are not: "/" beside "**",
 * and an extra keyword with the name of the * parameter.
 */
#ifndef PROTOCOL_PARAMS_H
#define PROTOCOL_PARAMS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

struct params;

/* NULL with `err` telling line, column and caret when the text is wrong. */
struct params *params_parse(const char *signature, struct err *err);
void params_free(struct params *params);
/* Binds call arguments: a new object name -> value in declaration order (a list for what * took),
 * extras (**) merged behind.
 * On failure NULL and `err` holds the text of Python's TypeError, as in
 * "send() missing 1 required positional argument: 'to'"; `function` is the name in front. */
json_t *params_bind(const struct params *params, const char *function, const json_t *args,
		    const json_t *kwargs, struct err *err);
/* For a call that is repeated with other arguments. Of `args` and `kwargs` (both the caller's; one
 * may be NULL = as before) the missing one is made of the old ones, less what the given one
 * replaces; taken out of `kwargs` is what now stands in `args`. */
void params_call_again(const struct params *params, json_t **args, json_t **kwargs,
		       json_t *old_args, json_t *old_kwargs);
/* Appends the canonical text of the list. */
int params_format(struct str *out, const struct params *params);
/* Appends the list as a Python module may say it: typing.Any, decimal.Decimal, Python's literals.
 * `comma` stands between two of its parts: ", ", or with the end of a line. */
int params_format_python(struct str *out, const struct params *params, const char *comma);
/* No function of Python's can have a parameter or be of this name. */
bool params_is_keyword(const char *name);

#endif

#include "worker/task/outcome.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "protocol/pyjson.h"
#include "protocol/task_message.h"

/* Far above any sensible text; keeps one exception from filling the log and the events. */
#define REPR_MAX_CHARS	65536
#define REPR_MAX_LEVELS 64

void outcome_init(struct outcome *o, enum outcome_kind kind)
{
	*o = (struct outcome){.kind = kind,
			      .countdown_s = -1,
			      .eta_us = TIME_UNSET,
			      .max_retries = OUTCOME_TASKS_OWN};
}

void outcome_clear(struct outcome *o)
{
	free(o->result);
	free(o->exc_module);
	free(o->exc_type);
	free(o->exc_args);
	free(o->exc_text);
	free(o->exc_repr);
	free(o->traceback);
	free(o->answers);
	free(o->changes);
	outcome_init(o, o->kind);
}

json_t *outcome_string(const char *text)
{
	json_t *value = json_string(text);
	auto_str dumped = {0};

	if (value)
		return value;
	str_init(&dumped, STR_MAX_DEFAULT);
	if (pyjson_dump_str(&dumped, text, strlen(text)) == 0)
		value = pyjson_load(dumped.data, dumped.len, NULL);
	return value ? value : json_string("");
}

static void add_repr(struct str *out, const json_t *value, bool as_tuple)
{
	(void)pyjson_repr(out, value, REPR_MAX_CHARS, REPR_MAX_LEVELS, as_tuple);
}

/* str(exc): nothing, the one argument as text (KeyError shows its repr), or the tuple. */
static char *text_of(const char *module, const char *type, const json_t *args)
{
	const json_t *first = json_array_get(args, 0);
	bool is_key_error = strcmp(module, "builtins") == 0 && strcmp(type, "KeyError") == 0;
	auto_str out = {0};

	str_init(&out, STR_MAX_DEFAULT);
	/* Mirrors billiard/exceptions.py: these two print their type and the tuple. */
	if (strcmp(module, "billiard.exceptions") == 0 && strstr(type, "TimeLimitExceeded")) {
		str_puts(&out, type);
		add_repr(&out, args, true);
	} else if (json_array_size(args) > 1) {
		add_repr(&out, args, true);
	} else if (json_is_string(first) && !is_key_error) {
		str_add(&out, json_string_value(first), json_string_length(first));
	} else if (first) {
		add_repr(&out, first, false);
	}
	return str_detach(&out);
}

/* repr(str): the quote that the text does not hold, where there is one. */
static void add_text_repr(struct str *out, const char *text, size_t len)
{
	size_t keep = len < REPR_MAX_CHARS ? len : REPR_MAX_CHARS;
	char quote = memchr(text, '\'', len) && !memchr(text, '"', len) ? '"' : '\'';

	while (keep > 0 && keep < len && ((unsigned char)text[keep] & 0xc0) == 0x80)
		keep--; /* a whole character */
	str_addc(out, quote);
	for (size_t i = 0; i < keep; i++) {
		const char *escaped = text[i] == '\n'	? "\\n"
				      : text[i] == '\r' ? "\\r"
				      : text[i] == '\t' ? "\\t"
							: NULL;

		if (escaped)
			str_puts(out, escaped);
		else if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
			str_addf(out, "\\x%02x", (unsigned char)text[i]);
		else if (text[i] == quote || text[i] == '\\')
			str_addf(out, "\\%c", text[i]);
		else
			str_addc(out, text[i]);
	}
	str_addc(out, quote);
}

/* repr(exc), as BaseException does it: no comma behind a single argument. */
static char *repr_of(const char *type, const json_t *args)
{
	auto_str out = {0};

	str_init(&out, STR_MAX_DEFAULT);
	str_puts(&out, type);
	str_addc(&out, '(');
	for (size_t i = 0; i < json_array_size(args); i++) {
		const json_t *arg = json_array_get(args, i);

		if (i > 0)
			str_puts(&out, ", ");
		if (json_is_string(arg))
			add_text_repr(&out, json_string_value(arg), json_string_length(arg));
		else
			add_repr(&out, arg, false);
	}
	str_addc(&out, ')');
	return str_detach(&out);
}

void outcome_set_exception_args(struct outcome *o, const char *module, const char *type,
				const json_t *args)
{
	auto_str dumped = {0};

	free(o->exc_module);
	free(o->exc_type);
	free(o->exc_args);
	free(o->exc_text);
	free(o->exc_repr);
	str_init(&dumped, STR_MAX_DEFAULT);
	if (pyjson_dump(&dumped, args) != 0) {
		str_reset(&dumped);
		str_puts(&dumped, "[]");
	}
	o->exc_module = mem_strdup(module);
	o->exc_type = mem_strdup(type);
	o->exc_args = str_detach(&dumped);
	o->exc_text = text_of(module, type, args);
	o->exc_repr = repr_of(type, args);
}

void outcome_set_exception(struct outcome *o, const char *module, const char *type,
			   const char *text)
{
	json_t *args = json_array();

	if (text)
		json_array_append_new(args, outcome_string(text));
	outcome_set_exception_args(o, module, type, args);
	json_decref(args);
}

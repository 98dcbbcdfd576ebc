/* Arguments of commands as Python takes them, and answers as Python shows them. Pure. */
#ifndef WORKER_CONTROL_PYTHON_H
#define WORKER_CONTROL_PYTHON_H

#include "worker/control/control.h"

/* For jansson's functions that only count references. */
json_t *python_borrow(const json_t *value);
/* `value in list`, or `value == list` when it is none. */
bool python_has(const json_t *list, const json_t *value);
/* Takes a list and returns it without doubles, the first of each kept. */
json_t *python_set(json_t *list);
/* Appends repr(value): as pyjson_repr, but with Python's own choice of quotes. */
void python_put_repr(struct str *out, const json_t *value);
/* Appends the repr of the set of these: {'a', 'b'}, or set(). */
void python_put_set(struct str *out, const json_t *list);
/* Appends str(value). */
void python_put_text(struct str *out, const json_t *value);
/* {"ok": text} */
json_t *python_ok(const struct str *text);

/* A signal by name (TERM, SIGTERM) or number; nothing, or what is false, is SIGTERM. Source:
 * celery/platforms.py, Signals.signum(). */
bool python_signal(const json_t *value, int *ret_number, struct control_error *error);
/* A rate limit: "10/m", "10", 2.5; 0 = none. Source: celery/utils/time.py, rate(). */
bool python_rate(const json_t *value, double *ret_per_second, struct control_error *error);

#endif

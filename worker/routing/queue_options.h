/* Reading named values out of a mapping: strictly, as a settings file wants it, or taking what can
 * be understood, as Celery does with remote control. Internal to worker/routing. */
#ifndef WORKER_ROUTING_QUEUE_OPTIONS_H
#define WORKER_ROUTING_QUEUE_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"

struct queue_options {
	const json_t *values; /* an object, or NULL */
	const char *what;     /* for errors: "queue 'a'" */
	bool is_lenient;
	struct arena *texts; /* where texts are copied */
	struct err *err;     /* the first wrong value's; never of a lenient reader */
};

/* Each gives `otherwise` (or NULL) for what is missing or null. */
const char *options_text(struct queue_options *o, const char *key);
bool options_flag(struct queue_options *o, const char *key, bool otherwise);
bool options_has(const struct queue_options *o, const char *key); /* and it is not null */
/* An object as text, checked; NULL when it is missing or empty. */
const char *options_object(struct queue_options *o, const char *key);
/* 1, 2, "transient" or "persistent"; 0 = missing. */
int options_delivery_mode(struct queue_options *o, const char *key);
/* Not negative. */
bool options_number(struct queue_options *o, const char *key, double *ret_value);
/* Names that are none of these (NULL-terminated) are errors. */
void options_only(struct queue_options *o, const char *const *keys);

#endif

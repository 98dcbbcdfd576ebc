/* What stands behind backend.h: one const driver per kind of store. Inside backend/ only. */
#ifndef BACKEND_DRIVER_H
#define BACKEND_DRIVER_H

#include <jansson.h>

#include "backend/backend.h"

struct backend_driver {
	const char *const *schemes; /* NULL-terminated */
	struct backend *(*open)(const struct backend_options *options, struct err *err);
	void (*store)(struct backend *b, const struct backend_record *record, backend_done_fn *done,
		      void *ctx);
	void (*get)(struct backend *b, const char *task_id, backend_got_fn *done, void *ctx);
	enum backend_chords chords;
	/* NULL where there is nothing to do. */
	void (*chord_start)(struct backend *b, const struct backend_chord *chord,
			    backend_done_fn *done, void *ctx);
	void (*chord_add)(struct backend *b, const char *group_id, const char *task_id,
			  backend_done_fn *done, void *ctx);
	void (*chord_part)(struct backend *b, const struct backend_chord_part *part,
			   const struct backend_chord_events *events, void *ctx);
	void (*chord_end)(struct backend *b, const struct backend_chord_end *end,
			  backend_done_fn *done, void *ctx);
	void (*cleanup)(struct backend *b); /* NULL: what expires goes by itself */
	bool (*is_full)(const struct backend *b);
	void (*close)(struct backend *b, double deadline_s);
	void (*stats)(const struct backend *b, struct backend_stats *ret_stats);
};
/* result_backend_transport_options as a value, or NULL with `err`; a new reference. */
json_t *driver_options_read(const char *text, struct err *err);
/* What all keys begin with, to be freed; mostly "". */
char *driver_key_prefix(const json_t *options);

/* A driver's object begins with this. */
struct backend {
	const struct backend_driver *driver;
};
extern const struct backend_driver backend_redis_driver;
extern const struct backend_driver backend_file_driver;
extern const struct backend_driver backend_rpc_driver;
extern const struct backend_driver backend_sql_driver;
extern const struct backend_driver backend_memcached_driver;
extern const struct backend_driver backend_disabled_driver;

#endif

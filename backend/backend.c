#include "backend/driver.h"

#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"

static const struct backend_driver *const drivers[] = {
	&backend_redis_driver, &backend_file_driver,	  &backend_rpc_driver,
	&backend_sql_driver,   &backend_memcached_driver, &backend_disabled_driver,
};

static bool driver_speaks(const struct backend_driver *driver, const char *scheme, size_t len)
{
	for (const char *const *s = driver->schemes; *s != NULL; s++) {
		size_t own = strlen(*s);
		bool is_family = (*s)[own - 1] == '+'; /* "db+postgresql" */

		if (strncmp(*s, scheme, own) == 0 && (own == len || (is_family && own < len)))
			return true;
	}
	return false;
}

struct backend *backend_open(const struct backend_options *options, struct err *err)
{
	const char *url = options->url && options->url[0] ? options->url : "disabled://";
	size_t scheme_len = strcspn(url, ":");
	struct backend_options effective = *options;

	effective.url = url;
	for (size_t i = 0; i < sizeof(drivers) / sizeof(*drivers); i++)
		if (driver_speaks(drivers[i], url, scheme_len))
			return drivers[i]->open(&effective, err);
	err_set(err, ERR_UNSUPPORTED,
		"result_backend: '%.*s' is not spoken here; use redis://, redis+socket://, rpc://, "
		"db+postgresql://, db+sqlite:///, cache+memcached://, file:// or disabled://",
		scheme_len > 40 ? 40 : (int)scheme_len, url);
	return NULL;
}

void backend_store(struct backend *b, const struct backend_record *record, backend_done_fn *done,
		   void *ctx)
{
	b->driver->store(b, record, done, ctx);
}

void backend_get(struct backend *b, const char *task_id, backend_got_fn *done, void *ctx)
{
	b->driver->get(b, task_id, done, ctx);
}

enum backend_chords backend_chords(const struct backend *b)
{
	return b ? b->driver->chords : BACKEND_CHORDS_NONE;
}

void backend_chord_start(struct backend *b, const struct backend_chord *chord,
			 backend_done_fn *done, void *ctx)
{
	b->driver->chord_start(b, chord, done, ctx);
}

void backend_chord_add(struct backend *b, const char *group_id, const char *task_id,
		       backend_done_fn *done, void *ctx)
{
	b->driver->chord_add(b, group_id, task_id, done, ctx);
}

void backend_chord_part(struct backend *b, const struct backend_chord_part *part,
			const struct backend_chord_events *events, void *ctx)
{
	b->driver->chord_part(b, part, events, ctx);
}

void backend_chord_end(struct backend *b, const struct backend_chord_end *end,
		       backend_done_fn *done, void *ctx)
{
	b->driver->chord_end(b, end, done, ctx);
}

void backend_cleanup(struct backend *b)
{
	if (b->driver->cleanup)
		b->driver->cleanup(b);
}

bool backend_is_full(const struct backend *b)
{
	return b->driver->is_full(b);
}

void backend_close(struct backend *b, double deadline_s)
{
	b->driver->close(b, deadline_s);
}

void backend_stats(const struct backend *b, struct backend_stats *ret_stats)
{
	memset(ret_stats, 0, sizeof(*ret_stats));
	b->driver->stats(b, ret_stats);
}

json_t *driver_options_read(const char *text, struct err *err)
{
	json_t *options = text && *text ? pyjson_load(text, strlen(text), err) : json_object();

	if (!options)
		err_prefix(err, "result_backend_transport_options: ");
	return options;
}

/* Celery adds "_" to a prefix that does not end in a separator of its own. */
char *driver_key_prefix(const json_t *options)
{
	const char *prefix = json_string_value(json_object_get(options, "global_keyprefix"));
	size_t len = prefix ? strlen(prefix) : 0;

	return mem_printf("%s%s", len ? prefix : "",
			  len && strchr(":_-.", prefix[len - 1]) == NULL ? "_" : "");
}

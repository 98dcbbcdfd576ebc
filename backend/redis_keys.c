#include "backend/redis_keys.h"

#include <limits.h>
#include <stdio.h>
#include <string.h>

#include "backend/driver.h"
#include "base/mem.h"

/* celery/backends/redis.py, on_chord_part_return() */
#define JOIN_S	    5.0
#define CLAIM_MIN_S 5
#define DONE_MIN_S  300
/* The same, _chord_publish_claim_expires(), with the default task_publish_retry_policy and
 * broker_connection_timeout. */
#define PUBLISH_S 21

static struct redis_arg key_prefix(const char *global, const char *celery)
{
	char *text = mem_printf("%s%s", global, celery);

	return (struct redis_arg){text, strlen(text)};
}

/* Whole seconds as Celery counts them; 0 = never. */
static void write_expiry(char text[REDIS_SECONDS_SIZE], double seconds)
{
	snprintf(text, REDIS_SECONDS_SIZE, "%d",
		 seconds >= INT_MAX ? INT_MAX
		 : seconds >= 1	    ? (int)seconds
				    : 0);
}

static double longer(double a, double b)
{
	return a > b ? a : b;
}

static void read_times(struct redis_keys *k, const struct backend_options *options)
{
	double expires = options->result_expires_s, failure = options->failure_expires_s,
	       chord = options->chord_expires_s < 0 ? expires : options->chord_expires_s,
	       join = options->chord_join_s > 0 ? options->chord_join_s : JOIN_S,
	       claim = longer(CLAIM_MIN_S, join * 2);

	write_expiry(k->expires, expires);
	write_expiry(k->failure_expires, failure < 0 ? expires : failure);
	write_expiry(k->chord_expires, chord);
	/* Users read it too: it lives as long as the results, at least. */
	write_expiry(k->group_expires, expires < 1 || chord < 1 ? 0 : longer(expires, chord));
	write_expiry(k->claim, claim);
	write_expiry(k->publish, longer(claim, PUBLISH_S));
	write_expiry(k->done, longer(claim * 2, DONE_MIN_S));
}

int redis_keys_read(struct redis_keys *k, const struct backend_options *options, struct err *err)
{
	json_auto_t *root = driver_options_read(options->transport_options, err);

	if (!root)
		return -1;
	auto_free char *prefix = driver_key_prefix(root);

	k->task = key_prefix(prefix, "celery-task-meta-");
	k->group = key_prefix(prefix, "celery-taskset-meta-");
	k->is_ordered = !json_is_false(json_object_get(root, "result_chord_ordered"));
	read_times(k, options);
	return 0;
}

void redis_keys_clear(struct redis_keys *k)
{
	mem_free_ptr(&k->task.data);
	mem_free_ptr(&k->group.data);
}

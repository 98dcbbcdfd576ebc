/* Settings of remote control. Fallbacks are Celery's 5.7. */
#include "worker/config/table_rows.h"

#include "worker/config/config.h"

const struct config_row config_rows_control[] = {
	{.name = "worker_enable_remote_control",
	 .type = CONFIG_BOOL,
	 .field = FIELD(worker_enable_remote_control),
	 .fallback = "true",
	 .old = {"CELERY_ENABLE_REMOTE_CONTROL"},
	 .help = "Listen to `celery status`, `inspect` and `control`, and to Flower."},
	{.name = "control_exchange",
	 .type = CONFIG_TEXT,
	 .field = FIELD(control_exchange),
	 .fallback = "celery",
	 .help = "Name of the cluster: requests come through the exchange <name>.pidbox."},
	{.name = "control_queue_ttl",
	 .type = CONFIG_SECONDS,
	 .field = FIELD(control_queue_ttl),
	 .fallback = "300",
	 .null_text = "-1",
	 .min = -1,
	 .help = "Seconds that a request waits for this worker; null = for ever."},
	{.name = "control_queue_expires",
	 .type = CONFIG_SECONDS,
	 .field = FIELD(control_queue_expires),
	 .fallback = "10",
	 .null_text = "-1",
	 .min = -1,
	 .help = "Seconds after which the broker drops the queue of a worker that is gone; null = "
		 "never."},
	{.name = "control_queue_exclusive",
	 .type = CONFIG_BOOL,
	 .field = FIELD(control_queue_exclusive),
	 .fallback = "true",
	 .help = "That queue belongs to one connection, so that of two workers with one name only "
		 "the first is steered."},
	{.name = "control_queue_durable",
	 .type = CONFIG_BOOL,
	 .field = FIELD(control_queue_durable),
	 .fallback = "false",
	 .help = "That queue survives a restart of the broker; not together with "
		 "control_queue_exclusive."},
};
const size_t config_rows_control_count =
	sizeof(config_rows_control) / sizeof(config_rows_control[0]);

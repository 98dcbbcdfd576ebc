/* Settings of what is stored. */
#include "worker/config/table_rows.h"

#include "worker/config/config.h"

const struct config_row config_rows_result[] = {
	{.name = "result_serializer",
	 .type = CONFIG_TEXT,
	 .field = FIELD(result_serializer),
	 .fallback = "json",
	 .old = {"CELERY_RESULT_SERIALIZER"},
	 .help = "How results are stored: json, msgpack, yaml or auth; clients need the same."},
	{.name = "result_compression",
	 .type = CONFIG_TEXT,
	 .field = FIELD(result_compression),
	 .old = {"CELERY_RESULT_COMPRESSION"},
	 .help = "Compression of stored results: gzip, bzip2, lzma, brotli or zstd; clients of "
		 "Celery "
		 "5.7 read it."},
	{.name = "result_accept_content",
	 .type = CONFIG_LIST,
	 .field = FIELD(result_accept_content),
	 .old = {"CELERY_RESULT_ACCEPT_CONTENT"},
	 .help = "Content types of results that `smallage call` accepts; unset: accept_content."},
	{.name = "result_expires",
	 .type = CONFIG_SECONDS,
	 .field = FIELD(result_expires),
	 .fallback = "86400",
	 .null_text = "0",
	 .old = {"CELERY_TASK_RESULT_EXPIRES"},
	 .help = "Seconds after which a stored result expires; null or 0 = never."},
	{.name = "result_failure_expires",
	 .type = CONFIG_SECONDS,
	 .field = FIELD(result_failure_expires),
	 .fallback = "-1",
	 .min = -1,
	 .old = {"CELERY_RESULT_FAILURE_EXPIRES"},
	 .help = "The same for failures; 0 = never, null or -1 = as result_expires."},
	{.name = "result_extended",
	 .type = CONFIG_BOOL,
	 .field = FIELD(result_extended),
	 .fallback = "false",
	 .old = {"CELERY_RESULT_EXTENDED"},
	 .help = "Store name, arguments, worker, queue and retries with the result."},
	{.name = "result_persistent",
	 .type = CONFIG_BOOL,
	 .field = FIELD(result_persistent),
	 .fallback = "false",
	 .null_text = "false",
	 .old = {"CELERY_RESULT_PERSISTENT"},
	 .help = "Results that are messages (rpc://) outlive a restart of the broker."},

};
const size_t config_rows_result_count = sizeof(config_rows_result) / sizeof(config_rows_result[0]);

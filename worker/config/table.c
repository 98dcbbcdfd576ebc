#include "worker/config/table.h"

#include "worker/config/table_rows.h"

struct part {
	const struct config_row *rows;
	const size_t *count;
};

/* In the order of docs/CONFIG.md and --help. */
static const struct part parts[] = {
	{config_rows_connection, &config_rows_connection_count},
	{config_rows_task, &config_rows_task_count},
	{config_rows_security, &config_rows_security_count},
	{config_rows_result, &config_rows_result_count},
	{config_rows_worker, &config_rows_worker_count},
	{config_rows_control, &config_rows_control_count},
	{config_rows_event, &config_rows_event_count},
	{config_rows_node, &config_rows_node_count},
};

const struct config_row *config_row_at(size_t index)
{
	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++) {
		if (index < *parts[i].count)
			return &parts[i].rows[index];
		index -= *parts[i].count;
	}
	return NULL;
}

size_t config_row_count(void)
{
	size_t count = 0;

	for (size_t i = 0; i < sizeof(parts) / sizeof(parts[0]); i++)
		count += *parts[i].count;
	return count;
}

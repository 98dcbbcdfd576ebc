/*
 * The parts of the settings table, see table.h. Internal to worker/config/table*.c. Fallbacks are
 * Celery's (celery/app/defaults.py) where the setting is Celery's.
 */
#ifndef WORKER_CONFIG_TABLE_ROWS_H
#define WORKER_CONFIG_TABLE_ROWS_H

#include <stddef.h>

#include "worker/config/table.h"

/* Where a row's value lies in struct config. */
#define FIELD(member) offsetof(struct config, member)

extern const struct config_row config_rows_connection[], config_rows_task[], config_rows_result[],
	config_rows_worker[], config_rows_security[], config_rows_control[], config_rows_event[],
	config_rows_node[];
extern const size_t config_rows_connection_count, config_rows_task_count, config_rows_result_count,
	config_rows_worker_count, config_rows_security_count, config_rows_control_count,
	config_rows_event_count, config_rows_node_count;

#endif

/* Task states as stored in results. Source: celery/states.py. */
#ifndef PROTOCOL_STATE_H
#define PROTOCOL_STATE_H

#include <stdbool.h>

enum task_state {
	TASK_PENDING,
	TASK_RECEIVED,
	TASK_STARTED,
	TASK_SUCCESS,
	TASK_FAILURE,
	TASK_REVOKED,
	TASK_REJECTED,
	TASK_RETRY,
	TASK_IGNORED,
	TASK_CUSTOM, /* any other name */
	TASK_STATE_COUNT
};

const char *state_name(enum task_state state); /* "SUCCESS"; NULL for TASK_CUSTOM */
enum task_state state_parse(const char *name);
bool state_is_ready(enum task_state state); /* SUCCESS, FAILURE, REVOKED */

#endif

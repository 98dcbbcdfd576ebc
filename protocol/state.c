#include "protocol/state.h"

#include <stddef.h>
#include <string.h>

static const char *const names[TASK_STATE_COUNT] = {
	[TASK_PENDING] = "PENDING",   [TASK_RECEIVED] = "RECEIVED", [TASK_STARTED] = "STARTED",
	[TASK_SUCCESS] = "SUCCESS",   [TASK_FAILURE] = "FAILURE",   [TASK_REVOKED] = "REVOKED",
	[TASK_REJECTED] = "REJECTED", [TASK_RETRY] = "RETRY",	    [TASK_IGNORED] = "IGNORED",
};

const char *state_name(enum task_state state)
{
	return state < TASK_STATE_COUNT ? names[state] : NULL;
}

enum task_state state_parse(const char *name)
{
	for (unsigned i = 0; i < TASK_CUSTOM; i++)
		if (strcmp(name, names[i]) == 0)
			return (enum task_state)i;
	return TASK_CUSTOM;
}

bool state_is_ready(enum task_state state)
{
	return state == TASK_SUCCESS || state == TASK_FAILURE || state == TASK_REVOKED;
}

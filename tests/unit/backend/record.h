/* Records as a test stores them. */
#ifndef TESTS_UNIT_BACKEND_RECORD_H
#define TESTS_UNIT_BACKEND_RECORD_H

#include <string.h>

#include "backend/backend.h"

static inline struct backend_record record_of(const char *id, enum task_state state,
					      const char *text, bool is_only)
{
	return (struct backend_record){.task_id = id,
				       .state = state,
				       .data = text,
				       .len = strlen(text),
				       .is_only = is_only};
}

#endif

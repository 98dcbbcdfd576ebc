/*
 * The header names that mean something. Names that a task message is read from have an enumerator
 * each; HEADER_RESERVED are those that are no custom headers either: what else Celery's Context
 * knows, and what RabbitMQ adds to a message that was dead-lettered.
 */
#ifndef PROTOCOL_HEADER_NAME_H
#define PROTOCOL_HEADER_NAME_H

#include <stddef.h>

enum header_name {
	HEADER_CUSTOM,
	HEADER_RESERVED,
	/* each at most once in a message */
	HEADER_ARGSREPR,
	HEADER_COMPRESSION,
	HEADER_ETA,
	HEADER_EXPIRES,
	HEADER_GROUP,
	HEADER_GROUP_INDEX,
	HEADER_ID,
	HEADER_IGNORE_RESULT,
	HEADER_KWARGSREPR,
	HEADER_LANG,
	HEADER_ORIGIN,
	HEADER_PARENT_ID,
	HEADER_REPLACED_TASK_NESTING,
	HEADER_RETRIES,
	HEADER_ROOT_ID,
	HEADER_SHADOW,
	HEADER_STAMPED_HEADERS,
	HEADER_STAMPS,
	HEADER_TASK,
	HEADER_TIMELIMIT,
	HEADER_NAME_COUNT
};

enum header_name header_name_of(const char *text, size_t len);
/* The text of a name that has an enumerator of its own. */
const char *header_name_text(enum header_name name);

#endif

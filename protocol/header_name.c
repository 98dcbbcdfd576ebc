#include "protocol/header_name.h"

#include <string.h>

/* Names of one length stand together: most lookups compare the letters of one name. */
#define LONGEST 22
static const struct row {
	const char *text;
	enum header_name name;
} rows[] = {
	{"id", HEADER_ID},
	{"eta", HEADER_ETA},
	{"get", HEADER_RESERVED},
	{"utc", HEADER_RESERVED},
	{"lang", HEADER_LANG},
	{"task", HEADER_TASK},
	{"args", HEADER_RESERVED},
	{"group", HEADER_GROUP},
	{"chain", HEADER_RESERVED},
	{"chord", HEADER_RESERVED},
	{"clear", HEADER_RESERVED},
	{"origin", HEADER_ORIGIN},
	{"shadow", HEADER_SHADOW},
	{"stamps", HEADER_STAMPS},
	{"kwargs", HEADER_RESERVED},
	{"update", HEADER_RESERVED},
	{"expires", HEADER_EXPIRES},
	{"retries", HEADER_RETRIES},
	{"root_id", HEADER_ROOT_ID},
	{"headers", HEADER_RESERVED},
	{"logfile", HEADER_RESERVED},
	{"taskset", HEADER_RESERVED},
	{"x-death", HEADER_RESERVED},
	{"argsrepr", HEADER_ARGSREPR},
	{"children", HEADER_RESERVED},
	{"errbacks", HEADER_RESERVED},
	{"hostname", HEADER_RESERVED},
	{"is_eager", HEADER_RESERVED},
	{"loglevel", HEADER_RESERVED},
	{"reply_to", HEADER_RESERVED},
	{"parent_id", HEADER_PARENT_ID},
	{"timelimit", HEADER_TIMELIMIT},
	{"callbacks", HEADER_RESERVED},
	{"kwargsrepr", HEADER_KWARGSREPR},
	{"properties", HEADER_RESERVED},
	{"time_limit", HEADER_RESERVED},
	{"compression", HEADER_COMPRESSION},
	{"group_index", HEADER_GROUP_INDEX},
	{"ignore_result", HEADER_IGNORE_RESULT},
	{"delivery_info", HEADER_RESERVED},
	{"correlation_id", HEADER_RESERVED},
	{"stamped_headers", HEADER_STAMPED_HEADERS},
	{"called_directly", HEADER_RESERVED},
	{"soft_time_limit", HEADER_RESERVED},
	{"x-last-death-queue", HEADER_RESERVED},
	{"x-first-death-queue", HEADER_RESERVED},
	{"x-last-death-reason", HEADER_RESERVED},
	{"as_execution_options", HEADER_RESERVED},
	{"x-first-death-reason", HEADER_RESERVED},
	{"replaced_task_nesting", HEADER_REPLACED_TASK_NESTING},
	{"x-last-death-exchange", HEADER_RESERVED},
	{"x-first-death-exchange", HEADER_RESERVED},
};

/* Where the names of each length begin; the last is the end of all. */
static const unsigned char first_of[LONGEST + 2] = {0,	0,  0,	1,  4,	7,  11, 16, 23, 30, 33, 36,
						    38, 38, 40, 41, 44, 44, 44, 45, 47, 49, 51, 52};

static const char *const texts[HEADER_NAME_COUNT] = {
	[HEADER_ARGSREPR] = "argsrepr",
	[HEADER_COMPRESSION] = "compression",
	[HEADER_ETA] = "eta",
	[HEADER_EXPIRES] = "expires",
	[HEADER_GROUP] = "group",
	[HEADER_GROUP_INDEX] = "group_index",
	[HEADER_ID] = "id",
	[HEADER_IGNORE_RESULT] = "ignore_result",
	[HEADER_KWARGSREPR] = "kwargsrepr",
	[HEADER_LANG] = "lang",
	[HEADER_ORIGIN] = "origin",
	[HEADER_PARENT_ID] = "parent_id",
	[HEADER_REPLACED_TASK_NESTING] = "replaced_task_nesting",
	[HEADER_RETRIES] = "retries",
	[HEADER_ROOT_ID] = "root_id",
	[HEADER_SHADOW] = "shadow",
	[HEADER_STAMPED_HEADERS] = "stamped_headers",
	[HEADER_STAMPS] = "stamps",
	[HEADER_TASK] = "task",
	[HEADER_TIMELIMIT] = "timelimit",
};

enum header_name header_name_of(const char *text, size_t len)
{
	if (len == 0 || len > LONGEST)
		return HEADER_CUSTOM;
	for (const struct row *row = rows + first_of[len]; row < rows + first_of[len + 1]; row++)
		if (row->text[0] == text[0] && memcmp(row->text, text, len) == 0)
			return row->name;
	return HEADER_CUSTOM;
}

const char *header_name_text(enum header_name name)
{
	return texts[name];
}

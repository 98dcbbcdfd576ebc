#include "transport/redis_answer.h"

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static const struct {
	const char *text;
	enum redis_answer answer;
} rows[] = {
	{"NOSCRIPT ", REDIS_ANSWER_NO_SCRIPT},
	{"LOADING ", REDIS_ANSWER_LATER},
	{"OOM command not allowed", REDIS_ANSWER_LATER},
	{"MISCONF ", REDIS_ANSWER_LATER},
	{"BUSY ", REDIS_ANSWER_LATER},
	{"NOREPLICAS ", REDIS_ANSWER_LATER},
	{"ERR max number of clients reached", REDIS_ANSWER_LATER},
	{"TRYAGAIN ", REDIS_ANSWER_LATER},
	{"CLUSTERDOWN ", REDIS_ANSWER_LATER},
	{"READONLY ", REDIS_ANSWER_RECONNECT},
	{"MASTERDOWN ", REDIS_ANSWER_RECONNECT},
	{"NOAUTH ", REDIS_ANSWER_RECONNECT},
	{"NOPERM ", REDIS_ANSWER_NO_COMMAND},
	{"ERR unknown command", REDIS_ANSWER_NO_COMMAND},
	/* How 7.0 says NOPERM to what a script calls. */
	{"ERR The user executing the script can't ", REDIS_ANSWER_NO_COMMAND},
};

/* Servers before 7 wrap what a command inside a script got: "ERR Error running script (call to
 * f_...): @user_script:10: -OOM command not allowed ...". */
static bool says(const char *text, const char *code)
{
	const char *inner = strstr(text, ": -");
	size_t len = strlen(code);

	return strncmp(text, code, len) == 0 ||
	       (inner != NULL && strncmp(inner + 3, code, len) == 0);
}

enum redis_answer redis_answer_class(const char *text)
{
	for (size_t i = 0; i < sizeof(rows) / sizeof(*rows); i++)
		if (says(text, rows[i].text))
			return rows[i].answer;
	return REDIS_ANSWER_FINAL;
}

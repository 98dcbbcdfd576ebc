#include <check.h>

#include "transport/redis_answer.h"

START_TEST(answers_are_classed_by_their_code)
{
	static const struct {
		const char *text;
		enum redis_answer answer;
	} cases[] = {
		{"LOADING Redis is loading the dataset in memory", REDIS_ANSWER_LATER},
		{"OOM command not allowed when used memory > 'maxmemory'.", REDIS_ANSWER_LATER},
		{"ERR Error running script (call to f_1): @user_script:7: @user_script: 7: -OOM "
		 "command not allowed when used memory > 'maxmemory'.",
		 REDIS_ANSWER_LATER},
		{"ERR Error running script (call to f_1): @user_script:7: -READONLY You can't "
		 "write against a read only replica.",
		 REDIS_ANSWER_RECONNECT},
		{"READONLY You can't write against a read only replica.", REDIS_ANSWER_RECONNECT},
		{"MASTERDOWN Link with MASTER is down", REDIS_ANSWER_RECONNECT},
		{"NOAUTH Authentication required.", REDIS_ANSWER_RECONNECT},
		{"ERR max number of clients reached", REDIS_ANSWER_LATER},
		{"MISCONF Redis is configured to save RDB snapshots", REDIS_ANSWER_LATER},
		{"NOSCRIPT No matching script. Please use EVAL.", REDIS_ANSWER_NO_SCRIPT},
		{"NOPERM this user has no permissions", REDIS_ANSWER_NO_COMMAND},
		{"ERR unknown command `EVALSHA`, with args beginning with: ",
		 REDIS_ANSWER_NO_COMMAND},
		{"ERR The user executing the script can't run this command or subcommand script: "
		 "b652, on @user_script:1.",
		 REDIS_ANSWER_NO_COMMAND},
		{"WRONGTYPE Operation against a key", REDIS_ANSWER_FINAL},
		{"ERR syntax error", REDIS_ANSWER_FINAL},
		{"ERR text that says READONLY somewhere", REDIS_ANSWER_FINAL},
		{"", REDIS_ANSWER_FINAL},
	};

	for (unsigned i = 0; i < sizeof(cases) / sizeof(*cases); i++)
		ck_assert_msg(redis_answer_class(cases[i].text) == cases[i].answer, "%s",
			      cases[i].text);
}
END_TEST

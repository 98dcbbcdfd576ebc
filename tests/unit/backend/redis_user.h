/* Users of a Redis server with few rights. */
#ifndef TESTS_UNIT_BACKEND_REDIS_USER_H
#define TESTS_UNIT_BACKEND_REDIS_USER_H

#include "tests/unit/backend/redis_fixture.h"

#define WITHOUT_SCRIPTS "+@all -evalsha -eval -script"
#define READ_ONLY	"+@read +@connection +@scripting"

/* Opens the store as a user who may run only the commands that the ACL rules allow. */
static inline void open_as_user(struct fixture *x, int port, const char *rules)
{
	auto_free char *url = mem_printf("redis://user:pw@127.0.0.1:%d/0", port);
	auto_free char *command = mem_printf("ACL SETUSER user on >pw ~* &* %s", rules);

	tell(x, command);
	open_url(x, url);
}

#endif

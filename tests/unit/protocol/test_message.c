#include "protocol/message.h"

#include <check.h>
#include <string.h>

START_TEST(a_message_begins_empty_and_may_be_cleared_twice)
{
	struct message m;

	message_init(&m);
	ck_assert(json_is_object(m.headers));
	ck_assert_int_eq(m.priority, -1);
	m.body = strdup("x");
	m.content_type = strdup("application/json");
	message_clear(&m);
	ck_assert_ptr_null(m.body);
	message_clear(&m);
}
END_TEST

#include "protocol/state.h"

#include <check.h>

START_TEST(names_and_states_match)
{
	for (int i = 0; i < TASK_CUSTOM; i++)
		ck_assert_int_eq(state_parse(state_name((enum task_state)i)), i);
	ck_assert_str_eq(state_name(TASK_REVOKED), "REVOKED");
	ck_assert_int_eq(state_parse("PROGRESS"), TASK_CUSTOM);
	ck_assert_int_eq(state_parse("success"), TASK_CUSTOM);
	ck_assert_ptr_null(state_name(TASK_CUSTOM));
}
END_TEST

START_TEST(three_states_are_ready)
{
	int ready = 0;

	for (int i = 0; i < TASK_STATE_COUNT; i++)
		ready += state_is_ready((enum task_state)i);
	ck_assert_int_eq(ready, 3);
	ck_assert(state_is_ready(TASK_SUCCESS) && state_is_ready(TASK_FAILURE) &&
		  state_is_ready(TASK_REVOKED));
}
END_TEST

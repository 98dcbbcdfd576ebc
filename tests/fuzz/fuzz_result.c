/* The input as a stored record; and its lines as the texts of a new one, which must be JSON and
 * tell the state it was given. */
#include "protocol/result.h"

#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"

static void check_encode(const uint8_t *data, size_t size)
{
	static const char *const states[] = {"SUCCESS", "FAILURE", "RETRY", "PROGRESS"};
	char *text[6];
	struct str out;
	json_t *record;

	for (size_t i = 0; i < 6; i++)
		text[i] = fuzz_line(&data, &size, NULL);
	struct result_record r = {
		.status = states[strlen(text[0]) % 4],
		.traceback = *text[0] ? text[0] : NULL,
		.date_done_us = (int64_t)strlen(text[1]) * 1234567,
		.group_id = *text[1] ? text[1] : NULL,
		.name = *text[2] ? text[2] : NULL,
		.stamped_headers = *text[3] ? text[3] : NULL,
		.stamps = *text[4] ? text[4] : NULL,
		.task_id = text[5],
	};

	/* These two are JSON by contract. */
	record = r.stamped_headers ? pyjson_load(text[3], strlen(text[3]), NULL) : NULL;
	if (!record)
		r.stamped_headers = NULL;
	json_decref(record);
	str_init(&out, STR_MAX_DEFAULT);
	fuzz_check(result_encode(&out, &r) == 0);
	record = pyjson_load(out.data, out.len, NULL);
	fuzz_check(record);
	fuzz_check(json_object_get(record, "task_id"));
	json_decref(record);
	str_clear(&out);
	for (size_t i = 0; i < 6; i++)
		free(text[i]);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *record = malloc(size);

	if (size)
		memcpy(record, data, size);
	fuzz_check(result_state_of(record, size) < TASK_STATE_COUNT);
	free(record);
	check_encode(data, size);
	return 0;
}

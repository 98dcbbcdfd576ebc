/* The input as a state file: what is taken is written and read again as the same; a refused one
 * leaves nothing. */
#include "tests/fuzz/fuzz.h"
#include "worker/request/statedb.h"

#define NOW_US 1795235878000000LL

static void write_and_read(struct revoked *r, uint64_t clock)
{
	struct str text, again;
	struct revoked back;
	uint64_t clock_back = 0;

	str_init(&text, STATEDB_MAX_BYTES);
	str_init(&again, STATEDB_MAX_BYTES);
	statedb_encode(&text, r, clock, NOW_US);
	revoked_init(&back, 0, 0);
	fuzz_check(statedb_decode(&back, &clock_back, text.data, text.len, NOW_US, NULL) == 0);
	fuzz_check(clock_back == clock);
	fuzz_check(revoked_count(&back) == revoked_count(r));
	statedb_encode(&again, &back, clock, NOW_US);
	fuzz_check(again.len == text.len);
	revoked_clear(&back);
	str_clear(&text);
	str_clear(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct revoked r;
	uint64_t clock = 0;
	struct err err = {0};
	char *text;

	if (size == 0)
		return 0;
	text = malloc(size);
	memcpy(text, data, size);
	revoked_init(&r, 0, 0);
	if (statedb_decode(&r, &clock, text, size, NOW_US, &err) == 0) {
		write_and_read(&r, clock);
	} else {
		fuzz_check(revoked_count(&r) == 0 && err.text[0]);
		fuzz_check_one_line(err.text);
	}
	revoked_clear(&r);
	free(text);
	return 0;
}

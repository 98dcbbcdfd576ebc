/* Answers of a memcached to operations of every kind, cut anywhere. */
#include <stdint.h>
#include <string.h>

#include "backend/memcached_op.h"
#include "base/mem.h"
#include "tests/fuzz/fuzz.h"

static void feed(struct memcached_op *op, const char *data, size_t len)
{
	static char prefix[] = "p_";
	const struct memcached_keys keys = {
		.prefix = prefix, .expires_s = 3600, .chord_expires_s = 60};
	struct memcached_answer answer;
	enum memcached_verdict verdict = MEMCACHED_NEXT;
	char line[256];

	for (int steps = 0; verdict == MEMCACHED_NEXT && steps < 100; steps++) {
		auto_str out = STR_INIT(1 << 20);
		struct err err = {0};

		memcached_op_write(op, &keys, &out);
		fuzz_check(out.len > 0 && out.data[out.len - 1] == '\n');
		ptrdiff_t taken = memcached_answer_read(&answer, line, data, len);

		if (taken <= 0)
			return;
		fuzz_check((size_t)taken <= len);
		verdict = memcached_op_take(op, &answer, &err);
		fuzz_check((verdict >= MEMCACHED_LATER) == (err.code != ERR_NONE));
		data += taken;
		len -= (size_t)taken;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	if (size < 2)
		return 0;
	struct memcached_op *op = memcached_op_new((enum memcached_kind)(data[0] % 5));

	op->base.id = mem_strdup("id");
	op->task_id = mem_strdup("task");
	op->is_only = data[1] & 1;
	op->base.is_revoke = data[1] & 2;
	str_puts(&op->value, "{\"status\": \"SUCCESS\"}");
	/* A copy of the exact size, so that reading behind it is seen. */
	char *copy = mem_alloc(size - 2 + 1);

	memcpy(copy, data + 2, size - 2);
	copy = mem_realloc(copy, size - 2 ? size - 2 : 1);
	feed(op, copy, size - 2);
	mem_free_ptr(&copy);
	mem_free_ptr(&op->base.id);
	memcached_op_free(&op->base);
	return 0;
}

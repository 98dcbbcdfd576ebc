/* A binding key and, up to the first newline before it, a routing key: the pattern that kombu keeps
 * for the one says of the other what the key itself says; and the same bytes as a stored pattern.
 */
#include <string.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz.h"
#include "transport/topic_pattern.h"

/* A star that is no word of its own repeats what stands before it, as in Python. */
static bool has_plain_stars(const char *key)
{
	for (const char *star = key; (star = strchr(star, '*')); star++)
		if ((star > key && star[-1] != '.') || (star[1] != '\0' && star[1] != '.'))
			return false;
	return true;
}

static bool is_simple(const char *text)
{
	for (; *text; text++)
		if ((unsigned char)*text >= 0x80 || *text == '\n')
			return false;
	return true;
}

static void check_key(const char *binding, const char *key)
{
	struct str pattern = STR_INIT(1 << 20);
	enum topic_match match;

	if (topic_pattern_write(&pattern, binding) == 0) {
		match = topic_pattern_matches(pattern.data, pattern.len, key);
		if (has_plain_stars(binding) && is_simple(binding) && is_simple(key) &&
		    strlen(binding) <= TOPIC_KEY_MAX)
			fuzz_check(match == (topic_key_matches(binding, strlen(binding), key)
						     ? TOPIC_YES
						     : TOPIC_NO));
	}
	str_clear(&pattern);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const uint8_t *end = size > 0 ? memchr(data, '\n', size) : NULL;
	char *key = mem_dup(data, end ? (size_t)(end - data) : size);
	char *rest = end ? mem_dup(end + 1, size - (size_t)(end + 1 - data)) : mem_dup("", 0);

	(void)topic_pattern_matches(rest, strlen(rest), key);
	check_key(rest, key);
	free(key);
	free(rest);
	return 0;
}

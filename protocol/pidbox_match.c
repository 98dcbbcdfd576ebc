#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include <string.h>

#include "protocol/pidbox.h"

/* Steps and memory of one match: a pattern from the network may not hold the loop up. */
#define MATCH_STEPS    20000
#define MATCH_HEAP_KIB 256

/* One character's bytes; a byte that is no UTF-8 counts as a character of its own. */
static size_t char_len(const char *text, size_t len)
{
	unsigned char first = (unsigned char)*text;
	size_t want = first < 0xc0 ? 1 : first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;

	return want <= len ? want : 1;
}

static unsigned long char_at(const char *text, size_t len)
{
	unsigned long value = 0;

	for (size_t i = 0; i < len; i++)
		value = value << 8 | (unsigned char)text[i];
	return value;
}

/* The ']' that ends the set whose inside begins at `at`; NULL: the '[' stands for itself. */
static const char *set_end(const char *at, const char *end)
{
	if (at < end && *at == '!')
		at++;
	if (at < end && *at == ']')
		at++;
	return at < end ? memchr(at, ']', (size_t)(end - at)) : NULL;
}

static bool set_has(const char *at, const char *end, unsigned long c)
{
	bool is_negated = at < end && *at == '!', is_in = false;

	if (is_negated)
		at++;
	while (at < end) {
		size_t len = char_len(at, (size_t)(end - at));
		unsigned long low = char_at(at, len), high = low;

		at += len;
		if (end - at >= 2 && *at == '-') {
			at++;
			len = char_len(at, (size_t)(end - at));
			high = char_at(at, len);
			at += len;
		}
		if (low <= c && c <= high)
			is_in = true;
	}
	return is_in != is_negated;
}

/* Does one character match what stands at *pattern (no '*')? Moves behind that. */
static bool one_matches(const char **pattern, const char *pattern_end, const char *text,
			size_t text_char)
{
	const char *at = *pattern, *end;
	size_t len = char_len(at, (size_t)(pattern_end - at));

	*pattern = at + len;
	if (*at == '?')
		return true;
	if (*at == '[' && (end = set_end(at + 1, pattern_end))) {
		*pattern = end + 1;
		return set_has(at + 1, end, char_at(text, text_char));
	}
	return len == text_char && memcmp(at, text, len) == 0;
}

/* Only the last '*' has to be tried again, so this takes no more than length times length. */
bool pidbox_glob(const char *pattern, size_t pattern_len, const char *text, size_t text_len)
{
	const char *pattern_end = pattern + pattern_len, *text_end = text + text_len;
	const char *after_star = NULL, *star_text = NULL;

	while (text < text_end) {
		size_t len = char_len(text, (size_t)(text_end - text));

		if (pattern < pattern_end && *pattern == '*') {
			after_star = ++pattern;
			star_text = text;
		} else if (pattern < pattern_end && one_matches(&pattern, pattern_end, text, len)) {
			text += len;
		} else if (after_star) {
			star_text += char_len(star_text, (size_t)(text_end - star_text));
			text = star_text;
			pattern = after_star;
		} else {
			return false;
		}
	}
	while (pattern < pattern_end && *pattern == '*')
		pattern++;
	return pattern == pattern_end;
}

static int compile_failed(int code, struct err *err)
{
	PCRE2_UCHAR text[120] = "";

	pcre2_get_error_message(code, text, sizeof(text));
	return err_set(err, ERR_INVALID, "the pattern is not understood: %s", (const char *)text);
}

static int run(const pcre2_code *code, const char *text, size_t len, struct err *err)
{
	pcre2_match_context *limits = pcre2_match_context_create(NULL);
	pcre2_match_data *data = pcre2_match_data_create_from_pattern(code, NULL);
	int found = PCRE2_ERROR_NOMEMORY;

	if (limits && data) {
		pcre2_set_match_limit(limits, MATCH_STEPS);
		pcre2_set_depth_limit(limits, MATCH_STEPS);
		pcre2_set_heap_limit(limits, MATCH_HEAP_KIB);
		found = pcre2_match(code, (PCRE2_SPTR)text, len, 0, 0, data, limits);
	}
	pcre2_match_data_free(data);
	pcre2_match_context_free(limits);
	if (found == PCRE2_ERROR_NOMATCH)
		return 0;
	return found >= 0 ? 1 : err_set(err, ERR_LIMIT, "the pattern takes too much to match");
}

int pidbox_pcre(const char *pattern, size_t pattern_len, const char *text, size_t text_len,
		struct err *err)
{
	PCRE2_SIZE offset = 0;
	int failed = 0;
	pcre2_code *code =
		pcre2_compile((PCRE2_SPTR)pattern, pattern_len,
			      PCRE2_ANCHORED | PCRE2_UTF | PCRE2_UCP | PCRE2_NEVER_BACKSLASH_C,
			      &failed, &offset, NULL);

	if (!code)
		return compile_failed(failed, err);
	int found = run(code, text, text_len, err);

	pcre2_code_free(code);
	return found;
}

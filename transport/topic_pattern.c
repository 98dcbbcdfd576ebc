#include "transport/topic_pattern.h"

#include <ctype.h>
#include <string.h>

int topic_pattern_write(struct str *out, const char *binding_key)
{
	str_addc(out, '^');
	for (const char *p = binding_key; *p != '\0';) {
		size_t len = strcspn(p, ".");

		if (len == 1 && *p == '*')
			str_puts(out, "[^\\.]+");
		else if (len == 1 && *p == '#')
			str_puts(out, ".*?");
		else
			for (size_t i = 0; i < len; i++) {
				/* Bytes over 127 belong to letters as Python counts them. */
				if (!isalnum((unsigned char)p[i]) && (unsigned char)p[i] < 0x80 &&
				    strchr("#*", p[i]) == NULL)
					str_addc(out, '\\');
				str_addc(out, p[i]);
			}
		p += len;
		if (*p == '.') {
			str_puts(out, "\\.");
			p++;
		}
	}
	return str_addc(out, '$');
}

/* One step of the match: `at[i]` tells whether the key so far may end before text[i]; the same
 * after the token comes out in `next`. */
static void match_token(bool *next, const bool *at, const char *text, size_t len, char token,
			bool is_wildcard)
{
	next[0] = is_wildcard && token == '#' && at[0];
	for (size_t i = 0; i < len; i++) {
		if (!is_wildcard)
			next[i + 1] = at[i] && text[i] == token;
		else if (token == '*')
			next[i + 1] = (at[i] || next[i]) && text[i] != '.';
		else
			next[i + 1] = at[i + 1] || next[i];
	}
}

bool topic_key_matches(const char *binding_key, size_t binding_len, const char *routing_key)
{
	bool at[TOPIC_KEY_MAX + 1] = {true}, next[TOPIC_KEY_MAX + 1];
	size_t len = strlen(routing_key);

	if (len > TOPIC_KEY_MAX || binding_len > TOPIC_KEY_MAX)
		return false;
	for (size_t i = 0; i < binding_len; i++) {
		bool is_word = (i == 0 || binding_key[i - 1] == '.') &&
			       (i + 1 == binding_len || binding_key[i + 1] == '.');
		char token = binding_key[i];

		match_token(next, at, routing_key, len, token,
			    is_word && (token == '*' || token == '#'));
		memcpy(at, next, (len + 1) * sizeof(*at));
	}
	return at[len];
}

/* Patterns */

enum atom_kind { ATOM_TEXT, ATOM_ANY, ATOM_NO_DOT };

/* A piece of a pattern: what one character may be, and how often. */
struct atom {
	enum atom_kind kind;
	const char *text; /* of one character, several bytes in UTF-8 */
	size_t text_len;
	char repeat; /* '*', '+' or 0 = once */
};

static size_t character_len(const char *p, size_t left)
{
	size_t len = 1;

	while (len < left && ((unsigned char)p[len] & 0xc0) == 0x80)
		len++;
	return len;
}

/* How many bytes of the pattern it takes; 0 when kombu would not have written that. */
static size_t atom_read(struct atom *a, const char *p, size_t left)
{
	static const char no_dot[] = "[^\\.]";
	size_t used = 1;

	*a = (struct atom){.kind = ATOM_TEXT, .text = p};
	if (left >= sizeof(no_dot) - 1 && memcmp(p, no_dot, sizeof(no_dot) - 1) == 0) {
		a->kind = ATOM_NO_DOT;
		used = sizeof(no_dot) - 1;
	} else if (*p == '.') {
		a->kind = ATOM_ANY;
	} else if (*p == '\\') {
		if (left < 2 || isalnum((unsigned char)p[1]))
			return 0;
		a->text = p + 1;
		a->text_len = character_len(p + 1, left - 1);
		used = 1 + a->text_len;
	} else if (strchr("^$*+?{}[]()|", *p)) {
		return 0;
	} else {
		used = a->text_len = character_len(p, left);
	}
	if (used < left && (p[used] == '*' || p[used] == '+'))
		a->repeat = p[used++];
	/* Whether lazy or not, the whole key has to match. */
	if (a->repeat && used < left && p[used] == '?')
		used++;
	return used;
}

static size_t atom_accepts(const struct atom *a, const char *text, size_t left)
{
	size_t len = left > 0 ? character_len(text, left) : 0;

	if (len == 0)
		return 0;
	switch (a->kind) {
	case ATOM_TEXT:
		return len == a->text_len && memcmp(text, a->text, len) == 0 ? len : 0;
	case ATOM_ANY:
		return *text != '\n' ? len : 0;
	case ATOM_NO_DOT:
		return *text != '.' ? len : 0;
	}
	return 0;
}

/* As match_token(). */
static void match_atom(bool *next, const bool *at, const char *text, size_t len,
		       const struct atom *a)
{
	memset(next, 0, (len + 1) * sizeof(*next));
	for (size_t i = 0; i <= len; i++) {
		size_t used = atom_accepts(a, text + i, len - i);

		next[i] = next[i] || (a->repeat == '*' && at[i]);
		if (used > 0 && (at[i] || (a->repeat && next[i])))
			next[i + used] = true;
	}
}

enum topic_match topic_pattern_matches(const char *pattern, size_t len, const char *routing_key)
{
	bool at[TOPIC_KEY_MAX + 1] = {true}, next[TOPIC_KEY_MAX + 1];
	size_t key_len = strlen(routing_key);
	struct atom atom;

	if (len < 2 || pattern[0] != '^' || pattern[len - 1] != '$')
		return TOPIC_FOREIGN;
	if (key_len > TOPIC_KEY_MAX)
		return TOPIC_NO;
	for (size_t i = 1, used; i < len - 1; i += used) {
		used = atom_read(&atom, pattern + i, len - 1 - i);
		if (used == 0)
			return TOPIC_FOREIGN;
		match_atom(next, at, routing_key, key_len, &atom);
		memcpy(at, next, (key_len + 1) * sizeof(*at));
	}
	/* Python's $ is also before a newline at the end. */
	if (key_len > 0 && routing_key[key_len - 1] == '\n' && at[key_len - 1])
		return TOPIC_YES;
	return at[key_len] ? TOPIC_YES : TOPIC_NO;
}

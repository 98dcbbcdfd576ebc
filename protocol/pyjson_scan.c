/* One JSON text checked and cut into spans, without a tree. Runs once per message. */
#include <string.h>

#include "protocol/pyjson.h"
#include "protocol/pyjson_lex.h"

static int skip_value(struct pyjson_lexer *lx);

static int skip_array(struct pyjson_lexer *lx, struct pyjson_item *items, size_t max,
		      size_t *ret_count)
{
	size_t count = 0;
	int more;

	if (pyjson_lex_enter(lx) == -1)
		return -1;
	while ((more = pyjson_lex_next(lx, ']', count == 0)) == 1) {
		const char *value = lx->p;

		if (skip_value(lx) == -1)
			return -1;
		if (count < max)
			items[count] =
				(struct pyjson_item){.value = {value, (size_t)(lx->p - value)}};
		count++;
	}
	*ret_count = count;
	return more;
}

static int skip_object(struct pyjson_lexer *lx, struct pyjson_item *items, size_t max,
		       size_t *ret_count)
{
	size_t count = 0;
	int more;

	if (pyjson_lex_enter(lx) == -1)
		return -1;
	while ((more = pyjson_lex_next(lx, '}', count == 0)) == 1) {
		struct span key;
		bool has_escape;
		const char *value;

		if (pyjson_lex_key(lx, &key, &has_escape) == -1)
			return -1;
		if (has_escape || (key.len == 8 && memcmp(key.data, "__type__", 8) == 0))
			lx->may_have_tag = true;
		value = lx->p;
		if (skip_value(lx) == -1)
			return -1;
		if (count < max)
			items[count] = (struct pyjson_item){
				.key = key, .value = {value, (size_t)(lx->p - value)}};
		count++;
	}
	*ret_count = count;
	return more;
}

static int skip_number(struct pyjson_lexer *lx)
{
	struct span token;
	enum pyjson_number_kind kind;

	return pyjson_lex_number(lx, &token, &kind);
}

static int skip_value(struct pyjson_lexer *lx)
{
	struct span raw;
	bool has_escape;
	size_t count;

	switch (lx->p < lx->end ? *lx->p : '\0') {
	case '"':
		return pyjson_lex_string(lx, &raw, &has_escape);
	case '[':
		return skip_array(lx, NULL, 0, &count);
	case '{':
		return skip_object(lx, NULL, 0, &count);
	case 'n':
		if (pyjson_lex_word(lx, "null", 4))
			return 0;
		break;
	case 't':
		if (pyjson_lex_word(lx, "true", 4))
			return 0;
		break;
	case 'f':
		if (pyjson_lex_word(lx, "false", 5))
			return 0;
		break;
	case '-':
	case 'N':
	case 'I':
		return skip_number(lx);
	default:
		if (lx->p < lx->end && *lx->p >= '0' && *lx->p <= '9')
			return skip_number(lx);
		break;
	}
	return pyjson_lex_fail(lx, "Expecting value", lx->p);
}

enum pyjson_kind pyjson_kind_of(struct span value)
{
	switch (value.len ? *value.data : 'n') {
	case 'n':
		return PYJSON_NULL;
	case 't':
	case 'f':
		return PYJSON_BOOL;
	case '"':
		return PYJSON_STRING;
	case '[':
		return PYJSON_ARRAY;
	case '{':
		return PYJSON_OBJECT;
	default:
		return PYJSON_NUM;
	}
}

/* Tags need decoded values. Few texts have any. */
static int check_tags(const struct pyjson_lexer *lx, const char *data, size_t len, struct err *err)
{
	json_t *value;

	if (!lx->may_have_tag)
		return 0;
	value = pyjson_load(data, len, err);
	if (!value)
		return -1;
	json_decref(value);
	return 0;
}

int pyjson_scan(const char *data, size_t len, enum pyjson_kind *ret_kind, struct pyjson_item *items,
		size_t max, size_t *ret_count, struct err *err)
{
	struct pyjson_lexer lx;
	const char *start;
	size_t count = 0;
	int rc;

	if (pyjson_lex_init(&lx, data, len, err) == -1)
		return -1;
	pyjson_lex_space(&lx);
	start = lx.p;
	if (start < lx.end && *start == '[')
		rc = skip_array(&lx, items, max, &count);
	else if (start < lx.end && *start == '{')
		rc = skip_object(&lx, items, max, &count);
	else
		rc = skip_value(&lx);
	if (rc == -1 || pyjson_lex_end(&lx) == -1 || check_tags(&lx, data, len, err) == -1)
		return -1;
	*ret_kind = pyjson_kind_of((struct span){start, (size_t)(lx.end - start)});
	*ret_count = count;
	return 0;
}

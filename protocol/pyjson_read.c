/* Text to jansson values. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"
#include "protocol/pyjson_impl.h"
#include "protocol/pyjson_lex.h"

static json_t *read_value(struct pyjson_lexer *lx);

static json_t *read_string(struct pyjson_lexer *lx)
{
	struct span raw;
	bool has_escape;
	auto_str text = {.max = STR_MAX_DEFAULT};

	if (pyjson_lex_string(lx, &raw, &has_escape) == -1)
		return NULL;
	if (!has_escape)
		return json_stringn_nocheck(raw.data, raw.len);
	if (pyjson_unescape(&text, raw) == -1) {
		err_set(lx->err, ERR_LIMIT, "string too long");
		return NULL;
	}
	return json_stringn_nocheck(text.data, text.len);
}

static json_t *read_int(struct span token)
{
	char text[24];
	long long value;

	if (token.len < sizeof(text)) {
		memcpy(text, token.data, token.len);
		text[token.len] = '\0';
		errno = 0;
		value = strtoll(text, NULL, 10);
		if (errno == 0)
			return json_integer(value);
	}
	return pyjson_number(token.data, token.len);
}

static json_t *read_real(struct span token)
{
	auto_free char *text = mem_dup(token.data, token.len);
	double value = strtod(text, NULL);

	/* Python reads 1e400 as inf and writes it as Infinity. */
	if (value - value != 0.0)
		return value < 0 ? pyjson_number("-Infinity", 9) : pyjson_number("Infinity", 8);
	return json_real(value);
}

static json_t *read_number(struct pyjson_lexer *lx)
{
	struct span token;
	enum pyjson_number_kind kind;

	if (pyjson_lex_number(lx, &token, &kind) == -1)
		return NULL;
	switch (kind) {
	case PYJSON_LEX_INT:
		return read_int(token);
	case PYJSON_LEX_REAL:
		return read_real(token);
	case PYJSON_LEX_CONST:
		break;
	}
	return pyjson_number(token.data, token.len);
}

static json_t *read_array(struct pyjson_lexer *lx)
{
	json_t *array;
	int more;

	if (pyjson_lex_enter(lx) == -1)
		return NULL;
	array = json_array();
	for (bool is_first = true; (more = pyjson_lex_next(lx, ']', is_first)) == 1;
	     is_first = false) {
		json_t *value = read_value(lx);

		if (!value || json_array_append_new(array, value) == -1) {
			more = -1;
			break;
		}
	}
	if (more == 0)
		return array;
	json_decref(array);
	return NULL;
}

static int read_member(struct pyjson_lexer *lx, json_t *object)
{
	struct span raw;
	bool has_escape;
	auto_str key = {.max = STR_MAX_DEFAULT};
	json_t *value;

	if (pyjson_lex_key(lx, &raw, &has_escape) == -1)
		return -1;
	if (has_escape) {
		if (pyjson_unescape(&key, raw) == -1)
			return err_set(lx->err, ERR_LIMIT, "key too long");
		raw = (struct span){key.data, key.len};
	}
	value = read_value(lx);
	if (!value)
		return -1;
	return json_object_setn_new_nocheck(object, raw.len ? raw.data : "", raw.len, value);
}

static json_t *read_object(struct pyjson_lexer *lx)
{
	json_t *object;
	int more;

	if (pyjson_lex_enter(lx) == -1)
		return NULL;
	object = json_object();
	for (bool is_first = true; (more = pyjson_lex_next(lx, '}', is_first)) == 1;
	     is_first = false) {
		if (read_member(lx, object) == -1) {
			more = -1;
			break;
		}
	}
	if (more == 0 && pyjson_tag_check(object, lx->err) == 0)
		return object;
	json_decref(object);
	return NULL;
}

static json_t *read_value(struct pyjson_lexer *lx)
{
	switch (lx->p < lx->end ? *lx->p : '\0') {
	case '"':
		return read_string(lx);
	case '[':
		return read_array(lx);
	case '{':
		return read_object(lx);
	case 'n':
		if (pyjson_lex_word(lx, "null", 4))
			return json_null();
		break;
	case 't':
		if (pyjson_lex_word(lx, "true", 4))
			return json_true();
		break;
	case 'f':
		if (pyjson_lex_word(lx, "false", 5))
			return json_false();
		break;
	case '-':
	case 'N':
	case 'I':
		return read_number(lx);
	default:
		if (lx->p < lx->end && *lx->p >= '0' && *lx->p <= '9')
			return read_number(lx);
		break;
	}
	pyjson_lex_fail(lx, "Expecting value", lx->p);
	return NULL;
}

json_t *pyjson_load(const char *data, size_t len, struct err *err)
{
	struct pyjson_lexer lx;
	json_t *value;

	if (pyjson_lex_init(&lx, data, len, err) == -1)
		return NULL;
	pyjson_lex_space(&lx);
	value = read_value(&lx);
	if (value && pyjson_lex_end(&lx) == 0)
		return value;
	json_decref(value);
	return NULL;
}

/*
 * The tokens of Python's JSON, shared by the reader and the scanner so that both accept the same
 * texts. Inside protocol/ only. A lexer borrows its text; on failure functions return -1 and `err`
 * holds CPython's wording with line, column and character ("Expecting value: line 1 column 1 (char
 * 0)"). Mirrors CPython's Modules/_json.c and Lib/json/decoder.py (strict mode).
 */
#ifndef PROTOCOL_PYJSON_LEX_H
#define PROTOCOL_PYJSON_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"

struct pyjson_lexer {
	const char *start, *p, *end;
	struct err *err;
	unsigned depth;	   /* containers open */
	bool may_have_tag; /* a key says so, or may once its escapes are decoded */
};

/* Checks that the text is UTF-8, as Python decodes it before anything else. */
int pyjson_lex_init(struct pyjson_lexer *lx, const char *data, size_t len, struct err *err);
int pyjson_lex_fail(struct pyjson_lexer *lx, const char *what, const char *at);

static inline void pyjson_lex_space(struct pyjson_lexer *lx)
{
	while (lx->p < lx->end &&
	       (*lx->p == ' ' || *lx->p == '\n' || *lx->p == '\t' || *lx->p == '\r'))
		lx->p++;
}

/* At the opening quote; leaves p behind the closing one. *ret_raw is what stands between. */
int pyjson_lex_string(struct pyjson_lexer *lx, struct span *ret_raw, bool *ret_has_escape);
/* Appends the decoded form of a checked raw string: UTF-8, lone surrogates as WTF-8. */
int pyjson_unescape(struct str *out, struct span raw);

enum pyjson_number_kind { PYJSON_LEX_INT, PYJSON_LEX_REAL, PYJSON_LEX_CONST /* NaN, Infinity */ };
/* At a digit, '-', 'N' or 'I'. */
int pyjson_lex_number(struct pyjson_lexer *lx, struct span *ret_token,
		      enum pyjson_number_kind *ret_kind);
/* Takes the word when it is next. */
bool pyjson_lex_word(struct pyjson_lexer *lx, const char *word, size_t len);
/* Enters and leaves a container; -1 when too deep. */
int pyjson_lex_enter(struct pyjson_lexer *lx);
/* Nothing but white space may follow. */
int pyjson_lex_end(struct pyjson_lexer *lx);

/*
 * The comma or end of a container: 1 = another element follows (p before its first byte), 0 =
 * closed by `close`, -1 = error. `is_first` right behind the opening bracket.
 */
int pyjson_lex_next(struct pyjson_lexer *lx, char close, bool is_first);
/* A key with its colon; p is before the value. */
int pyjson_lex_key(struct pyjson_lexer *lx, struct span *ret_raw, bool *ret_has_escape);

#endif

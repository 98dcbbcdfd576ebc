/*
 * Renders text templates from files. The language is a small part of Jinja2's:
 *
 *     {{ user.name }}  {{ items.0.title }}    a value of the context: objects by key, lists by
 * index
 *     {{ "text" }}  {{ '{{' }}                a literal
 *     {# comment #}
 *
 * A missing value and None print nothing; numbers, True and False print as Python's str(). Values
 * are escaped when the template's name ends with .html, .htm or .xml. As in Jinja2 one line end at
 * the end of the file is dropped. Everything else of Jinja2 is an error that names file, line and
 * column. Parsing (template_parse.c) knows nothing of values, evaluation (template_render.c)
 * nothing of text.
 *
 * Thread-safe: parsed files are kept per thread, and read again when their time or size changed.
 */
#ifndef TEMPLATE_TEMPLATE_H
#define TEMPLATE_TEMPLATE_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"

#define TEMPLATE_MAX_FILE   ((size_t)1 << 20)
#define TEMPLATE_MAX_OUTPUT ((size_t)1 << 20) /* of one rendering */

struct template;

/*
 * Appends the template `name` ("welcome/body.html"), looked for in `dirs` in order
 * (NULL-terminated), rendered with `context` (an object, or NULL). Codes: ERR_NOT_FOUND no such
 * file in any folder, ERR_INVALID a bad name or syntax, ERR_UNSUPPORTED Jinja2 that this version
 * does not know, ERR_LIMIT, ERR_IO. `out` may hold a part of the text after a failure.
 */
int template_render(const char *const *dirs, const char *name, const json_t *context,
		    struct str *out, struct err *err);

/* The two halves. `name` is for errors; nothing keeps `text`. */
struct template *template_parse(const char *name, const char *text, size_t len, struct err *err);
int template_eval(const struct template *t, const json_t *context, bool must_escape,
		  struct str *out, struct err *err);
void template_free(struct template *t); /* NULL is allowed */

/* True for names whose values are escaped. */
bool template_is_markup(const char *name);

#endif

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "template/template.h"
#include "template/template_tree.h"

/* The parser's place in the text. */
struct parser {
	const char *name;
	const char *text;
	size_t len, pos;
	/* Where line and column were counted last; places are asked for in rising order. */
	size_t counted;
	unsigned line, column;
	struct template *tree;
	struct err *err;
};

static void count_to(struct parser *p, size_t pos)
{
	for (; p->counted < pos; p->counted++) {
		if (p->text[p->counted] == '\n') {
			p->line++;
			p->column = 1;
		} else if ((p->text[p->counted] & 0xc0) != 0x80) {
			p->column++; /* characters, not bytes */
		}
	}
}

static int fail(struct parser *p, size_t pos, enum err_code code, const char *what)
{
	count_to(p, pos);
	return err_set(p->err, code, "%s:%u:%u: %s", p->name, p->line, p->column, what);
}

static struct template_node *add_node(struct parser *p, enum template_kind kind, size_t pos)
{
	struct template *t = p->tree;
	struct template_node *node;

	if (t->count == t->cap) {
		t->cap = t->cap ? t->cap * 2 : 16;
		t->nodes = mem_realloc(t->nodes, t->cap * sizeof(*t->nodes));
	}
	count_to(p, pos);
	node = &t->nodes[t->count++];
	*node = (struct template_node){.kind = kind, .line = p->line, .column = p->column};
	return node;
}

static void add_text(struct parser *p, size_t from, size_t to)
{
	struct template_node *node;

	if (from == to)
		return;
	node = add_node(p, TEMPLATE_TEXT, from);
	node->text = mem_dup(p->text + from, to - from);
	node->len = to - from;
}

static bool looks_at(const struct parser *p, const char *mark)
{
	size_t len = strlen(mark);

	return p->len - p->pos >= len && memcmp(p->text + p->pos, mark, len) == 0;
}

static void skip_space(struct parser *p)
{
	while (p->pos < p->len && strchr(" \t\r\n", p->text[p->pos]) && p->text[p->pos])
		p->pos++;
}

static bool is_name_char(char c, bool is_first)
{
	return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' ||
	       (!is_first && c >= '0' && c <= '9');
}

/* Words that mean something else in Jinja2 than a name. */
static bool is_reserved(const char *name)
{
	static const char *const words[] = {"true", "false", "none", "True", "False", "None", "not",
					    "and",  "or",    "if",   "else", "in",    "is",   NULL};

	for (size_t i = 0; words[i]; i++)
		if (strcmp(name, words[i]) == 0)
			return true;
	return false;
}

/* One name of a path; a list's index is allowed behind a dot. */
static char *parse_name(struct parser *p, bool is_first)
{
	size_t start = p->pos;
	bool is_index =
		!is_first && p->pos < p->len && p->text[p->pos] >= '0' && p->text[p->pos] <= '9';

	if (is_index)
		while (p->pos < p->len && p->text[p->pos] >= '0' && p->text[p->pos] <= '9')
			p->pos++;
	else
		while (p->pos < p->len && is_name_char(p->text[p->pos], p->pos == start))
			p->pos++;
	return p->pos > start ? mem_dup(p->text + start, p->pos - start) : NULL;
}

static int unexpected(struct parser *p)
{
	char what[120];
	char c = p->pos < p->len ? p->text[p->pos] : '\0';

	if (c == '|')
		return fail(p, p->pos, ERR_UNSUPPORTED,
			    "filters are not supported by this version");
	if (p->pos >= p->len)
		return fail(p, p->pos, ERR_INVALID, "'{{' is not closed by '}}'");
	if ((unsigned char)c >= 0x80 || (unsigned char)c < 0x20)
		return fail(p, p->pos, ERR_INVALID, "unexpected character inside '{{ }}'");
	snprintf(what, sizeof(what),
		 "'%c' inside '{{ }}' is not supported by this version: only names like "
		 "user.name are",
		 c);
	return fail(p, p->pos, ERR_UNSUPPORTED, what);
}

static int parse_path(struct parser *p, size_t start)
{
	struct template_node *node = add_node(p, TEMPLATE_PATH, start);
	size_t count = 0, pos = p->pos;
	char *name;

	node->names = mem_calloc(TEMPLATE_MAX_DEPTH + 1, sizeof(*node->names));
	do {
		if (count == TEMPLATE_MAX_DEPTH)
			return fail(p, p->pos, ERR_LIMIT, "the path has too many names");
		p->pos += count > 0;
		name = parse_name(p, count == 0);
		if (!name)
			return unexpected(p);
		node->names[count++] = name;
	} while (p->pos < p->len && p->text[p->pos] == '.');
	if (count == 1 && is_reserved(node->names[0]))
		return fail(p, pos, ERR_UNSUPPORTED,
			    "the expression is not supported by this version: only names like "
			    "user.name are");
	return 0;
}

/* A string literal; a backslash makes the next character ordinary (\n is a line end). */
static int parse_literal(struct parser *p, size_t start)
{
	struct template_node *node = add_node(p, TEMPLATE_LITERAL, start);
	char quote = p->text[p->pos];
	size_t open = p->pos++;
	char *out = node->text = mem_alloc(p->len - p->pos + 1);

	while (p->pos < p->len && p->text[p->pos] != quote) {
		char c = p->text[p->pos++];

		if (c == '\\' && p->pos < p->len) {
			c = p->text[p->pos++];
			c = (char)(c == 'n' ? '\n' : c);
		}
		*out++ = c;
	}
	if (p->pos >= p->len)
		return fail(p, open, ERR_INVALID, "the string is not closed");
	p->pos++;
	*out = '\0';
	node->len = (size_t)(out - node->text);
	node->text = mem_realloc(node->text, node->len + 1);
	return 0;
}

static int parse_expression(struct parser *p)
{
	size_t start = p->pos;
	int ret;

	p->pos += 2;
	if (p->pos < p->len && (p->text[p->pos] == '-' || p->text[p->pos] == '+'))
		return fail(p, p->pos, ERR_UNSUPPORTED,
			    "whitespace control is not supported by this version");
	skip_space(p);
	if (p->pos < p->len && (p->text[p->pos] == '"' || p->text[p->pos] == '\''))
		ret = parse_literal(p, start);
	else
		ret = parse_path(p, start);
	if (ret < 0)
		return -1;
	skip_space(p);
	if (!looks_at(p, "}}"))
		return unexpected(p);
	p->pos += 2;
	return 0;
}

static int parse_comment(struct parser *p)
{
	size_t start = p->pos;

	for (p->pos += 2; p->pos < p->len; p->pos++)
		if (looks_at(p, "#}")) {
			p->pos += 2;
			return 0;
		}
	return fail(p, start, ERR_INVALID, "'{#' is not closed by '#}'");
}

static int refuse_statement(struct parser *p)
{
	size_t start = p->pos, from, to;
	char what[120];

	p->pos += 2;
	p->pos += p->pos < p->len && (p->text[p->pos] == '-' || p->text[p->pos] == '+');
	skip_space(p);
	from = to = p->pos;
	while (to < p->len && is_name_char(p->text[to], to == from) && to - from < 30)
		to++;
	snprintf(what, sizeof(what), "'{%% %.*s %%}' is not supported by this version",
		 (int)(to - from), p->text + from);
	return fail(p, start, ERR_UNSUPPORTED, what);
}

static int parse(struct parser *p)
{
	size_t text_start = 0;
	int ret = 0;

	while (p->pos < p->len && ret == 0) {
		bool is_tag = looks_at(p, "{{") || looks_at(p, "{#") || looks_at(p, "{%");

		if (!is_tag) {
			p->pos++;
			continue;
		}
		add_text(p, text_start, p->pos);
		if (p->text[p->pos + 1] == '{')
			ret = parse_expression(p);
		else if (p->text[p->pos + 1] == '#')
			ret = parse_comment(p);
		else
			ret = refuse_statement(p);
		text_start = p->pos;
	}
	if (ret == 0)
		add_text(p, text_start, p->len);
	return ret;
}

struct template *template_parse(const char *name, const char *text, size_t len, struct err *err)
{
	struct parser p = {.name = name, .text = text, .len = len, .line = 1, .column = 1};

	p.err = err;
	if (len > TEMPLATE_MAX_FILE) {
		err_set(err, ERR_LIMIT, "%s: the template is larger than %zu bytes", name,
			TEMPLATE_MAX_FILE);
		return NULL;
	}
	if (len && text[len - 1] == '\n')
		p.len -= len > 1 && text[len - 2] == '\r' ? 2 : 1;
	p.tree = mem_calloc(1, sizeof(*p.tree));
	p.tree->name = mem_strdup(name);
	if (parse(&p) == 0)
		return p.tree;
	template_free(p.tree);
	return NULL;
}

void template_free(struct template *t)
{
	if (!t)
		return;
	for (size_t i = 0; i < t->count; i++) {
		struct template_node *node = &t->nodes[i];

		for (size_t n = 0; node->names && node->names[n]; n++)
			free(node->names[n]);
		free(node->names);
		free(node->text);
	}
	free(t->nodes);
	free(t->name);
	free(t);
}

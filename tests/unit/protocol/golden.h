/* Reads the golden files: lines of tab-separated fields, see tests/golden/record.py. */
#ifndef TESTS_UNIT_PROTOCOL_GOLDEN_H
#define TESTS_UNIT_PROTOCOL_GOLDEN_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define GOLDEN_FIELDS 8

struct golden {
	FILE *file;
	char *line;
	size_t line_size;
	unsigned number;
	char *field[GOLDEN_FIELDS]; /* NUL behind each */
	size_t len[GOLDEN_FIELDS];
	size_t count;
};

static inline unsigned golden_hex(char c)
{
	return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10);
}

/* Decodes in place: the bytes take less room than their digits. */
static inline size_t golden_decode(char *field)
{
	size_t len = strlen(field), count = 0;

	if (strncmp(field, "hex:", 4) != 0)
		return len;
	for (size_t i = 4; i + 1 < len; i += 2)
		field[count++] = (char)(golden_hex(field[i]) << 4 | golden_hex(field[i + 1]));
	field[count] = '\0';
	return count;
}

static inline void golden_open(struct golden *g, const char *path)
{
	*g = (struct golden){.file = fopen(path, "r")};
	ck_assert_msg(g->file != NULL, "%s: run me from the root of the tree", path);
}

/* False at the end, when everything is freed. */
static inline bool golden_next(struct golden *g)
{
	char *rest;

	if (getline(&g->line, &g->line_size, g->file) == -1) {
		ck_assert_uint_gt(g->number, 0);
		free(g->line);
		fclose(g->file);
		return false;
	}
	g->number++;
	g->line[strcspn(g->line, "\n")] = '\0';
	rest = g->line;
	for (g->count = 0; rest && g->count < GOLDEN_FIELDS; g->count++)
		g->field[g->count] = strsep(&rest, "\t");
	for (size_t i = 0; i < g->count; i++)
		g->len[i] = golden_decode(g->field[i]);
	return true;
}

#endif

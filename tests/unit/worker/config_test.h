/* What the tests of settings share: a folder with a settings file, an empty environment, loading.
 */
#ifndef CONFIG_TEST_H
#define CONFIG_TEST_H

#include <check.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/config/config.h"
#include "worker/config/table.h"

/* A command line that may be permuted. */
#define ARGS(...) copied((const char *const[]){__VA_ARGS__, NULL})
#define NONE	  copied((const char *const[]){NULL})

static inline char **copied(const char *const *texts)
{
	static char *copies[32];

	for (size_t i = 0; i < 32; i++) {
		free(copies[i]);
		copies[i] = NULL;
	}
	for (size_t i = 0; i < 31 && texts[i]; i++)
		copies[i] = mem_strdup(texts[i]);
	return copies;
}

/* Each test runs in a process of its own: folder and environment are its own too. */
static inline void begin(const char *file)
{
	char folder[] = "/tmp/smallage-config-XXXXXX";
	FILE *out;

	clearenv();
	ck_assert_ptr_nonnull(mkdtemp(folder));
	ck_assert_int_eq(chdir(folder), 0);
	if (!file)
		return;
	out = fopen("smallage.yaml", "w");
	ck_assert_ptr_nonnull(out);
	fputs(file, out);
	fclose(out);
}

static inline void end(void)
{
	char folder[256];

	ck_assert_ptr_nonnull(getcwd(folder, sizeof(folder)));
	unlink("smallage.yaml");
	ck_assert_int_eq(chdir("/"), 0);
	rmdir(folder);
}

static inline struct config *load(char **argv)
{
	struct err err = {0};
	int argc = 0;
	struct config *c;

	while (argv[argc])
		argc++;
	c = config_load(argc, argv, NULL, &err);
	ck_assert_msg(c != NULL, "%s", err.text);
	return c;
}

/* Loading fails with a text that holds `part` and never `secret`. */
static inline void load_fails(char **argv, const char *part)
{
	struct err err = {0};
	int argc = 0;
	struct config *c;

	while (argv[argc])
		argc++;
	c = config_load(argc, argv, NULL, &err);
	ck_assert_msg(c == NULL, "was accepted");
	ck_assert_msg(strstr(err.text, part) != NULL, "'%s' lacks '%s'", err.text, part);
	ck_assert_msg(strstr(err.text, "s3cret") == NULL, "'%s' tells a secret", err.text);
}

static inline bool has_notice(const struct config *c, const char *part)
{
	for (char **notice = c->notices; *notice; notice++)
		if (strstr(*notice, part))
			return true;
	return false;
}

#endif

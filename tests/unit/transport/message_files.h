/* Message files as a test makes and counts them. */
#ifndef TESTS_UNIT_TRANSPORT_MESSAGE_FILES_H
#define TESTS_UNIT_TRANSPORT_MESSAGE_FILES_H

#include <check.h>
#include <dirent.h>
#include <string.h>

#include "base/str.h"
#include "transport/envelope.h"

/* Envelope text of a message with this body, to be freed. */
static inline char *envelope(const char *body, size_t len)
{
	struct publication p = {.routing_key = "q", .body = body, .body_len = len};
	auto_str out;

	str_init(&out, 64 << 20);
	ck_assert_int_eq(envelope_encode(&out, &p, "tag", NULL), 0);
	return str_detach(&out);
}

/* How many files in a folder have names that end so. */
static inline unsigned count(const char *folder, const char *suffix)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	unsigned n = 0;

	if (dir == NULL)
		return 0;
	while ((entry = readdir(dir)) != NULL) {
		size_t len = strlen(entry->d_name);

		n += entry->d_name[0] != '.' && len >= strlen(suffix) &&
		     strcmp(entry->d_name + len - strlen(suffix), suffix) == 0;
	}
	closedir(dir);
	return n;
}

/* Hidden things: spools and temporary files. */
static inline unsigned count_hidden(const char *folder)
{
	DIR *dir = opendir(folder);
	const struct dirent *entry;
	unsigned n = 0;

	while ((entry = readdir(dir)) != NULL)
		n += entry->d_name[0] == '.' && strcmp(entry->d_name, ".") != 0 &&
		     strcmp(entry->d_name, "..") != 0;
	closedir(dir);
	return n;
}

#endif

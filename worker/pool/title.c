#include "worker/pool/title.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>

/* Where the kernel put our arguments: fields 48 and 49 of proc(5) stat. */
static char *find_arguments(size_t *ret_len)
{
	unsigned long long from = 0, to = 0;
	char text[2048];
	FILE *file = fopen("/proc/self/stat", "re");
	size_t len;
	char *at;

	if (!file)
		return NULL;
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	/* The name may hold anything, so count from its end: there begins field 3. */
	at = strrchr(text, ')');
	for (int field = 2; at && field < 48; field++)
		at = strchr(at + 1, ' ');
	if (!at || sscanf(at, " %llu %llu", &from, &to) != 2 || from == 0 || to <= from)
		return NULL;
	*ret_len = (size_t)(to - from);
	return (char *)(uintptr_t)from;
}

void title_set(const char *title)
{
	const char *colon = strchr(title, ':');
	size_t len = 0;
	char *arguments = find_arguments(&len);

	/* 15 characters at most, so the part that differs. */
	prctl(PR_SET_NAME, colon ? colon + 2 : title);
	if (!arguments)
		return;
	memset(arguments, 0, len);
	(void)snprintf(arguments, len, "%s", title);
}

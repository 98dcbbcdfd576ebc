#include "worker/config/cpus.h"

#include <math.h>
#include <sched.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"

unsigned cpus_available(void)
{
	cpu_set_t mask;
	long online;

	if (sched_getaffinity(0, sizeof(mask), &mask) == 0)
		return (unsigned)CPU_COUNT(&mask);
	online = sysconf(_SC_NPROCESSORS_ONLN); /* a host with more CPUs than a mask holds */
	return online > 0 ? (unsigned)online : 1;
}

/* Reads the first line of a small file; false when there is none. */
static bool read_line(const char *path, char *line, size_t size)
{
	FILE *file = fopen(path, "re");
	bool is_read;

	if (!file)
		return false;
	is_read = fgets(line, (int)size, file) != NULL;
	fclose(file);
	if (is_read)
		line[strcspn(line, "\n")] = '\0';
	return is_read;
}

/* quota / period of two decimal texts; "max" and -1 mean none. */
static double quotient(const char *quota_text, const char *period_text)
{
	char *quota_end, *period_end;
	long long quota = strtoll(quota_text, &quota_end, 10);
	long long period = strtoll(period_text, &period_end, 10);

	if (quota_end == quota_text || period_end == period_text || quota <= 0 || period <= 0)
		return 0;
	return (double)quota / (double)period;
}

static double quota_of_folder(const char *folder, bool is_v2)
{
	char first[128], second[128];
	auto_free char *quota_path =
		mem_printf("%s/%s", folder, is_v2 ? "cpu.max" : "cpu.cfs_quota_us");
	auto_free char *period_path = mem_printf("%s/cpu.cfs_period_us", folder);
	char *space;

	if (!read_line(quota_path, first, sizeof(first)))
		return 0;
	if (!is_v2)
		return read_line(period_path, second, sizeof(second)) ? quotient(first, second) : 0;
	space = strchr(first, ' ');
	return space ? quotient(first, space + 1) : 0;
}

/* The smallest quota of the group at base/path and of all groups around it. */
static double smallest_quota(const char *base, const char *path, bool is_v2)
{
	auto_free char *at = mem_strdup(path);
	double smallest = 0;

	for (;;) {
		auto_free char *folder = mem_printf("%s/%s", base, at);
		double quota = quota_of_folder(folder, is_v2);
		char *slash = strrchr(at, '/');

		if (quota > 0 && (smallest <= 0 || quota < smallest))
			smallest = quota;
		if (at[0] == '\0')
			return smallest;
		if (slash)
			*slash = '\0';
		else
			at[0] = '\0';
	}
}

static bool has_word(const char *list, const char *word)
{
	size_t want = strlen(word);

	while (*list) {
		size_t len = strcspn(list, ",");

		if (len == want && strncmp(list, word, len) == 0)
			return true;
		list += len + (list[len] == ',');
	}
	return false;
}

/* This process's place: the v2 path, the path of v1's cpu controller and what that is mounted as.
 * Paths that climb out of a namespace ("/../..") count as its root. */
struct place {
	char v2[512], v1[512], v1_mount[128];
};

static void path_copy(char *to, size_t size, const char *path)
{
	while (*path == '/')
		path++;
	snprintf(to, size, "%s", strstr(path, "..") ? "" : path);
}

static void read_place(const char *root, struct place *p)
{
	auto_free char *path = mem_printf("%s/proc/self/cgroup", root);
	FILE *file = fopen(path, "re");
	char line[1024];

	if (!file)
		return; /* the mounts' roots are all we know then */
	while (fgets(line, sizeof(line), file)) {
		char *controllers = strchr(line, ':');
		char *group = controllers ? strchr(controllers + 1, ':') : NULL;

		if (!group)
			continue;
		line[strcspn(line, "\n")] = '\0';
		*controllers++ = '\0';
		*group++ = '\0';
		if (strcmp(line, "0") == 0 && controllers[0] == '\0') {
			path_copy(p->v2, sizeof(p->v2), group);
		} else if (has_word(controllers, "cpu")) {
			path_copy(p->v1, sizeof(p->v1), group);
			snprintf(p->v1_mount, sizeof(p->v1_mount), "%s", controllers);
		}
	}
	fclose(file);
}

double cpus_quota(const char *root)
{
	struct place place = {.v1_mount = "cpu"};
	auto_free char *v2_base = mem_printf("%s/sys/fs/cgroup", root);
	auto_free char *v1_base = NULL;
	auto_free char *cpu_base = mem_printf("%s/sys/fs/cgroup/cpu", root);
	double quota;

	read_place(root, &place);
	v1_base = mem_printf("%s/sys/fs/cgroup/%s", root, place.v1_mount);
	quota = smallest_quota(v2_base, place.v2, true);
	if (quota <= 0)
		quota = smallest_quota(v1_base, place.v1, false);
	if (quota <= 0)
		quota = smallest_quota(cpu_base, place.v1,
				       false); /* hosts with one link for both */
	return quota;
}

unsigned cpus_budget(unsigned available, double quota)
{
	double slots = ceil(quota);

	if (available < 1)
		available = 1;
	if (quota <= 0 || slots >= available)
		return available;
	return slots < 1 ? 1 : (unsigned)slots;
}

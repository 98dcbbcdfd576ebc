#include "worker/request/tally.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

/* Services times providers times answers; what comes above is counted as "other". */
#define ANSWERS_MAX 200
#define FIELDS	    3
#define FIELD_MAX   32

const char *const tally_answer_labels[] = {"service", "provider", "answer", NULL};

const char *tally_end_name(enum tally_end end)
{
	static const char *const names[TALLY_END_COUNT] = {
		[TALLY_SUCCEEDED] = "succeeded", [TALLY_FAILED] = "failed",
		[TALLY_TIMEOUT] = "timeout",	 [TALLY_LOST] = "lost",
		[TALLY_RETRIED] = "retried",	 [TALLY_REQUEUED] = "requeued",
		[TALLY_IGNORED] = "ignored",	 [TALLY_REJECTED] = "rejected",
		[TALLY_REVOKED] = "revoked",	 [TALLY_CANCELLED] = "cancelled",
	};

	return names[end];
}

const char *tally_since_name(enum tally_since since)
{
	return since == TALLY_SENT ? "sent" : "received";
}

void tallies_init(struct tallies *all, const struct registry *registry)
{
	all->registry = registry;
	all->by_task = mem_calloc(registry_count(registry) + 1, sizeof(struct tally *));
	all->answers = NULL;
}

void tallies_clear(struct tallies *all)
{
	for (unsigned i = 0; all->by_task && i < registry_count(all->registry); i++)
		free(all->by_task[i]);
	free(all->by_task);
	all->by_task = NULL;
	metric_set_free(all->answers);
	all->answers = NULL;
}

struct tally *tally_of(struct tallies *all, const struct task_entry *task)
{
	struct tally **at = &all->by_task[task->index];

	if (!*at)
		*at = mem_calloc(1, sizeof(**at));
	return *at;
}

const struct tally *tally_at(const struct tallies *all, unsigned index)
{
	return all->by_task[index];
}

/* Copies one field of a line; its end, or NULL when it has another form. */
static const char *take_field(char field[FIELD_MAX + 1], const char *at, char end)
{
	size_t len = strspn(at, "abcdefghijklmnopqrstuvwxyz0123456789_.-");

	if (len == 0 || len > FIELD_MAX || at[len] != end)
		return NULL;
	memcpy(field, at, len);
	field[len] = '\0';
	return at + len + 1;
}

static void count_answer(struct tallies *all, const char *line)
{
	char fields[FIELDS][FIELD_MAX + 1];

	for (unsigned i = 0; i < FIELDS; i++) {
		line = take_field(fields[i], line, i < FIELDS - 1 ? '\t' : '\n');
		if (!line)
			return;
	}
	if (!all->answers)
		all->answers = metric_set_new(tally_answer_labels, ANSWERS_MAX);
	++*metric_set_at(all->answers, (const char *[FIELDS]){fields[0], fields[1], fields[2]});
}

void tally_answers(struct tallies *all, const char *lines)
{
	for (const char *end; (end = strchr(lines, '\n')); lines = end + 1)
		count_answer(all, lines);
}

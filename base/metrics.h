/*
 * Counters and histograms, and the text in which Prometheus reads them (exposition format 0.0.4).
 * A value is a plain number at its owner's; what is here gives it a name when somebody asks:
 *
 *     metrics_family(out, "smallage_tasks_total", METRIC_COUNTER, "Tasks that ended.");
 *     metrics_count(out, "smallage_tasks_total", n, "task", name, "outcome", "failed", NULL);
 *
 * Label sets whose values are not known beforehand live in a struct metric_set, which is bounded:
 * what comes when it is full is counted under "other".
 */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stddef.h>
#include <stdint.h>

#include "base/str.h"

enum metric_type { METRIC_COUNTER, METRIC_GAUGE, METRIC_HISTOGRAM };

/* Seconds from half a millisecond to half an hour, the same for all so that they can be added. */
#define HISTOGRAM_BOUNDS 18
extern const double histogram_bounds[HISTOGRAM_BOUNDS];

struct histogram {
	uint64_t
		buckets[HISTOGRAM_BOUNDS + 1]; /* not cumulated; the last one is above all bounds */
	double sum_s;
};
/* Negative times (clocks that disagree) and NaN count as 0. */
void histogram_observe(struct histogram *h, double seconds);
uint64_t histogram_count(const struct histogram *h);

/* HELP and TYPE; the family's values must follow. */
void metrics_family(struct str *out, const char *name, enum metric_type type, const char *help);
/* One value. Behind it stand pairs of label name and value, then NULL. */
void metrics_count(struct str *out, const char *name, uint64_t value, ...)
	__attribute__((sentinel));
void metrics_gauge(struct str *out, const char *name, double value, ...) __attribute__((sentinel));
void metrics_histogram(struct str *out, const char *name, const struct histogram *h, ...)
	__attribute__((sentinel));

/* Counters by label values that come from outside. */
#define METRIC_LABELS_MAX  4
#define METRIC_VALUE_BYTES 64 /* a longer label value counts under "other" */
struct metric_set;

/* `labels`: names, NULL behind the last, at most METRIC_LABELS_MAX; must stay. */
struct metric_set *metric_set_new(const char *const *labels, size_t max);
void metric_set_free(struct metric_set *set); /* NULL allowed */
/* The counter of these values (as many as there are labels); stays where it is. */
uint64_t *metric_set_at(struct metric_set *set, const char *const *values);
/* Every counter, in the order in which they came. */
typedef void metric_set_fn(void *ctx, const char *const *values, uint64_t count);
void metric_set_each(const struct metric_set *set, metric_set_fn *fn, void *ctx);
void metric_set_write(struct str *out, const char *name, const struct metric_set *set);

#endif

#include "base/metrics.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"

const double histogram_bounds[HISTOGRAM_BOUNDS] = {0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025,
						   0.05,   0.1,	  0.25,	  0.5,	 1,    2.5,
						   5,	   10,	  30,	  60,	 300,  1800};

/* The same as Python writes them; to be found out anew for each line they would cost most of all.
 */
static const char *const bound_texts[HISTOGRAM_BOUNDS] = {
	"0.0005", "0.001", "0.0025", "0.005", "0.01", "0.025", "0.05", "0.1",	"0.25",
	"0.5",	  "1.0",   "2.5",    "5.0",   "10.0", "30.0",  "60.0", "300.0", "1800.0"};

void histogram_observe(struct histogram *h, double seconds)
{
	unsigned i = 0;

	if (!(seconds > 0))
		seconds = 0;
	while (i < HISTOGRAM_BOUNDS && seconds > histogram_bounds[i])
		i++;
	h->buckets[i]++;
	h->sum_s += seconds;
}

uint64_t histogram_count(const struct histogram *h)
{
	uint64_t count = 0;

	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++)
		count += h->buckets[i];
	return count;
}

/* One byte that is not UTF-8 would make Prometheus refuse all values of a scrape. */
static void put_escaped(struct str *out, const char *text, bool is_label)
{
	bool is_utf8 = utf8_is_valid(text, strlen(text));

	for (; *text; text++) {
		if (*text == '\\')
			str_puts(out, "\\\\");
		else if (*text == '\n')
			str_puts(out, "\\n");
		else if (*text == '"' && is_label)
			str_puts(out, "\\\"");
		else if ((*text & 0x80) && !is_utf8)
			str_addc(out, '?');
		else
			str_addc(out, *text);
	}
}

void metrics_family(struct str *out, const char *name, enum metric_type type, const char *help)
{
	static const char *const types[] = {"counter", "gauge", "histogram"};

	str_addf(out, "# HELP %s ", name);
	put_escaped(out, help, false);
	str_addf(out, "\n# TYPE %s %s\n", name, types[type]);
}

static void put_label(struct str *out, const char *name, const char *value, bool is_first)
{
	str_addf(out, "%s%s=\"", is_first ? "{" : ",", name);
	put_escaped(out, value, true);
	str_addc(out, '"');
}

/* The pairs of a list of arguments as {a="1",b="2" without the closing brace; "" when empty. */
static void put_pairs(struct str *out, va_list ap)
{
	const char *name;

	for (bool is_first = true; (name = va_arg(ap, const char *)); is_first = false)
		put_label(out, name, va_arg(ap, const char *), is_first);
}

static void put_line(struct str *out, const char *name, const char *suffix, const struct str *pairs)
{
	str_addf(out, "%s%s%s%s ", name, suffix, pairs->len ? pairs->data : "",
		 pairs->len ? "}" : "");
}

/* A line up to its value. */
static void put_head(struct str *out, const char *name, va_list ap)
{
	auto_str pairs = STR_INIT(STR_MAX_DEFAULT);

	put_pairs(&pairs, ap);
	put_line(out, name, "", &pairs);
}

void metrics_count(struct str *out, const char *name, uint64_t value, ...)
{
	va_list ap;

	va_start(ap, value);
	put_head(out, name, ap);
	va_end(ap);
	str_addf(out, "%llu\n", (unsigned long long)value);
}

void metrics_gauge(struct str *out, const char *name, double value, ...)
{
	va_list ap;

	va_start(ap, value);
	put_head(out, name, ap);
	va_end(ap);
	float_repr(out, value);
	str_addc(out, '\n');
}

void metrics_histogram(struct str *out, const char *name, const struct histogram *h, ...)
{
	auto_str pairs = STR_INIT(STR_MAX_DEFAULT);
	uint64_t count = 0;
	va_list ap;

	va_start(ap, h);
	put_pairs(&pairs, ap);
	va_end(ap);
	for (unsigned i = 0; i <= HISTOGRAM_BOUNDS; i++) {
		count += h->buckets[i];
		str_addf(out, "%s_bucket%s%sle=\"%s\"} %llu\n", name, pairs.len ? pairs.data : "{",
			 pairs.len ? "," : "", i < HISTOGRAM_BOUNDS ? bound_texts[i] : "+Inf",
			 (unsigned long long)count);
	}
	put_line(out, name, "_sum", &pairs);
	float_repr(out, h->sum_s);
	str_addc(out, '\n');
	put_line(out, name, "_count", &pairs);
	str_addf(out, "%llu\n", (unsigned long long)count);
}

/* --- label values from outside --- */

struct metric_counter {
	uint64_t count;
	char *values[METRIC_LABELS_MAX];
};

struct metric_set {
	const char *const *labels;
	unsigned label_count;
	size_t max;
	struct map *by_key;
};

struct metric_set *metric_set_new(const char *const *labels, size_t max)
{
	struct metric_set *set = mem_calloc(1, sizeof(*set));

	set->labels = labels;
	while (labels[set->label_count])
		set->label_count++;
	set->max = max;
	set->by_key = map_new();
	return set;
}

void metric_set_free(struct metric_set *set)
{
	if (!set)
		return;
	for (struct map_entry *e = map_first(set->by_key); e; e = map_next(e)) {
		struct metric_counter *counter = map_value(e);

		for (unsigned i = 0; i < set->label_count; i++)
			free(counter->values[i]);
		free(counter);
	}
	map_free(set->by_key);
	free(set);
}

/* Each value with its length before it, so that no two sets share a key. */
static void key_of(struct str *key, const struct metric_set *set, const char *const *values)
{
	str_reset(key);
	for (unsigned i = 0; i < set->label_count; i++)
		str_addf(key, "%zu:%s", strlen(values[i]), values[i]);
}

uint64_t *metric_set_at(struct metric_set *set, const char *const *values)
{
	const char *used[METRIC_LABELS_MAX];
	struct metric_counter *counter;
	auto_str key = STR_INIT(METRIC_LABELS_MAX * (METRIC_VALUE_BYTES + 8));

	for (unsigned i = 0; i < set->label_count; i++)
		used[i] = strlen(values[i]) <= METRIC_VALUE_BYTES ? values[i] : "other";
	key_of(&key, set, used);
	counter = map_get(set->by_key, key.data);
	if (!counter && map_count(set->by_key) >= set->max) {
		for (unsigned i = 0; i < set->label_count; i++)
			used[i] = "other";
		key_of(&key, set, used);
		counter = map_get(set->by_key, key.data);
	}
	if (counter)
		return &counter->count;
	counter = mem_calloc(1, sizeof(*counter));
	for (unsigned i = 0; i < set->label_count; i++)
		counter->values[i] = mem_strdup(used[i]);
	map_put(set->by_key, key.data, counter);
	return &counter->count;
}

void metric_set_each(const struct metric_set *set, metric_set_fn *fn, void *ctx)
{
	for (struct map_entry *e = map_first(set->by_key); e; e = map_next(e)) {
		const struct metric_counter *counter = map_value(e);

		fn(ctx, (const char *const *)counter->values, counter->count);
	}
}

struct writing {
	struct str *out;
	const char *name;
	const struct metric_set *set;
};

static void write_one(void *ctx, const char *const *values, uint64_t count)
{
	const struct writing *w = ctx;

	str_puts(w->out, w->name);
	for (unsigned i = 0; i < w->set->label_count; i++)
		put_label(w->out, w->set->labels[i], values[i], i == 0);
	str_addf(w->out, "} %llu\n", (unsigned long long)count);
}

void metric_set_write(struct str *out, const char *name, const struct metric_set *set)
{
	struct writing w = {out, name, set};

	metric_set_each(set, write_one, &w);
}

#include "base/metrics.h"

#include <check.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "base/text.h"

static void assert_text(const struct str *out, const char *expected)
{
	ck_assert(!out->is_full);
	ck_assert_str_eq(out->data ? out->data : "", expected);
}

START_TEST(a_family_has_help_and_type)
{
	auto_str out = STR_INIT(4096);

	metrics_family(&out, "a_total", METRIC_COUNTER, "One\nline, a \\ and a \"quote\".");
	metrics_family(&out, "b", METRIC_GAUGE, "B.");
	metrics_family(&out, "c", METRIC_HISTOGRAM, "C.");
	assert_text(&out, "# HELP a_total One\\nline, a \\\\ and a \"quote\".\n"
			  "# TYPE a_total counter\n"
			  "# HELP b B.\n# TYPE b gauge\n"
			  "# HELP c C.\n# TYPE c histogram\n");
}
END_TEST

START_TEST(counts_are_exact_and_gauges_short)
{
	auto_str out = STR_INIT(4096);

	metrics_count(&out, "a_total", UINT64_MAX, NULL);
	metrics_gauge(&out, "b", 0.1, NULL);
	metrics_gauge(&out, "b", 0, "x", "1", "y", "2", NULL);
	assert_text(&out, "a_total 18446744073709551615\nb 0.1\nb{x=\"1\",y=\"2\"} 0.0\n");
}
END_TEST

START_TEST(label_values_are_escaped_and_always_utf8)
{
	auto_str out = STR_INIT(4096);

	metrics_count(&out, "a", 1, "x",
		      "q\"b\\n\nGr\xc3\xbc\xc3\x9f"
		      "e",
		      NULL);
	metrics_count(&out, "a", 1, "x", "bad \xff \xc3\xbc", NULL);
	metrics_count(&out, "a", 1, "x", "", NULL);
	assert_text(&out, "a{x=\"q\\\"b\\\\n\\nGr\xc3\xbc\xc3\x9f"
			  "e\"} 1\n"
			  "a{x=\"bad ? ??\"} 1\na{x=\"\"} 1\n");
}
END_TEST

START_TEST(an_observation_is_in_the_first_bucket_that_holds_it)
{
	struct histogram h = {0};

	histogram_observe(&h, 0.0005); /* the bound itself belongs to it */
	histogram_observe(&h, 0.00051);
	histogram_observe(&h, 1800);
	histogram_observe(&h, 1800.1);
	histogram_observe(&h, INFINITY);
	ck_assert_uint_eq(h.buckets[0], 1);
	ck_assert_uint_eq(h.buckets[1], 1);
	ck_assert_uint_eq(h.buckets[HISTOGRAM_BOUNDS - 1], 1);
	ck_assert_uint_eq(h.buckets[HISTOGRAM_BOUNDS], 2);
	ck_assert_uint_eq(histogram_count(&h), 5);
}
END_TEST

START_TEST(times_before_zero_count_as_zero)
{
	struct histogram h = {0};

	histogram_observe(&h, -3);
	histogram_observe(&h, (double)NAN);
	ck_assert_uint_eq(h.buckets[0], 2);
	ck_assert_double_eq(h.sum_s, 0);
}
END_TEST

START_TEST(bounds_rise)
{
	for (unsigned i = 1; i < HISTOGRAM_BOUNDS; i++)
		ck_assert_double_lt(histogram_bounds[i - 1], histogram_bounds[i]);
}
END_TEST

START_TEST(bounds_are_written_as_they_are)
{
	auto_str out = STR_INIT(16384), line = STR_INIT(200);
	struct histogram h = {0};
	const char *at;

	metrics_histogram(&out, "h", &h, NULL);
	at = out.data;
	for (unsigned i = 0; i < HISTOGRAM_BOUNDS; i++) {
		str_reset(&line);
		str_puts(&line, "h_bucket{le=\"");
		float_repr(&line, histogram_bounds[i]);
		str_puts(&line, "\"} 0\n");
		ck_assert_msg(strncmp(at, line.data, line.len) == 0, "%s", line.data);
		at += line.len;
	}
	ck_assert(strncmp(at, "h_bucket{le=\"+Inf\"} 0\n", 22) == 0);
}
END_TEST

START_TEST(histograms_are_cumulated)
{
	auto_str out = STR_INIT(16384);
	struct histogram h = {0};

	histogram_observe(&h, 0.25);
	histogram_observe(&h, 0.5);
	histogram_observe(&h, 4000);
	metrics_histogram(&out, "h", &h, "task", "a", NULL);
	ck_assert_ptr_nonnull(strstr(out.data, "h_bucket{task=\"a\",le=\"0.0005\"} 0\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "h_bucket{task=\"a\",le=\"0.25\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "h_bucket{task=\"a\",le=\"1.0\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "h_bucket{task=\"a\",le=\"1800.0\"} 2\n"));
	ck_assert_ptr_nonnull(strstr(out.data,
				     "h_bucket{task=\"a\",le=\"+Inf\"} 3\n"
				     "h_sum{task=\"a\"} 4000.75\nh_count{task=\"a\"} 3\n"));
	str_reset(&out);
	metrics_histogram(&out, "h", &h, NULL);
	ck_assert_ptr_nonnull(strstr(out.data, "h_bucket{le=\"0.25\"} 1\n"));
	ck_assert_ptr_nonnull(strstr(out.data, "\nh_sum 4000.75\nh_count 3\n"));
}
END_TEST

static const char *const labels[] = {"service", "answer", NULL};

START_TEST(a_set_counts_by_values)
{
	struct metric_set *set = metric_set_new(labels, 10);
	auto_str out = STR_INIT(4096);

	++*metric_set_at(set, (const char *[]){"mail", "ok"});
	*metric_set_at(set, (const char *[]){"sms", "4xx"}) += 5;
	++*metric_set_at(set, (const char *[]){"mail", "ok"});
	/* As one text these two are the same. */
	++*metric_set_at(set, (const char *[]){"a", "bc"});
	++*metric_set_at(set, (const char *[]){"ab", "c"});
	metric_set_write(&out, "n_total", set);
	assert_text(&out, "n_total{service=\"mail\",answer=\"ok\"} 2\n"
			  "n_total{service=\"sms\",answer=\"4xx\"} 5\n"
			  "n_total{service=\"a\",answer=\"bc\"} 1\n"
			  "n_total{service=\"ab\",answer=\"c\"} 1\n");
	metric_set_free(set);
}
END_TEST

static void count_up(void *ctx, const char *const *values, uint64_t count)
{
	size_t *total = ctx;

	(void)values;
	*total += count;
}

START_TEST(a_set_is_bounded_and_loses_no_count)
{
	struct metric_set *set = metric_set_new(labels, 10);
	auto_str out = STR_INIT(1 << 16);
	size_t total = 0, lines = 0;
	char name[32];

	for (int i = 0; i < 1000; i++) {
		snprintf(name, sizeof(name), "n%d", i);
		++*metric_set_at(set, (const char *[]){name, "ok"});
	}
	metric_set_write(&out, "n", set);
	for (const char *at = out.data; (at = strchr(at, '\n')); at++)
		lines++;
	ck_assert_uint_eq(lines, 11);
	ck_assert_ptr_nonnull(strstr(out.data, "n{service=\"other\",answer=\"other\"} 990\n"));
	metric_set_each(set, count_up, &total);
	ck_assert_uint_eq(total, 1000);
	metric_set_free(set);
}
END_TEST

START_TEST(a_label_value_that_is_too_long_is_another)
{
	struct metric_set *set = metric_set_new(labels, 10);
	auto_str out = STR_INIT(4096);
	char name[1000];

	memset(name, 'x', sizeof(name) - 1);
	name[sizeof(name) - 1] = '\0';
	++*metric_set_at(set, (const char *[]){name, "ok"});
	metric_set_write(&out, "n", set);
	assert_text(&out, "n{service=\"other\",answer=\"ok\"} 1\n");
	metric_set_free(set);
}
END_TEST
END_TEST

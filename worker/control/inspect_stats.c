/* `stats`, and the memory of this process. Source: celery/worker/worker.py, stats(). */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pyjson.h"
#include "transport/url.h"
#include "worker/control/inspect.h"
#include "worker/control/mask.h"
#include "worker/control/stats_pool.h"

static json_t *number(double value)
{
	return value == (double)(json_int_t)value ? json_integer((json_int_t)value)
						  : json_real(value);
}

/* All URLs of a fail-over list; none when there is only one. */
static json_t *alternates(const char *urls)
{
	json_t *list = json_array();
	auto_free char *second = url_list_item(urls, 1);

	for (unsigned i = 0; second; i++) {
		auto_free char *url = url_list_item(urls, i);
		auto_str text = STR_INIT(8192);
		struct url parts;

		if (!url)
			break;
		if (url_parse(&parts, url, NULL) == 0)
			url_format_redacted(&text, &parts);
		else
			str_puts(&text, MASK);
		url_clear(&parts);
		json_array_append_new(list, json_string(text.data));
	}
	return list;
}

static json_t *transport_options(const char *text)
{
	json_t *value = text ? pyjson_load(text, strlen(text), NULL) : NULL;
	json_t *shown = mask_setting("broker_transport_options", value ? value : json_null());

	json_decref(value);
	if (json_is_object(shown))
		return shown;
	json_decref(shown);
	return json_object();
}

static const char *login_method(const struct config *config, const struct broker_info *info)
{
	if (config->broker_login_method)
		return config->broker_login_method;
	return info->is_amqp ? "PLAIN" : NULL;
}

static json_t *broker(const struct config *config)
{
	struct broker_info info;
	json_t *shown;

	if (!broker_info_read(&info, config->broker_read_url))
		return json_string("N/A");
	/* As py-amqp changes it when it connects. */
	bool is_local = info.is_amqp && strcmp(info.hostname, "localhost") == 0;

	shown = json_pack(
		"{s:s, s:s?, s:s, s:i, s:b, s:o, s:s, s:o, s:o, s:s?, s:n, s:o, s:s, s:o, s:n}",
		"hostname", is_local ? "127.0.0.1" : info.hostname, "userid", info.userid,
		"virtual_host", info.virtual_host, "port", info.port, "insist", 0, "ssl",
		broker_info_tls(config->broker_read_url, config->broker_use_ssl), "transport",
		info.transport, "connect_timeout", number(config->broker_connection_timeout),
		"transport_options", transport_options(config->broker_transport_options),
		"login_method", login_method(config, &info), "uri_prefix", "heartbeat",
		config->broker_heartbeat > 0 ? json_real(config->broker_heartbeat)
					     : json_integer(0),
		"failover_strategy", "round-robin", "alternates",
		alternates(config->broker_read_url), "credential_provider");
	broker_info_clear(&info);
	return shown ? shown : json_string("N/A");
}

static double to_seconds(struct timeval t)
{
	return (double)t.tv_sec + (double)t.tv_usec / 1e6;
}

static json_t *rusage(void)
{
	struct rusage u;

	if (getrusage(RUSAGE_SELF, &u) != 0)
		return json_string("N/A");
	return json_pack("{s:f, s:f, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:I, s:I}",
			 "utime", to_seconds(u.ru_utime), "stime", to_seconds(u.ru_stime), "maxrss",
			 (json_int_t)u.ru_maxrss, "ixrss", (json_int_t)u.ru_ixrss, "idrss",
			 (json_int_t)u.ru_idrss, "isrss", (json_int_t)u.ru_isrss, "minflt",
			 (json_int_t)u.ru_minflt, "majflt", (json_int_t)u.ru_majflt, "nswap",
			 (json_int_t)u.ru_nswap, "inblock", (json_int_t)u.ru_inblock, "oublock",
			 (json_int_t)u.ru_oublock, "msgsnd", (json_int_t)u.ru_msgsnd, "msgrcv",
			 (json_int_t)u.ru_msgrcv, "nsignals", (json_int_t)u.ru_nsignals, "nvcsw",
			 (json_int_t)u.ru_nvcsw, "nivcsw", (json_int_t)u.ru_nivcsw);
}

json_t *inspect_stats(struct control *c, const json_t *arguments, struct control_error *error)
{
	char clock[24];

	(void)arguments;
	(void)error;
	snprintf(clock, sizeof(clock), "%llu", (unsigned long long)c->clock->value);
	return json_pack("{s:o, s:i, s:s, s:I, s:o, s:o*, s:o, s:I, s:o}", "total",
			 totals_json(&c->consumer->totals), "pid", (int)getpid(), "clock", clock,
			 "uptime", (json_int_t)((clock_mono_us() - c->started_us) / 1000000),
			 "pool", stats_pool(c), "autoscaler", stats_autoscaler(c), "broker",
			 broker(c->config), "prefetch_count", (json_int_t)c->consumer->qos_sent,
			 "rusage", rusage());
}

/* --- memory --- */

/* "47.941MB", as celery.utils.debug.humanbytes() has it. Empty when the system does not tell. */
static void read_rss(char out[32])
{
	static const struct {
		double size;
		const char *unit;
	} units[] = {{(double)(1ull << 40), "TB"},
		     {(double)(1 << 30), "GB"},
		     {(double)(1 << 20), "MB"},
		     {(double)(1 << 10), "KB"},
		     {1, "b"}};
	FILE *file = fopen("/proc/self/statm", "re");
	long long pages = 0;
	size_t i = 0;

	out[0] = '\0';
	if (!file)
		return;
	if (fscanf(file, "%*s %lld", &pages) == 1 && pages > 0) {
		double bytes = (double)pages * (double)sysconf(_SC_PAGESIZE);

		while (bytes < units[i].size)
			i++;
		snprintf(out, 32, "%.5g%s", bytes / units[i].size, units[i].unit);
	}
	fclose(file);
}

/* Reads a file of the kernel's, which does not wait for a disk. */
json_t *inspect_memsample(struct control *c, const json_t *arguments, struct control_error *error)
{
	char rss[32];

	(void)arguments;
	(void)error;
	read_rss(rss);
	if (!rss[0])
		return json_null();
	snprintf(c->rss[c->rss_count++ % CONTROL_RSS_SAMPLES], 32, "%s", rss);
	return json_string(rss);
}

json_t *inspect_memdump(struct control *c, const json_t *arguments, struct control_error *error)
{
	auto_str text = STR_INIT(4096);
	unsigned first =
		c->rss_count > CONTROL_RSS_SAMPLES ? c->rss_count - CONTROL_RSS_SAMPLES : 0;
	char rss[32];

	(void)arguments;
	(void)error;
	if (c->rss_count > 0)
		str_puts(&text, "- rss (sample):\n");
	for (unsigned i = first; i < c->rss_count; i++)
		str_addf(&text, "-    > %s,\n", c->rss[i % CONTROL_RSS_SAMPLES]);
	c->rss_count = 0;
	read_rss(rss);
	str_addf(&text, "- rss (end): %s.\n", rss);
	return json_string(text.data);
}

#include "worker/health.h"

#include <jansson.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "protocol/pyjson.h"

static json_t *broker_health(const struct consumer *c, json_t *reasons)
{
	struct broker_stats s;

	consumer_broker_stats(c, &s);
	if (!c->is_up)
		json_array_append_new(reasons, json_string("no connection to the broker"));
	if (c->writer && !c->is_writer_up)
		json_array_append_new(reasons,
				      json_string("no connection to the broker that is sent to"));
	return json_pack("{s:b, s:b, s:s, s:I, s:I, s:I, s:I, s:I, s:I}", "up", c->is_up, "blocked",
			 s.is_blocked, "host", s.host, "delivered", (json_int_t)s.delivered,
			 "acked", (json_int_t)s.acked, "rejected", (json_int_t)s.rejected,
			 "published", (json_int_t)s.published, "publishes_waiting",
			 (json_int_t)s.publishes_waiting, "reconnects", (json_int_t)s.reconnects);
}

static json_t *backend_health(const struct consumer *c, json_t *reasons)
{
	struct backend_stats s = {0};

	if (!c->finish.backend)
		return json_null();
	backend_stats(c->finish.backend, &s);
	if (!s.is_up)
		json_array_append_new(reasons, json_string("no connection to the result backend"));
	if (backend_is_full(c->finish.backend))
		json_array_append_new(reasons,
				      json_string("too many results wait for the backend"));
	return json_pack("{s:b, s:s, s:I, s:I, s:I, s:I, s:I}", "up", s.is_up, "host", s.host,
			 "waiting", (json_int_t)s.waiting, "waiting_bytes",
			 (json_int_t)s.waiting_bytes, "stored", (json_int_t)s.stored, "failed",
			 (json_int_t)s.failed, "reconnects", (json_int_t)s.reconnects);
}

static json_t *pool_health(const struct pool *pool, const struct config *config, json_t *reasons)
{
	struct pool_stats s;
	json_t *pids = json_array();

	pool_stats(pool, &s);
	for (unsigned i = 0; i < s.pid_count; i++)
		json_array_append_new(pids, json_integer(s.pids[i]));
	if (s.slots == 0 && (config->autoscale_max == 0 || pool_size(pool) > 0))
		json_array_append_new(reasons, json_string("the pool has no process"));
	return json_pack("{s:s, s:i, s:i, s:I, s:I, s:I, s:I, s:o}", "kind",
			 pool_kind_name(config->worker_pool == CONFIG_THREADS ? POOL_THREADS
					: config->worker_pool == CONFIG_SOLO  ? POOL_SOLO
									      : POOL_PREFORK),
			 "slots", (int)s.slots, "busy", (int)s.busy, "accepted",
			 (json_int_t)s.accepted, "done", (json_int_t)s.done, "lost",
			 (json_int_t)s.lost, "recycled", (json_int_t)s.recycled, "pids", pids);
}

static json_t *request_health(const struct consumer *c)
{
	json_t *out = json_object();

	for (int i = 0; i < REQUEST_STATE_COUNT; i++)
		json_object_set_new(out, request_state_name((enum request_state)i),
				    json_integer((json_int_t)c->requests.counts[i]));
	return out;
}

static json_t *count_health(const struct consumer *c)
{
	const struct finish_counts *n = &c->finish.counts;

	return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "received",
			 (json_int_t)c->received, "succeeded", (json_int_t)n->succeeded, "failed",
			 (json_int_t)n->failed, "retried", (json_int_t)n->retried, "ignored",
			 (json_int_t)n->ignored, "rejected", (json_int_t)n->rejected, "requeued",
			 (json_int_t)n->requeued, "revoked", (json_int_t)n->revoked, "unknown",
			 (json_int_t)n->unknown, "invalid", (json_int_t)n->invalid, "adopted",
			 (json_int_t)c->adopted, "not_run_again",
			 (json_int_t)c->finish.acks.skipped);
}

static json_t *control_health(const struct consumer *c)
{
	struct broker_stats s = {0};

	if (c->broker)
		broker_stats(c->broker, &s);
	return json_pack("{s:I, s:I, s:I, s:I}", "messages", (json_int_t)s.mails, "replies",
			 (json_int_t)s.posts, "replies_dropped", (json_int_t)s.posts_dropped,
			 "revoked", (json_int_t)revoked_count(&c->revoked));
}

static json_t *event_health(const struct consumer *c)
{
	const struct events *e = c->finish.events;

	if (!e)
		return json_null();
	return json_pack("{s:b, s:I, s:I, s:I}", "enabled", e->has_tasks, "sent",
			 (json_int_t)e->sent, "dropped", (json_int_t)e->dropped, "waiting_bytes",
			 (json_int_t)e->waiting_bytes);
}

static json_t *histogram_health(const struct histogram *h)
{
	return json_pack("{s:I, s:f}", "count", (json_int_t)histogram_count(h), "sum", h->sum_s);
}

static json_t *tally_health(const struct tally *tally)
{
	json_t *out = json_pack("{s:I}", "received", (json_int_t)tally->received);
	json_t *waits = json_object();

	for (int i = 0; i < TALLY_END_COUNT; i++)
		if (tally->ends[i] > 0)
			json_object_set_new(out, tally_end_name((enum tally_end)i),
					    json_integer((json_int_t)tally->ends[i]));
	for (int i = 0; i < TALLY_SINCE_COUNT; i++)
		if (histogram_count(&tally->wait[i]) > 0)
			json_object_set_new(waits, tally_since_name((enum tally_since)i),
					    histogram_health(&tally->wait[i]));
	json_object_set_new(out, "run_s", histogram_health(&tally->run));
	json_object_set_new(out, "wait_s", waits);
	return out;
}

static json_t *task_health(const struct consumer *c)
{
	json_t *out = json_object();

	for (unsigned i = 0; i < registry_count(c->registry); i++) {
		const struct tally *tally = tally_at(&c->finish.tallies, i);

		if (tally) /* a name may be no UTF-8, then it is not shown */
			json_object_set_new(out, registry_at(c->registry, i)->name,
					    tally_health(tally));
	}
	return out;
}

static void add_answer(void *ctx, const char *const *values, uint64_t count)
{
	json_array_append_new(ctx,
			      json_pack("{s:s, s:s, s:s, s:I}", tally_answer_labels[0], values[0],
					tally_answer_labels[1], values[1], tally_answer_labels[2],
					values[2], "count", (json_int_t)count));
}

static json_t *answer_health(const struct consumer *c)
{
	json_t *out = json_array();

	if (c->finish.tallies.answers)
		metric_set_each(c->finish.tallies.answers, add_answer, out);
	return out;
}

/* Broker, backend and pool, and why the worker is not ready. */
static json_t *part_health(const struct consumer *c, const struct pool *pool)
{
	json_t *health = json_object(), *reasons = json_array();

	json_object_set_new(health, "broker", broker_health(c, reasons));
	json_object_set_new(health, "backend", backend_health(c, reasons));
	json_object_set_new(health, "pool", pool_health(pool, c->config, reasons));
	if (c->is_stopping)
		json_array_append_new(reasons, json_string("the worker is stopping"));
	json_object_set_new(health, "ready", json_boolean(json_array_size(reasons) == 0));
	json_object_set_new(health, "reasons", reasons);
	return health;
}

bool health_write_ready(struct str *out, const struct consumer *c, const struct pool *pool)
{
	json_t *health = part_health(c, pool);
	bool is_ready = json_is_true(json_object_get(health, "ready"));

	/* Whoever asks over the network need not know where our servers are. */
	json_object_del(json_object_get(health, "broker"), "host");
	json_object_del(json_object_get(health, "backend"), "host");
	json_object_del(json_object_get(health, "pool"), "pids");
	pyjson_dump(out, health);
	str_addc(out, '\n');
	json_decref(health);
	return is_ready;
}

bool health_is_ready(const struct consumer *c, const struct pool *pool)
{
	json_t *health = part_health(c, pool);
	bool is_ready = json_is_true(json_object_get(health, "ready"));

	json_decref(health);
	return is_ready;
}

void health_write(struct str *out, const struct consumer *c, const struct pool *pool,
		  int64_t started_us)
{
	json_t *health = part_health(c, pool);

	json_object_set_new(health, "node", json_string(c->config->node_name));
	json_object_set_new(health, "pid", json_integer(getpid()));
	json_object_set_new(health, "version", json_string(SMALLAGE_VERSION));
	json_object_set_new(health, "uptime_s",
			    json_real((double)(clock_mono_us() - started_us) / 1e6));
	json_object_set_new(health, "requests", request_health(c));
	json_object_set_new(health, "counts", count_health(c));
	json_object_set_new(health, "control", control_health(c));
	json_object_set_new(health, "events", event_health(c));
	json_object_set_new(health, "tasks", task_health(c));
	json_object_set_new(health, "answers", answer_health(c));
	pyjson_dump(out, health);
	str_addc(out, '\n');
	json_decref(health);
}

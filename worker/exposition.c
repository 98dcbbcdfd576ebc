#include "worker/exposition.h"

#include "base/metrics.h"
#include "worker/health.h"

static void put_count(struct str *out, const char *name, uint64_t value, const char *help)
{
	metrics_family(out, name, METRIC_COUNTER, help);
	metrics_count(out, name, value, NULL);
}

static void put_gauge(struct str *out, const char *name, double value, const char *help)
{
	metrics_family(out, name, METRIC_GAUGE, help);
	metrics_gauge(out, name, value, NULL);
}

static void write_worker(struct str *out, const struct consumer *c, const struct pool *pool,
			 int64_t started_wall_us)
{
	metrics_family(out, "smallage_build_info", METRIC_GAUGE,
		       "Always 1; version and name of the worker.");
	metrics_gauge(out, "smallage_build_info", 1, "version", SMALLAGE_VERSION, "node",
		      c->config->node_name, NULL);
	put_gauge(out, "smallage_start_time_seconds", (double)started_wall_us / 1e6,
		  "Unix time at which the worker started.");
	put_gauge(out, "smallage_ready", health_is_ready(c, pool),
		  "1 when the worker takes tasks and stores results, as /ready says.");
	put_gauge(out, "smallage_stopping", c->is_stopping,
		  "1 while the worker waits for its last tasks.");
}

static void write_control(struct str *out, const struct consumer *c, const struct broker_stats *s)
{
	put_count(out, "smallage_control_messages_total", s->mails,
		  "Messages that came into this worker's own queues: remote control and its like.");
	put_count(out, "smallage_control_replies_total", s->posts,
		  "Replies and other messages sent without a confirm.");
	put_count(out, "smallage_control_replies_dropped_total", s->posts_dropped,
		  "Those thrown away because there was no connection, or too many waited.");
	put_gauge(out, "smallage_revoked_tasks", (double)revoked_count(&c->revoked),
		  "Ids of tasks that are not to run.");
}

static void write_events(struct str *out, const struct consumer *c)
{
	const struct events *e = c->finish.events;

	if (!e)
		return;
	put_gauge(out, "smallage_events_enabled", e->has_tasks,
		  "1 while events about tasks are sent.");
	put_count(out, "smallage_events_sent_total", e->sent, "Events given to the broker.");
	put_count(out, "smallage_events_dropped_total", e->dropped,
		  "Events thrown away because too many waited for the broker.");
	put_gauge(out, "smallage_events_waiting_bytes", (double)e->waiting_bytes,
		  "Events that the broker has not confirmed, in bytes.");
}

static void write_broker(struct str *out, const struct consumer *c, const struct broker_stats *s)
{
	put_gauge(out, "smallage_broker_up", c->is_up, "1 while connected to the broker.");
	put_gauge(out, "smallage_broker_blocked", s->is_blocked,
		  "1 while an alarm of the broker stops all publishing.");
	put_count(out, "smallage_broker_reconnects_total", s->reconnects,
		  "Connections to the broker that were lost and made again.");
	put_count(out, "smallage_broker_delivered_total", s->delivered,
		  "Messages that the broker delivered.");
	put_count(out, "smallage_broker_acked_total", s->acked, "Messages acked.");
	put_count(out, "smallage_broker_rejected_total", s->rejected,
		  "Messages rejected or given back.");
	put_count(out, "smallage_broker_published_total", s->published,
		  "Messages published: retries, links, chain steps, events.");
	put_gauge(out, "smallage_broker_publishes_waiting", (double)s->publishes_waiting,
		  "Messages that the broker has not confirmed.");
	put_gauge(out, "smallage_prefetch_limit", c->qos_sent,
		  "Unacked messages that the broker may deliver; 0 = no limit.");
}

static void write_backend(struct str *out, const struct consumer *c)
{
	struct backend_stats s = {0};

	if (!c->finish.backend)
		return;
	backend_stats(c->finish.backend, &s);
	put_gauge(out, "smallage_backend_up", s.is_up, "1 while connected to the result backend.");
	put_count(out, "smallage_backend_reconnects_total", s.reconnects,
		  "Connections to the result backend that were lost and made again.");
	put_gauge(out, "smallage_results_waiting", (double)s.waiting,
		  "Results that the backend has not confirmed.");
	put_gauge(out, "smallage_results_waiting_bytes", (double)s.waiting_bytes,
		  "Their bytes; at the setting worker_max_waiting_bytes no task is started.");
	put_count(out, "smallage_results_stored_total", s.stored, "Results stored.");
	put_count(out, "smallage_results_failed_total", s.failed,
		  "Results that the backend refused.");
	put_count(out, "smallage_results_lost_total", c->finish.lost_records,
		  "Results lost of tasks that no worker will run again.");
}

static void write_pool(struct str *out, const struct pool *pool)
{
	struct pool_stats s;

	pool_stats(pool, &s);
	put_gauge(out, "smallage_pool_slots", s.slots, "Tasks that can run at once.");
	put_gauge(out, "smallage_pool_slots_busy", s.busy, "Slots that run a task.");
	put_count(out, "smallage_pool_processes_lost_total", s.lost,
		  "Tasks whose process died under them.");
	put_count(out, "smallage_pool_processes_recycled_total", s.recycled,
		  "Processes replaced after --max-tasks-per-child or --max-memory-per-child.");
}

static void write_requests(struct str *out, const struct consumer *c)
{
	static const char name[] = "smallage_tasks_held";

	metrics_family(
		out, name, METRIC_GAUGE,
		"Tasks in this worker by state: scheduled waits for its ETA, limited for its "
		"rate limit, reserved for a slot; submitted is with the pool, active runs, "
		"finishing waits for broker or backend.");
	for (int i = 0; i < REQUEST_STATE_COUNT; i++)
		metrics_gauge(out, name, (double)c->requests.counts[i], "state",
			      request_state_name((enum request_state)i), NULL);
	metrics_family(out, "smallage_messages_refused_total", METRIC_COUNTER,
		       "Messages that were not run: unknown = no such task here, invalid = not a "
		       "task message, or one that asks for what this version cannot do.");
	metrics_count(out, "smallage_messages_refused_total", c->finish.counts.unknown, "reason",
		      "unknown", NULL);
	metrics_count(out, "smallage_messages_refused_total", c->finish.counts.invalid, "reason",
		      "invalid", NULL);
}

typedef void task_fn(struct str *out, const char *task, const struct tally *tally);

static void each_task(struct str *out, const struct consumer *c, task_fn *fn)
{
	for (unsigned i = 0; i < registry_count(c->registry); i++) {
		const struct tally *tally = tally_at(&c->finish.tallies, i);

		if (tally)
			fn(out, registry_at(c->registry, i)->name, tally);
	}
}

static void put_received(struct str *out, const char *task, const struct tally *tally)
{
	metrics_count(out, "smallage_tasks_received_total", tally->received, "task", task, NULL);
}

/* All outcomes from the first task on, so that a rate sees the first failure. */
static void put_ends(struct str *out, const char *task, const struct tally *tally)
{
	for (int i = 0; i < TALLY_END_COUNT; i++)
		metrics_count(out, "smallage_tasks_total", tally->ends[i], "task", task, "outcome",
			      tally_end_name((enum tally_end)i), NULL);
}

static void put_run(struct str *out, const char *task, const struct tally *tally)
{
	metrics_histogram(out, "smallage_task_run_seconds", &tally->run, "task", task, NULL);
}

static void put_wait(struct str *out, const char *task, const struct tally *tally)
{
	for (int i = 0; i < TALLY_SINCE_COUNT; i++)
		if (histogram_count(&tally->wait[i]) > 0)
			metrics_histogram(out, "smallage_task_queue_wait_seconds", &tally->wait[i],
					  "task", task, "since",
					  tally_since_name((enum tally_since)i), NULL);
}

static void write_tasks(struct str *out, const struct consumer *c)
{
	metrics_family(out, "smallage_tasks_received_total", METRIC_COUNTER,
		       "Tasks received, by name.");
	each_task(out, c, put_received);
	metrics_family(out, "smallage_tasks_total", METRIC_COUNTER,
		       "Ends by name and outcome. retried and requeued are no ends of the task: it "
		       "runs again.");
	each_task(out, c, put_ends);
	metrics_family(out, "smallage_task_run_seconds", METRIC_HISTOGRAM,
		       "How long the bodies ran.");
	each_task(out, c, put_run);
	metrics_family(out, "smallage_task_queue_wait_seconds", METRIC_HISTOGRAM,
		       "How long tasks waited before they ran: since they were sent where the "
		       "message says when, else since this worker received them; an ETA does not "
		       "count.");
	each_task(out, c, put_wait);
	metrics_family(out, "smallage_answers_total", METRIC_COUNTER,
		       "What services answered to tasks, such as mail servers: accepted, deferred "
		       "(try later), refused, timeout, unreachable, unknown.");
	if (c->finish.tallies.answers)
		metric_set_write(out, "smallage_answers_total", c->finish.tallies.answers);
}

void exposition_write(struct str *out, const struct consumer *c, const struct pool *pool,
		      int64_t started_wall_us)
{
	struct broker_stats broker;

	consumer_broker_stats(c, &broker);
	write_worker(out, c, pool, started_wall_us);
	write_broker(out, c, &broker);
	write_control(out, c, &broker);
	write_events(out, c);
	write_backend(out, c);
	write_pool(out, pool);
	write_requests(out, c);
	write_tasks(out, c);
}

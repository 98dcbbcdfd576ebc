#include "worker/consume/consumer.h"

#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "transport/url.h"
#include "worker/consume/queues.h"
#include "worker/finish/errbacks.h"
#include "worker/finish/sends.h"
#include "worker/request/shelf.h"

/* Brokers requeue single messages slowly, those of a closed connection all at once. */
#define REQUEUE_MOST 1000

static struct request *request_of(struct pool_job *job)
{
	return list_entry(job, struct request, job);
}

static void changed(struct consumer *c)
{
	if (c->on_change)
		c->on_change(c->ctx);
}

/* --- the broker speaks --- */

/* Where deliveries outlive a lost connection: nothing was forgotten, and may be begun again. */
static void resume(struct consumer *c)
{
	if (c->report && !c->is_up)
		report_up(c->report, c->broker);
	c->is_up = true;
	qos_update(c);
	pump_run(c);
}

/* With several queues the first deliveries come before on_up, and their answers must not wait. */
static void session_begin(struct consumer *c, unsigned session)
{
	if (c->session == session)
		return;
	c->session = session;
	acks_session_up(&c->finish.acks, session);
	if (c->report)
		report_up(c->report, c->writer ? NULL : c->broker);
}

static void on_up(void *ctx, const char *host)
{
	struct consumer *c = ctx;
	struct broker_stats stats;

	broker_stats(c->broker, &stats);
	if (c->session == stats.session && broker_keeps_deliveries(c->broker) && !c->is_up)
		resume(c);
	session_begin(c, stats.session);
	c->is_up = true;
	log_info("Connected to %s", host);
	if (!c->was_up)
		log_info("%s ready.", c->config->node_name);
	c->was_up = true;
	if (c->report && !c->is_stopping)
		report_ready(c->report);
	qos_update(c);
}

static void forget(struct consumer *c, struct request *r, size_t *requeues_left)
{
	if (*requeues_left > 0) {
		--*requeues_left;
		acks_answer(&c->finish.acks, r, ANSWER_REQUEUE);
	}
	acks_expect(&c->finish.acks, r);
	requests_give_back(&c->requests, r);
}

/* All that has not begun; keeping it would run it twice. The broker delivers again what has no
 * answer when the connection ends; up to `requeues_left` are given back now. */
static void forget_unstarted(struct consumer *c, size_t requeues_left)
{
	static const enum request_state unstarted[] = {REQUEST_RECEIVED, REQUEST_WAITING_ETA,
						       REQUEST_WAITING_RATE, REQUEST_READY};
	struct list_node *pos, *tmp;
	struct shelved *s;

	while ((s = shelf_first(&c->requests)))
		forget(c, shelf_take(&c->requests, s), &requeues_left);
	for (size_t i = 0; i < sizeof(unstarted) / sizeof(unstarted[0]); i++)
		list_foreach_safe (pos, tmp, &c->requests.lists[unstarted[i]])
			forget(c, list_entry(pos, struct request, node), &requeues_left);
	list_foreach_safe (pos, tmp, &c->requests.lists[REQUEST_SUBMITTED]) {
		struct request *r = list_entry(pos, struct request, node);

		if (pool_take_back(c->pool, &r->job))
			forget(c, r, &requeues_left);
	}
	limiter_forget_waiting(&c->limiter);
	eta_arm(&c->eta);
}

static void log_down(const struct consumer *c, const struct err *why, double retry_in_s,
		     int attempt, int max_attempts)
{
	if (c->is_up)
		log_warning("consumer: Connection to broker lost. Trying to re-establish the "
			    "connection... (%s)",
			    why->text);
	else
		log_error("consumer: Cannot connect to %s: %s.", c->broker_label, why->text);
	if (retry_in_s < 0)
		log_critical("consumer: giving up on %s after %d tries", c->broker_label, attempt);
	else if (max_attempts > 0)
		log_error("Trying again in %.2f seconds... (%d/%d)", retry_in_s, attempt,
			  max_attempts);
	else
		log_error("Trying again in %.2f seconds... (%d)", retry_in_s, attempt);
}

/* What waits with the pool would begin while nobody can say whether it is still ours. */
static void hold_unstarted(struct consumer *c)
{
	struct list_node *pos, *tmp;

	list_foreach_safe (pos, tmp, &c->requests.lists[REQUEST_SUBMITTED]) {
		struct request *r = list_entry(pos, struct request, node);

		if (pool_take_back(c->pool, &r->job))
			requests_move(&c->requests, r, REQUEST_READY);
	}
}

static void on_sure(void *ctx, bool is_sure)
{
	if (is_sure)
		pump_run(ctx);
	else
		hold_unstarted(ctx);
}

static void on_down(void *ctx, const struct err *why, double retry_in_s, int attempt,
		    int max_attempts)
{
	struct consumer *c = ctx;
	bool was_up = c->is_up;

	if (!c->is_stopping)
		log_down(c, why, retry_in_s, attempt, max_attempts);
	c->is_up = false;
	if (c->session != 0 && broker_keeps_deliveries(c->broker) && retry_in_s >= 0) {
		if (was_up && c->report)
			report_down(c->report);
		hold_unstarted(c);
	} else if (c->session != 0) {
		c->session = 0;
		if (c->report)
			report_down(c->report);
		acks_session_down(&c->finish.acks);
		forget_unstarted(c, 0);
		qos_update(c);
	}
	c->has_given_up = retry_in_s < 0;
	changed(c);
}

static void on_delivery(void *ctx, struct message *message, unsigned session, uint64_t tag)
{
	struct consumer *c = ctx;

	if (c->is_stopping)
		return; /* stays unanswered and goes back with the connection */
	session_begin(c, session);
	deliver_message(c, message, session, tag);
}

static void on_broker_notice(void *ctx, bool is_error, const char *text)
{
	(void)ctx;
	log_write(is_error ? LOG_ERROR : LOG_WARNING, NULL, "%s", text);
}

static void on_broker_closed(void *ctx)
{
	struct consumer *c = ctx;

	c->broker = NULL;
	if (!c->writer_label)
		c->finish.broker = NULL;
	c->finish.acks.broker = NULL;
	acks_session_down(&c->finish.acks);
	if (c->report)
		report_down(c->report);
	changed(c);
}

const struct broker_events consumer_broker_events = {
	.on_up = on_up,
	.on_down = on_down,
	.on_delivery = on_delivery,
	.on_notice = on_broker_notice,
	.on_sure = on_sure,
	.on_closed = on_broker_closed,
};

/* --- the pool speaks --- */

/* From the moment at which it could have run: of two messages one was due later, and the wait for
 * that is no delay. */
static void observe_wait(struct tallies *tallies, const struct request *r)
{
	bool is_sent_known = r->message.sent_us > 0;
	int64_t from_us = is_sent_known ? r->message.sent_us : r->received_us;

	if (r->message.eta_us != TIME_UNSET && r->message.eta_us > from_us)
		from_us = r->message.eta_us;
	histogram_observe(
		&tally_of(tallies, r->task)->wait[is_sent_known ? TALLY_SENT : TALLY_RECEIVED],
		(double)(r->accepted_wall_us - from_us) / 1e6);
}

static void on_accepted(void *ctx, struct pool_job *job, pid_t pid)
{
	struct consumer *c = ctx;
	struct request *r = request_of(job);

	if (r->on_called)
		return;
	requests_move(&c->requests, r, REQUEST_RUNNING);
	r->pid = pid;
	r->accepted_wall_us = clock_wall_us();
	observe_wait(&c->finish.tallies, r);
	totals_add(&c->totals, r);
	c->accepted++;
	if (!r->policy.acks_late)
		acks_answer(&c->finish.acks, r, ANSWER_ACK);
	if (events_has_tasks(c->finish.events))
		events_started(c->finish.events, r);
	if (r->policy.track_started)
		finish_store_started(&c->finish, r);
}

static void on_state(void *ctx, struct pool_job *job, const char *state, const char *meta,
		     size_t len)
{
	struct consumer *c = ctx;

	if (!request_of(job)->on_called)
		finish_store_state(&c->finish, request_of(job), state, meta, len);
}

static void on_send(void *ctx, struct pool_job *job, enum job_send how, const char *signature,
		    size_t len)
{
	struct consumer *c = ctx;

	sends_take(&c->finish, request_of(job), how, signature, len);
}

static void on_soft_limit(void *ctx, struct pool_job *job)
{
	struct request *r = request_of(job);
	auto_str label = STR_INIT(4096);

	(void)ctx;
	request_label(&label, r);
	log_warning("Soft time limit (%gs) exceeded for %s", r->policy.soft_limit_s, label.data);
}

static void on_done(void *ctx, struct pool_job *job, struct outcome *outcome)
{
	struct consumer *c = ctx;

	if (request_of(job)->on_called)
		errbacks_ended(&c->finish, request_of(job), outcome);
	else
		finish_apply(&c->finish, request_of(job), outcome);
	changed(c); /* it may wait for a server now */
}

static void on_room(void *ctx)
{
	pump_run(ctx);
}

static void on_pool_notice(void *ctx, int level, const char *text)
{
	(void)ctx;
	log_write((enum log_level)level, NULL, "%s", text);
}

static void on_pool_fatal(void *ctx, const char *text)
{
	struct consumer *c = ctx;

	log_critical("%s", text);
	c->has_given_up = true;
	changed(c);
}

const struct pool_events consumer_pool_events = {
	.on_accepted = on_accepted,
	.on_state = on_state,
	.on_send = on_send,
	.on_soft_limit = on_soft_limit,
	.on_done = on_done,
	.on_room = on_room,
	.on_notice = on_pool_notice,
	.on_fatal = on_pool_fatal,
};

/* --- time and finish speak --- */

static void on_due(void *ctx, struct request *r)
{
	struct consumer *c = ctx;

	bool was_limited = r->state == REQUEST_WAITING_RATE;

	if (was_limited) {
		requests_move(&c->requests, r, REQUEST_READY);
		limiter_start(&c->limiter, r->task, clock_wall_us());
	} else {
		pump_add(c, r);
	}
	qos_update(c);
	pump_run(c);
}

static void on_finished(void *ctx)
{
	pump_run(ctx);
	changed(ctx);
}

/* --- life --- */

/* The first URL without its password. */
static char *label_of(const char *urls)
{
	auto_free char *first = url_list_item(urls, 0);
	struct str label;
	struct url url;

	str_init(&label, 1024);
	if (first && url_parse(&url, first, NULL) == 0) {
		url_format_redacted(&label, &url);
		url_clear(&url);
	}
	return str_detach(&label);
}

void consumer_init(struct consumer *c, const struct config *config, const struct registry *registry,
		   uv_loop_t *loop)
{
	memset(c, 0, sizeof(*c));
	c->config = config;
	c->registry = registry;
	c->intake.content = config_content(config);
	requests_init(&c->requests);
	eta_init(&c->eta, loop, &c->requests, on_due, c);
	limiter_init(&c->limiter, registry);
	totals_init(&c->totals, registry);
	queues_init(&c->queues);
	revoked_init(&c->revoked, config->worker_revokes_max, config->worker_revoke_expires);
	acks_init(&c->finish.acks);
	tallies_init(&c->finish.tallies, registry);
	str_init(&c->finish.repr, 8192);
	c->finish.config = config;
	c->finish.registry = registry;
	c->finish.requests = &c->requests;
	c->finish.on_finished = on_finished;
	c->finish.ctx = c;
	c->qos_base = (config->autoscale_max ? config->autoscale_max : config->worker_concurrency) *
		      config->worker_prefetch_multiplier;
	c->qos_count = c->qos_sent = c->qos_base;
	acks_prefetch(&c->finish.acks, c->qos_sent);
	c->broker_label = label_of(config->broker_read_url);
	if (consumer_has_writer(config))
		c->writer_label = label_of(config->broker_write_url);
}

void consumer_clear(struct consumer *c)
{
	requests_clear(&c->requests);
	limiter_clear(&c->limiter);
	totals_clear(&c->totals);
	queues_clear(&c->queues);
	revoked_clear(&c->revoked);
	acks_clear(&c->finish.acks);
	tallies_clear(&c->finish.tallies);
	str_clear(&c->finish.text);
	str_clear(&c->finish.repr);
	free(c->broker_label);
	free(c->writer_label);
	c->broker_label = c->writer_label = NULL;
}

static size_t quantity(void *ctx)
{
	const struct consumer *c = ctx;

	return c->requests.counts[REQUEST_READY] + c->requests.counts[REQUEST_SUBMITTED] +
	       c->requests.counts[REQUEST_RUNNING];
}

void consumer_autoscale(struct consumer *c, uv_loop_t *loop)
{
	if (c->config->autoscale_max == 0)
		return;
	c->autoscale = (struct autoscale){.pool = c->pool,
					  .max = c->config->autoscale_max,
					  .min = c->config->autoscale_min,
					  .keepalive_s = c->config->worker_autoscale_keepalive,
					  .quantity = quantity,
					  .ctx = c};
	autoscale_start(&c->autoscale, loop);
}

int consumer_start(struct consumer *c, struct err *err)
{
	c->finish.pool = c->pool;
	c->finish.broker = c->writer ? c->writer : c->broker;
	c->finish.acks.broker = c->broker;
	if (queues_declare(c, err) < 0)
		return -1;
	broker_qos(c->broker, c->qos_base, 0);
	broker_start(c->broker);
	if (c->writer)
		broker_start(c->writer);
	return 0;
}

void consumer_stop(struct consumer *c)
{
	if (c->is_stopping)
		return;
	c->is_stopping = true;
	if (c->report)
		report_stop(c->report);
	if (c->broker)
		broker_pause(c->broker);
	/* What still runs may take hours; others have time for the rest. */
	if (c->broker && broker_keeps_deliveries(c->broker))
		forget_unstarted(c, SIZE_MAX);
	else
		forget_unstarted(c, consumer_in_hand(c) > 0 ? REQUEUE_MOST : 0);
}

size_t consumer_in_hand(const struct consumer *c)
{
	return c->requests.counts[REQUEST_SUBMITTED] + c->requests.counts[REQUEST_RUNNING] +
	       c->requests.counts[REQUEST_FINISHING];
}

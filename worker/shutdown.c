#include "worker/shutdown.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/daemon.h"

#define FLUSH_S	     10.0 /* for answers and for results, each */
#define COLD_FLUSH_S 2.0

/* Celery says these on standard error whatever the log level. */
static void say(const char *text)
{
	auto_free char *line = mem_printf("\n%s\n", text);

	log_say(STDERR_FILENO, line);
}

static void close_broker(struct shutdown *s)
{
	s->phase = SHUTDOWN_BROKER;
	if (s->consumer->report)
		report_flush(s->consumer->report);
	if (s->consumer->broker)
		broker_close(s->consumer->broker, FLUSH_S);
	if (s->consumer->writer)
		broker_close(s->consumer->writer, FLUSH_S);
	shutdown_advance(s);
}

static void close_backend(struct shutdown *s)
{
	s->phase = SHUTDOWN_BACKEND;
	s->lost_before = s->consumer->finish.lost_records;
	if (s->consumer->finish.backend)
		backend_close(s->consumer->finish.backend, FLUSH_S);
	else
		shutdown_backend_closed(s);
}

static void on_pool_stopped(void *ctx)
{
	struct shutdown *s = ctx;

	if (s->phase == SHUTDOWN_POOL)
		close_broker(s);
}

static void stop_pool(struct shutdown *s)
{
	s->phase = SHUTDOWN_POOL;
	uv_timer_stop(&s->timer);
	uv_timer_stop(&s->patience);
	pool_stop(s->consumer->pool, on_pool_stopped, s);
}

static void on_patience_end(uv_timer_t *timer)
{
	struct shutdown *s = timer->data;
	struct consumer *c = s->consumer;

	log_error("%zu tasks have ended, but %s: the broker gets those back that are not acked",
		  c->requests.counts[REQUEST_FINISHING],
		  c->finish.publishing_bytes > 0
			  ? "the broker does not take their retries"
			  : "the result backend does not take their results");
	c->finish.is_ending = true;
	stop_pool(s);
}

/* Waits for what is in hand: for ever while a task runs, but not for a server that is gone. */
static void wait_in_hand(struct shutdown *s)
{
	size_t in_hand = consumer_in_hand(s->consumer);
	double patience_s = s->phase == SHUTDOWN_COLD ? COLD_FLUSH_S : FLUSH_S;
	bool has_progress = in_hand < s->waits_for || !uv_is_active((uv_handle_t *)&s->patience);

	s->waits_for = in_hand;
	if (in_hand == 0)
		stop_pool(s);
	else if (in_hand == s->consumer->requests.counts[REQUEST_FINISHING] && has_progress)
		uv_timer_start(&s->patience, on_patience_end, (uint64_t)(patience_s * 1000), 0);
}

/* The pool reports each job it cut off as terminated; finish/ knows what that means. */
static void go_cold(struct shutdown *s)
{
	s->phase = SHUTDOWN_COLD;
	say("worker: Cold shutdown (MainProcess)");
	uv_timer_stop(&s->timer);
	uv_timer_stop(&s->patience);
	pool_kill(s->consumer->pool);
	shutdown_advance(s);
}

void shutdown_advance(struct shutdown *s)
{
	struct consumer *c = s->consumer;

	switch (s->phase) {
	case SHUTDOWN_NONE:
		if (c->has_given_up)
			shutdown_begin(s, EXIT_FAILURE);
		return;
	case SHUTDOWN_WARM:
	case SHUTDOWN_SOFT:
	case SHUTDOWN_COLD:
		wait_in_hand(s);
		return;
	case SHUTDOWN_BROKER:
		if (!c->broker && !c->writer)
			close_backend(s);
		return;
	case SHUTDOWN_POOL:
	case SHUTDOWN_BACKEND:
	case SHUTDOWN_DONE:
		return;
	}
}

void shutdown_begin(struct shutdown *s, int exit_code)
{
	if (s->phase != SHUTDOWN_NONE)
		return;
	s->exit_code = exit_code;
	s->phase = SHUTDOWN_WARM;
	consumer_stop(s->consumer);
	shutdown_advance(s);
}

/* The broker will not bring these tasks back: whoever supervises us has to hear of it. */
static void tell_lost_records(struct shutdown *s)
{
	size_t lost = s->consumer->finish.lost_records - s->lost_before;

	if (lost == 0)
		return;
	if (s->exit_code == EXIT_SUCCESS)
		s->exit_code = EXIT_RESULTS_LOST;
	log_error("%zu results of tasks that were acked early are lost", lost);
}

void shutdown_backend_closed(struct shutdown *s)
{
	tell_lost_records(s);
	s->consumer->finish.backend = NULL;
	s->phase = SHUTDOWN_DONE;
	s->on_done(s->ctx);
}

static void begin_warm(struct shutdown *s)
{
	if (s->phase > SHUTDOWN_WARM)
		return;
	say("worker: Warm shutdown (MainProcess)");
	if (s->phase == SHUTDOWN_WARM)
		return;
	shutdown_begin(s, s->exit_code);
}

static void on_soft_end(uv_timer_t *timer)
{
	go_cold(timer->data);
}

/* Asked again although nothing runs any more: what holds us up is a server. */
static void insist(struct shutdown *s)
{
	if (s->has_insisted) {
		daemon_end(s->consumer->config);
		_exit(EXIT_FAILURE); /* the pool's processes go with us */
	}
	s->has_insisted = true;
	say("Waiting gracefully for cold shutdown to complete...");
}

static void begin_cold(struct shutdown *s)
{
	const struct config *config = s->consumer->config;
	double soft_s = config->worker_soft_shutdown_timeout;

	if (s->phase >= SHUTDOWN_COLD) {
		insist(s);
		return;
	}
	say("worker: Hitting Ctrl+C again will terminate all running tasks!");
	consumer_stop(s->consumer);
	bool has_work = consumer_in_hand(s->consumer) > 0;

	if (s->phase != SHUTDOWN_SOFT && soft_s > 0 &&
	    (has_work || config->worker_enable_soft_shutdown_on_idle)) {
		log_warning("Initiating Soft Shutdown, terminating in %g seconds", soft_s);
		s->phase = SHUTDOWN_SOFT;
		uv_timer_start(&s->timer, on_soft_end, (uint64_t)(soft_s * 1000), 0);
		shutdown_advance(s);
		return;
	}
	go_cold(s);
}

static void on_interrupt(struct shutdown *s)
{
	s->exit_code = EXIT_FAILURE;
	if (s->has_int || s->phase >= SHUTDOWN_SOFT) {
		begin_cold(s);
		return;
	}
	s->has_int = true;
	say("worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running "
	    "tasks!");
	begin_warm(s);
}

static void dump(const struct shutdown *s)
{
	const struct consumer *c = s->consumer;

	for (int i = 0; i < REQUEST_STATE_COUNT; i++)
		log_warning("dump: %zu requests %s", c->requests.counts[i],
			    request_state_name((enum request_state)i));
	log_warning("dump: broker %s, %llu received, %llu adopted", c->is_up ? "up" : "down",
		    (unsigned long long)c->received, (unsigned long long)c->adopted);
}

static bool term_is_quit(void)
{
	const char *remap = getenv("REMAP_SIGTERM");

	return remap && strcmp(remap, "SIGQUIT") == 0;
}

static void on_signal(uv_signal_t *handle, int signum)
{
	struct shutdown *s = handle->data;

	/* Who asks for the end after a restart was asked for wants the end. */
	if (signum == SIGTERM || signum == SIGQUIT || signum == SIGINT)
		s->is_restart = false;
	switch (signum) {
	case SIGTERM:
		if (term_is_quit())
			begin_cold(s);
		else
			begin_warm(s);
		break;
	case SIGQUIT:
		begin_cold(s);
		break;
	case SIGINT:
		on_interrupt(s);
		break;
	case SIGHUP:
		/* From a terminal it means that the terminal is gone, as for Celery. */
		if (s->phase == SHUTDOWN_NONE && !s->has_terminal)
			s->is_restart = true;
		begin_warm(s);
		break;
	case SIGUSR1:
		dump(s);
		break;
	default:
		break;
	}
}

void shutdown_init(struct shutdown *s, uv_loop_t *loop, struct consumer *consumer,
		   void (*on_done)(void *ctx), void *ctx)
{
	static const int signums[] = {SIGTERM, SIGQUIT, SIGINT, SIGHUP, SIGUSR1};

	memset(s, 0, sizeof(*s));
	s->consumer = consumer;
	s->on_done = on_done;
	s->ctx = ctx;
	s->has_terminal = isatty(STDOUT_FILENO);
	uv_timer_init(loop, &s->timer);
	uv_timer_init(loop, &s->patience);
	s->timer.data = s->patience.data = s;
	for (size_t i = 0; i < sizeof(signums) / sizeof(signums[0]); i++) {
		uv_signal_init(loop, &s->signals[i]);
		s->signals[i].data = s;
		uv_signal_start(&s->signals[i], on_signal, signums[i]);
	}
}

void shutdown_close(struct shutdown *s)
{
	uv_close((uv_handle_t *)&s->timer, NULL);
	uv_close((uv_handle_t *)&s->patience, NULL);
	for (size_t i = 0; i < sizeof(s->signals) / sizeof(s->signals[0]); i++)
		uv_close((uv_handle_t *)&s->signals[i], NULL);
}

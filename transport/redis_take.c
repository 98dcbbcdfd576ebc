#include "transport/redis_take.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/message.h"
#include "transport/broker_redis.h"
#include "transport/envelope.h"

#define POP_MOST       1000
#define POP_BYTES      ((size_t)1 << 20)
#define DELAY_FIRST_MS 10
#define DELAY_SAFE_MS  5000 /* when the server tells */
#define DELAY_BAD_MS   1000

struct redis_aside {
	struct broker_redis *owner;
	char *field;
};

/* What was popped and can be no message is kept where people can look at it. */

static void on_aside(void *ctx, const redisReply *reply)
{
	struct redis_aside *aside = ctx;
	struct broker_redis *r = aside->owner;

	/* Comes again, and is set aside then. */
	if (reply == NULL || reply->type == REDIS_REPLY_ERROR) {
		if (reply)
			redis_script_is_gone(&r->scripts, REDIS_SCRIPT_SET_ASIDE, reply);
		redis_unacked_put_back(r, aside->field, 'L');
	}
	free(aside->field);
	free(aside);
}

void redis_take_set_aside(struct broker_redis *r, const char *queue, const char *field,
			  const char *data, size_t len, const struct err *why)
{
	struct redis_aside *aside = mem_calloc(1, sizeof(*aside));
	auto_free char *key = redis_aside_key(&r->options, queue);
	auto_free char *text =
		mem_printf("A message of queue '%.200s' was set aside in the list '%.300s': %s",
			   queue, key, why->text);
	struct redis_arg args[] = {
		{0},
		{0},
		REDIS_ARG("3"),
		{r->unacked, strlen(r->unacked)},
		{r->index, strlen(r->index)},
		{key, strlen(key)},
		{field, strlen(field)},
		{data, len},
	};

	aside->owner = r;
	aside->field = mem_strdup(field);
	redis_notice(r, true, text);
	if (redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_SET_ASIDE, args, 8, on_aside,
			      aside) < 0)
		on_aside(aside, NULL);
}

static void tell_aside(struct broker_redis *r, const struct redis_flight *flight,
		       const redisReply *report)
{
	for (size_t i = 0; i + 1 < report->elements; i += 2) {
		const struct redis_queue *queue = flight->order[report->element[i]->integer];
		long long bytes = report->element[i + 1]->integer;
		auto_free char *text = mem_printf(
			"A message of %lld bytes of queue '%.200s' was set aside in the list "
			"'%.300s': %s",
			bytes, queue->name, queue->aside,
			bytes > (long long)envelope_max_bytes(r->max_body)
				? "it is larger than allowed"
				: "it is no JSON object");

		redis_notice(r, true, text);
	}
}

/* Messages */

void redis_take_deliver(struct broker_redis *r, const struct redis_queue *queue, uint64_t number,
			const char *data, size_t len)
{
	char field[REDIS_FIELD_BYTES];
	struct message m;
	struct err err = {0};

	redis_unacked_field(r, number, field);
	if (r->is_paused || r->phase != REDIS_UP) {
		redis_unacked_put_back(r, field, 'R');
		return;
	}
	message_init(&m);
	if (envelope_decode(&m, data, len, r->max_body, &err) < 0) {
		redis_take_set_aside(r, queue->name, field, data, len, &err);
	} else {
		m.exchange = m.exchange ? m.exchange : "";
		m.routing_key = m.routing_key ? m.routing_key : queue->name;
		r->delivered++;
		r->base.events->on_delivery(r->base.ctx, &m, REDIS_SESSION,
					    redis_held_put(&r->held, number));
	}
	message_clear(&m);
}

/* The one that was asked first is asked last from now on. */
static void rotate(struct broker_redis *r)
{
	struct list_node *first = r->queues.next;

	if (r->options.order == REDIS_ORDER_ROUND_ROBIN && first != &r->queues) {
		list_remove(first);
		list_append(&r->queues, first);
	}
}

static bool is_answer(const redisReply *reply, const struct redis_flight *flight, size_t queues)
{
	if (reply->type != REDIS_REPLY_ARRAY || reply->elements % 2 != 1 ||
	    reply->elements / 2 > flight->count || reply->element[0]->type != REDIS_REPLY_ARRAY ||
	    reply->element[0]->elements % 2 != 0)
		return false;
	for (size_t i = 0; i < reply->element[0]->elements; i++)
		if (reply->element[0]->element[i]->type != REDIS_REPLY_INTEGER ||
		    (i % 2 == 0 && (size_t)reply->element[0]->element[i]->integer >= queues))
			return false;
	for (size_t i = 1; i < reply->elements; i += 2)
		if (reply->element[i]->type != REDIS_REPLY_INTEGER ||
		    (size_t)reply->element[i]->integer >= queues ||
		    reply->element[i + 1]->type != REDIS_REPLY_STRING)
			return false;
	return true;
}

/* Waiting */

static void on_timer(uv_timer_t *timer)
{
	struct broker_redis *r = timer->data;

	r->take.is_dry = false;
	redis_wake(r);
}

static void wait_ms(struct broker_redis *r, unsigned ms)
{
	r->take.is_dry = true;
	uv_timer_start(&r->take.timer, on_timer, ms, 0);
}

void redis_take_wake(struct broker_redis *r)
{
	r->take.wakes++;
	r->take.is_dry = false;
	r->take.delay_ms = 0;
	redis_wake(r);
}

static void on_looked(void *ctx, const redisReply *reply)
{
	if (reply != NULL && reply->type == REDIS_REPLY_INTEGER && reply->integer > 0)
		redis_take_wake(ctx);
}

static void ignore(void *ctx, const redisReply *reply)
{
	(void)ctx;
	(void)reply;
}

static size_t queue_count(const struct broker_redis *r)
{
	const struct list_node *pos;
	size_t n = 0;

	list_foreach (pos, &r->queues)
		n++;
	return n;
}

/* From now on the server tells when one of these lists changes. */
static void look(struct broker_redis *r)
{
	size_t most = 1 + queue_count(r) * r->options.step_count;
	auto_free struct redis_arg *args = mem_calloc(most, sizeof(*args));
	const struct redis_arg caching[] = {REDIS_ARG("CLIENT"), REDIS_ARG("CACHING"),
					    REDIS_ARG("YES")};
	struct list_node *pos;
	int argc = 0;

	args[argc++] = REDIS_ARG("EXISTS");
	list_foreach (pos, &r->queues) {
		const struct redis_queue *queue = list_entry(pos, struct redis_queue, node);

		for (unsigned step = 0; step < r->options.step_count; step++)
			args[argc++] =
				(struct redis_arg){queue->keys[step], strlen(queue->keys[step])};
	}
	if (argc > 1 && argc <= REDIS_MAX_ARGS &&
	    redis_conn_command(r->conn, caching, 3, ignore, NULL) == 0)
		(void)redis_conn_command(r->conn, args, argc, on_looked, r);
}

/* Nothing was there. */
static void run_dry(struct broker_redis *r)
{
	unsigned longest = (unsigned)(r->options.polling_interval_s * 1000);

	if (r->take.is_tracked) {
		wait_ms(r, DELAY_SAFE_MS);
		look(r);
		return;
	}
	if (longest > 1000 || longest < DELAY_FIRST_MS)
		longest = longest > 1000 ? 1000 : DELAY_FIRST_MS;
	r->take.delay_ms = r->take.delay_ms ? r->take.delay_ms * 2 : DELAY_FIRST_MS;
	r->take.delay_ms = r->take.delay_ms < longest ? r->take.delay_ms : longest;
	wait_ms(r, r->take.delay_ms);
}

void redis_take_track(struct broker_redis *r, bool is_tracked)
{
	r->take.is_tracked = is_tracked;
	redis_take_wake(r);
}

/* Asking */

/* Whether messages came is not known: those that did are put back and taken again. */
static void flight_lost(struct broker_redis *r, const struct redis_flight *flight)
{
	char field[REDIS_FIELD_BYTES];

	if (flight->generation != r->lease.generation)
		return;
	for (unsigned i = flight->count; i-- > 0;) {
		redis_unacked_field(r, flight->first + i, field);
		redis_unacked_put_back(r, field, 'R');
	}
}

/* How many messages are answered during a round trip. */
static void learn(struct broker_redis *r, const struct redis_flight *flight)
{
	uint64_t now = uv_hrtime(), answers = r->acked + r->rejected;
	double trip = (double)(now - flight->sent_ns), since = (double)(now - r->take.landed_ns);
	double answered = (double)(answers - r->take.landed_answers);

	redis_ahead_learn(r, since > trip ? answered * trip / since : answered);
	r->take.landed_ns = now;
	r->take.landed_answers = answers;
}

static void flight_landed(struct broker_redis *r, const struct redis_flight *flight,
			  const redisReply *reply)
{
	if (reply->elements == 1 && reply->element[0]->elements == 0) {
		if (flight->wakes == r->take.wakes)
			run_dry(r);
		return;
	}
	tell_aside(r, flight, reply->element[0]);
	r->take.delay_ms = 0;
	rotate(r);
	learn(r, flight);
	for (size_t i = 1; i < reply->elements; i += 2) {
		const redisReply *text = reply->element[i + 1];

		redis_ahead_take(r, flight->order[reply->element[i]->integer],
				 flight->first + (i - 1) / 2, text->str, text->len);
	}
}

static void on_taken(void *ctx, const redisReply *reply)
{
	struct broker_redis *r = ctx;
	struct redis_flight flight = r->take.flights[0];
	auto_free struct redis_queue **order = flight.order;
	size_t queues = 0;

	while (order[queues])
		queues++;
	r->take.flight_count--;
	r->take.asked -= flight.count;
	memmove(r->take.flights, r->take.flights + 1,
		r->take.flight_count * sizeof(r->take.flights[0]));
	if (reply == NULL) {
		flight_lost(r, &flight);
		return;
	}
	if (redis_script_is_gone(&r->scripts, REDIS_SCRIPT_TAKE, reply)) {
		/* asked again */
	} else if (reply->type == REDIS_REPLY_NIL) {
		wait_ms(r, DELAY_BAD_MS);
		redis_lease_ask(r);
	} else if (!is_answer(reply, &flight, queues)) {
		redis_trouble(r, "taking messages", reply);
		wait_ms(r, DELAY_BAD_MS);
	} else {
		redis_trouble_over(r);
		flight_landed(r, &flight, reply);
	}
	redis_wake(r);
}

struct arguments {
	struct redis_arg *all;
	int count;
};

static void add(struct arguments *a, const char *text)
{
	a->all[a->count++] = (struct redis_arg){text, strlen(text)};
}

static void add_queues(struct broker_redis *r, struct arguments *a, struct redis_flight *flight)
{
	size_t n = 0;
	struct list_node *pos;

	list_foreach (pos, &r->queues)
		flight->order[n++] = list_entry(pos, struct redis_queue, node);
	for (size_t q = 0; q < n; q++)
		add(a, flight->order[q]->aside);
	for (unsigned step = 0; step < r->options.step_count; step++)
		for (size_t q = 0; q < n; q++)
			add(a, flight->order[q]->keys[step]);
}

static int ask(struct broker_redis *r, unsigned count)
{
	uint64_t now = uv_hrtime();
	struct redis_flight flight = {.first = r->take.next_number,
				      .count = count,
				      .wakes = r->take.wakes,
				      .sent_ns = now,
				      .generation = r->lease.generation};
	size_t queues = queue_count(r);
	struct arguments a = {0};
	auto_free struct redis_arg *all =
		mem_calloc(14 + queues * (2 + r->options.step_count), sizeof(*all));
	char keys[24], numbers[6][24];

	a.all = all;
	a.count = 2;
	flight.order = mem_calloc(queues + 1, sizeof(struct redis_queue *));
	snprintf(keys, sizeof(keys), "%zu", 3 + queues * (1 + r->options.step_count));
	add(&a, keys);
	add(&a, r->unacked);
	add(&a, r->index);
	add(&a, r->nodes);
	add_queues(r, &a, &flight);
	add(&a, r->lease.id);
	snprintf(numbers[0], sizeof(numbers[0]), "%u", r->lease.epoch);
	snprintf(numbers[1], sizeof(numbers[1]), "%llu", (unsigned long long)flight.first);
	snprintf(numbers[2], sizeof(numbers[2]), "%u", count);
	snprintf(numbers[3], sizeof(numbers[3]), "%zu", POP_BYTES);
	snprintf(numbers[4], sizeof(numbers[4]), "%zu", envelope_max_bytes(r->max_body));
	snprintf(numbers[5], sizeof(numbers[5]), "%zu", queues);
	for (int i = 0; i < 5; i++)
		add(&a, numbers[i]);
	add(&a, r->options.order == REDIS_ORDER_ROUND_ROBIN ? "1" : "0");
	add(&a, numbers[5]);
	for (size_t q = 0; q < queues; q++)
		add(&a, flight.order[q]->closing);
	if (a.count > REDIS_MAX_ARGS || redis_script_call(&r->scripts, r->conn, REDIS_SCRIPT_TAKE,
							  a.all, a.count, on_taken, r) < 0) {
		free(flight.order);
		return -1;
	}
	r->take.next_number += count;
	r->take.asked += count;
	r->take.flights[r->take.flight_count++] = flight;
	return 0;
}

/* What may be taken in all, and how much of it a pop must be worth. */
static unsigned most_of(const struct broker_redis *r)
{
	uint64_t most = r->prefetch ? (uint64_t)r->prefetch + r->ahead.window : REDIS_HELD_MOST;

	return most < REDIS_HELD_MOST ? (unsigned)most : REDIS_HELD_MOST;
}

void redis_take_pump(struct broker_redis *r)
{
	unsigned most, used, room;

	if (r->phase != REDIS_UP || r->is_paused)
		return;
	redis_ahead_move(r);
	most = most_of(r);
	used = r->held.used + r->ahead.count + r->take.asked;
	if (r->take.is_dry || used >= most || r->take.flight_count == REDIS_FLIGHTS ||
	    list_is_empty(&r->queues))
		return;
	room = most - used < POP_MOST ? most - used : POP_MOST;
	/* While others are there small ones are not worth their round trip. */
	if (r->take.flight_count + r->ahead.count > 0 && room < most / REDIS_FLIGHTS &&
	    room < POP_MOST)
		return;
	if (ask(r, room) < 0)
		wait_ms(r, DELAY_FIRST_MS);
}

void redis_take_init(struct broker_redis *r)
{
	r->take.next_number = 1;
	uv_timer_init(r->loop, &r->take.timer);
	r->take.timer.data = r;
}

void redis_take_clear(struct broker_redis *r)
{
	for (unsigned i = 0; i < r->take.flight_count; i++)
		free(r->take.flights[i].order);
	r->take.flight_count = 0;
}

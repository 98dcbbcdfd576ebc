/*
 * A hostile RabbitMQ: the whole AMQP driver on streams that end here, fed with whatever a server
 * may send on its two connections, while the worker acks, publishes, listens, posts, pauses and
 * closes. The driver answers in whole frames, keeps its bounds, calls back only from the loop,
 * answers every publish once and never tells the password. Input: steps of one byte (enum step) and
 * what they need.
 */
#include <amqp.h>
#include <uv.h>

#include "base/mem.h"
#include "tests/fuzz/fuzz_stream.h"
#include "tests/headers_json.h"
#include "transport/broker.h"

#define SECRET	      "S3cr3t-9f"
#define MESSAGE_MAX   64
#define FRAME_MAX     131072
#define TAGS_MAX      256
#define PUBLISHES_MAX 64

enum step { RAW, METHOD, HEADER, BODY, LOGIN, OPENED, ACT, FAIL, STEP_COUNT };
enum { TO_PUBLISHER = 0x08, NO_WRITE = 0x10 }; /* flags of a step */
enum act {
	ACK,
	REJECT,
	REQUEUE,
	QOS,
	PUBLISH,
	CANCEL,
	CONSUME,
	PAUSE,
	CLOSE,
	RUN,
	LISTEN,
	UNLISTEN,
	POST,
	ACT_COUNT
};

/* One input's world. */
static struct {
	uv_loop_t loop;
	bool has_loop;
	struct broker *broker;
	bool in_call; /* of the driver's interface: nothing may call back */
	bool is_closing, is_closed;
	bool leaves; /* a mailbox, when a message comes */
	struct {
		unsigned session;
		uint64_t tag;
	} tags[TAGS_MAX];
	size_t tag_count;
	unsigned published, answered;
} world;

/* The streams */

static size_t big_endian(const unsigned char *p, int bytes)
{
	size_t value = 0;

	while (bytes-- > 0)
		value = value << 8 | *p++;
	return value;
}

/* What we say is AMQP: the greeting, then whole frames. */
static void output_check(struct stream *s)
{
	const unsigned char *at = (const unsigned char *)s->out.data;
	size_t left = s->out.len;

	if (left && !s->has_greeted) {
		fuzz_check(left >= 8 && memcmp(at, "AMQP\0\0\11\1", 8) == 0);
		s->has_greeted = true;
		at += 8;
		left -= 8;
	}
	while (left > 0) {
		size_t len;

		fuzz_check(left >= 8);
		len = big_endian(at + 3, 4);
		fuzz_check((at[0] >= AMQP_FRAME_METHOD && at[0] <= AMQP_FRAME_BODY) ||
			   at[0] == AMQP_FRAME_HEARTBEAT);
		fuzz_check(big_endian(at + 1, 2) <= 65535 && len <= FRAME_MAX - 8);
		fuzz_check(left >= len + 8 && at[len + 7] == AMQP_FRAME_END);
		at += len + 8;
		left -= len + 8;
	}
}

/* What the driver tells */

static void check_called(void)
{
	fuzz_check(!world.in_call && !world.is_closed);
}

static void check_text(const char *text)
{
	fuzz_check(text && !strstr(text, SECRET));
}

static void on_up(void *ctx, const char *host)
{
	(void)ctx;
	check_called();
	check_text(host);
}

static void on_down(void *ctx, const struct err *why, double retry_in_s, int attempt, int max)
{
	(void)ctx;
	(void)retry_in_s;
	(void)attempt;
	(void)max;
	check_called();
	fuzz_check(why && why->code != ERR_NONE);
	check_text(why->text);
}

static void on_delivery(void *ctx, struct message *m, unsigned session, uint64_t tag)
{
	json_t *headers = message_headers_json(m);

	(void)ctx;
	check_called();
	fuzz_check(json_object_size(headers) <= m->header_count);
	json_decref(headers);
	fuzz_check(m->exchange && m->routing_key);
	fuzz_check(m->body && m->body_len <= MESSAGE_MAX && m->body[m->body_len] == '\0');
	if (world.tag_count == TAGS_MAX)
		return;
	world.tags[world.tag_count].session = session;
	world.tags[world.tag_count++].tag = tag;
}

static void on_notice(void *ctx, bool is_error, const char *text)
{
	(void)ctx;
	(void)is_error;
	check_called();
	check_text(text);
	fuzz_check_one_line(text);
}

static void on_mail(void *ctx, struct message *m)
{
	const char *queue = ctx;

	check_called();
	fuzz_check(!world.is_closing && m->exchange && m->routing_key);
	fuzz_check(m->body && m->body_len <= MESSAGE_MAX && m->body[m->body_len] == '\0');
	if (world.leaves)
		broker_unlisten(world.broker, queue);
}

static void on_closed(void *ctx)
{
	(void)ctx;
	check_called();
	world.is_closed = true;
}

static void on_published(void *ctx, const struct err *err)
{
	unsigned *answers = ctx;

	check_called();
	fuzz_check(++*answers == 1);
	if (err)
		check_text(err->text);
	world.answered++;
}

/* What the worker does */

static unsigned answers[PUBLISHES_MAX];

static void publish(bool with_queue)
{
	static const struct queue_def queue = {
		.name = "later", .exchange = "", .routing_key = "later"};
	static char body[3000];
	struct publication p = {.exchange = "",
				.routing_key = "later",
				.declare = with_queue ? &queue : NULL,
				.content_type = "application/json",
				.priority = -1,
				.delivery_mode = 2,
				.body = body,
				.body_len = with_queue ? sizeof(body) : 2};
	json_t *headers = json_pack("{s:s, s:i}", "task", "t", "retries", 1);

	p.headers = headers;
	if (world.published < PUBLISHES_MAX &&
	    broker_publish(world.broker, &p, on_published, &answers[world.published], NULL) == 0)
		world.published++;
	json_decref(headers);
}

static void consume(const char *name)
{
	struct queue_def queue = {.name = name,
				  .exchange = name,
				  .exchange_type = "direct",
				  .routing_key = name,
				  .arguments = "{\"x-max-priority\": 5}"};

	fuzz_check(broker_consume(world.broker, &queue, NULL) == 0);
}

static void listen_to(bool is_first)
{
	struct mailbox_def def = {.queue = is_first ? "box" : "events",
				  .exchange = is_first ? "celery.pidbox" : "celeryev",
				  .exchange_type = is_first ? "fanout" : "topic",
				  .is_exchange_durable = !is_first,
				  .binding_key = is_first ? "" : "worker.#",
				  .is_exclusive = true,
				  .ttl_s = 5,
				  .expires_s = -1};

	(void)broker_listen(world.broker, &def, on_mail, is_first ? "box" : "events", NULL);
}

static void post(uint8_t more)
{
	static char body[3000];
	const struct exchange_def exchange = {.name = more & 2 ? "replies" : "others",
					      .type = "direct"};
	struct publication p = {.exchange = exchange.name,
				.routing_key = "me",
				.declare_exchange = more & 1 ? &exchange : NULL,
				.priority = -1,
				.body = body,
				.body_len = more & 4 ? sizeof(body) : 2};

	broker_post(world.broker, &p);
}

static void settle(enum act how)
{
	for (size_t i = 0; i < world.tag_count; i++) {
		if (how == ACK)
			broker_ack(world.broker, world.tags[i].session, world.tags[i].tag);
		else
			broker_reject(world.broker, world.tags[i].session, world.tags[i].tag,
				      how == REQUEUE);
	}
	world.tag_count = 0;
}

static void act(enum act what, uint8_t more)
{
	if (what == RUN) {
		uv_run(&world.loop, UV_RUN_NOWAIT);
		return;
	}
	if (world.is_closing || world.is_closed)
		return;
	world.in_call = true;
	if (what <= REQUEUE)
		settle(what);
	else if (what == QOS)
		broker_qos(world.broker, (unsigned)more * more * 2, 0);
	else if (what == PUBLISH)
		publish(more % 2);
	else if (what == CANCEL)
		broker_cancel(world.broker, more % 2 ? "mails" : "celery");
	else if (what == CONSUME)
		consume(more % 2 ? "mails" : "celery");
	else if (what == LISTEN)
		listen_to(more % 2);
	else if (what == UNLISTEN)
		broker_unlisten(world.broker, more % 2 ? "box" : "events");
	else if (what == POST)
		post(more);
	else if (what == PAUSE)
		broker_pause(world.broker);
	else
		broker_close(world.broker, more % 2 ? 0 : 0.001);
	world.leaves = what == LISTEN ? (more & 2) != 0 : world.leaves;
	world.is_closing = what == CLOSE;
	world.in_call = false;
}

/* What the server says */

static void feed_frame(struct stream *s, uint8_t type, uint8_t channel, const void *head,
		       size_t head_len, const uint8_t *data, size_t len)
{
	size_t whole = head_len + len;
	unsigned char prefix[7] = {
		type, 0, channel, 0, 0, (unsigned char)(whole >> 8), (unsigned char)whole};
	unsigned char end = AMQP_FRAME_END;
	struct str frame;

	str_init(&frame, STR_MAX_DEFAULT);
	str_add(&frame, prefix, sizeof(prefix));
	str_add(&frame, head, head_len);
	str_add(&frame, data, len);
	str_add(&frame, &end, 1);
	stream_feed(s, frame.data, frame.len);
	str_clear(&frame);
}

static void feed_method(struct stream *s, uint8_t channel, uint8_t class, uint8_t method,
			const void *data, size_t len)
{
	unsigned char id[4] = {0, class, 0, method};

	feed_frame(s, AMQP_FRAME_METHOD, channel, id, sizeof(id), data, len);
}

/* As a RabbitMQ would. */
static void feed_login(struct stream *s)
{
	static const char start[] = "\0\11\0\0\0\0\0\0\0\5PLAIN\0\0\0\5en_US";

	feed_method(s, 0, 10, 10, start, sizeof(start) - 1);
	feed_method(s, 0, 10, 30, "\7\377\0\1\0\0\0\0", 8);
	feed_method(s, 0, 10, 41, "\0", 1);
}

static void feed_opened(struct stream *s)
{
	feed_method(s, 1, 20, 11, "\0\0\0\0", 4);
	feed_method(s, 2, 20, 11, "\0\0\0\0", 4);
	feed_method(s, 1, 85, 11, "", 0);
	feed_method(s, 3, 60, 21, "", 1); /* the first mailbox */
}

/* Bytes left in the input. */
struct input {
	const uint8_t *at;
	size_t left;
};

static uint8_t take(struct input *in)
{
	if (!in->left)
		return 0;
	in->left--;
	return *in->at++;
}

static const uint8_t *take_bytes(struct input *in, size_t *len)
{
	const uint8_t *at = in->at;

	*len = *len < in->left ? *len : in->left;
	in->at += *len;
	in->left -= *len;
	return at;
}

static void step_feed(struct stream *s, enum step step, struct input *in)
{
	uint8_t channel = step == RAW ? 0 : take(in);
	uint8_t class = step == METHOD ? take(in) : 0, method = step == METHOD ? take(in) : 0;
	size_t len = take(in);
	const uint8_t *data;

	if (len == 255) /* a long one */
		len = (size_t)take(in) << 8 | take(in);
	data = take_bytes(in, &len);
	if (step == RAW)
		stream_feed(s, data, len);
	else if (step == METHOD)
		feed_method(s, channel, class, method, data, len);
	else
		feed_frame(s, step == HEADER ? AMQP_FRAME_HEADER : AMQP_FRAME_BODY, channel, "", 0,
			   data, len);
}

static void step_do(struct input *in)
{
	uint8_t byte = take(in);
	enum step step = byte % STEP_COUNT;
	int index = byte & TO_PUBLISHER ? 1 : 0;
	struct stream *s = index < streams.count ? streams.open[index] : NULL;

	if (step == ACT) {
		enum act what = take(in) % ACT_COUNT;

		act(what, take(in));
	} else if (!s) {
		uv_run(&world.loop, UV_RUN_NOWAIT);
	} else if (step == FAIL) {
		if (!s->is_failed)
			stream_fail(s, ERR_IO);
	} else if (step == LOGIN) {
		feed_login(s);
	} else if (step == OPENED) {
		feed_opened(s);
	} else {
		step_feed(s, step, in);
	}
	streams_flush(byte & NO_WRITE);
}

static void world_open(void)
{
	static const struct broker_events events = {.on_up = on_up,
						    .on_down = on_down,
						    .on_delivery = on_delivery,
						    .on_notice = on_notice,
						    .on_closed = on_closed};
	struct broker_options options = {
		.loop = &world.loop,
		.url = "amqp://user:" SECRET "@one//;amqp://user:" SECRET "@two//",
		.events = &events,
		.heartbeat_s = 60,
		.max_retries = 100,
		.retry_on_startup = true,
		.max_message_bytes = MESSAGE_MAX,
		.max_publish_bytes = 64 * 1024,
		.product_version = "1",
		.node_name = "w@fuzz",
	};

	if (!world.has_loop)
		fuzz_check(uv_loop_init(&world.loop) == 0);
	world.has_loop = true;
	streams.loop = &world.loop;
	world.is_closing = world.is_closed = world.leaves = false;
	world.tag_count = world.published = world.answered = 0;
	memset(answers, 0, sizeof(answers));
	world.in_call = true;
	world.broker = broker_open(&options, NULL);
	fuzz_check(world.broker);
	consume("celery");
	broker_qos(world.broker, 8, 0);
	broker_delay(world.broker, "quorum");
	broker_start(world.broker);
	publish(true);
	publish(false);
	listen_to(true);
	post(1);
	world.in_call = false;
	uv_run(&world.loop, UV_RUN_NOWAIT);
	streams_flush(false);
}

static void world_close(void)
{
	act(CLOSE, 1);
	while (!world.is_closed)
		uv_run(&world.loop, UV_RUN_ONCE);
	uv_run(&world.loop, UV_RUN_NOWAIT); /* what was closed before */
	streams_sweep();
	fuzz_check(streams.count == 0 && world.answered == world.published);
	fuzz_check(!uv_loop_alive(&world.loop));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct input in = {data, size};

	if (memmem(data, size, SECRET, strlen(SECRET)))
		return 0; /* a server may say whatever it was told */
	world_open();
	while (in.left > 0 && !world.is_closed)
		step_do(&in);
	world_close();
	return 0;
}

/*
 * Sentinels that answer anything: one of found and failed comes, once, with a place that can be
 * connected to or a text for the log; moved comes only after found; nothing comes after the cancel,
 * and nothing but our questions is sent. Input: one byte of choices, then what the Sentinels send,
 * in pieces with 0xff between them; an empty piece ends the connection.
 */
#include "transport/redis_sentinel.h"

#include "tests/fuzz/fuzz_stream.h"

enum { COUNT_MASK = 3, OTHERS_MASK = 12, HAS_USER = 16, HAS_PASSWORD = 32, CANCELS = 64 };

static struct {
	struct redis_sentinel *question;
	unsigned count, found, failed;
	uint8_t choices;
	bool is_cancelled;
} world;

static void answered(void)
{
	fuzz_check(!world.is_cancelled && world.found + world.failed == 1);
	if (!(world.choices & CANCELS))
		return;
	world.is_cancelled = true;
	redis_sentinel_cancel(world.question);
}

static void on_found(void *ctx, const char *host, int port, unsigned index)
{
	(void)ctx;
	world.found++;
	fuzz_check(host[0] && strlen(host) <= 255);
	fuzz_check(port >= 1 && port <= 65535);
	fuzz_check(index < world.count);
	answered();
}

static void on_failed(void *ctx, const struct err *why)
{
	(void)ctx;
	world.failed++;
	fuzz_check(strstr(why->text, "mymaster"));
	fuzz_check_one_line(why->text);
	answered();
}

static void on_moved(void *ctx)
{
	(void)ctx;
	fuzz_check(world.found == 1 && !world.is_cancelled);
}

static void output_check(struct stream *s)
{
	static const char *const starts[] = {"*2\r\n$4\r\nAUTH", "*3\r\n$4\r\nAUTH",
					     "*3\r\n$8\r\nSENTINEL", "*2\r\n$9\r\nSUBSCRIBE"};
	bool is_ours = s->out.len == 0;

	for (size_t i = 0; i < sizeof(starts) / sizeof(*starts); i++)
		is_ours |= s->out.len > strlen(starts[i]) &&
			   memcmp(s->out.data, starts[i], strlen(starts[i])) == 0;
	fuzz_check(is_ours);
}

static void ask(uv_loop_t *loop, const struct redis_address *sentinels)
{
	static const struct redis_sentinel_events events = {
		.found = on_found, .failed = on_failed, .moved = on_moved};
	static char name[] = "mymaster";
	static struct redis_settings settings = {.master_name = name};

	settings.min_other_sentinels = (world.choices & OTHERS_MASK) / 4;
	world.question = redis_sentinel_ask(&(struct redis_sentinel_options){
		.loop = loop,
		.sentinels = sentinels,
		.count = world.count,
		.first = world.count - 1,
		.settings = &settings,
		.connect_timeout_s = 4,
		.events = &events,
	});
}

/* The newest stream is the one that is spoken to. */
static void send_pieces(const uint8_t *data, size_t size)
{
	while (size > 0 && !world.is_cancelled) {
		size_t len;
		auto_free char *piece = fuzz_cut(&data, &size, (char)0xff, &len);

		streams_flush(false);
		if (streams.count == 0)
			return;
		struct stream *s = streams.open[streams.count - 1];

		if (len == 0 && !s->is_failed)
			stream_fail(s, ERR_IO);
		else
			stream_feed(s, piece, len);
		streams_sweep();
	}
	streams_flush(false);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static char host[] = "sentinel.example", user[] = "user", password[] = "secret";
	struct redis_address sentinels[4] = {0};
	uv_loop_t loop;

	if (size == 0)
		return 0;
	memset(&world, 0, sizeof(world));
	world.choices = data[0];
	world.count = (data[0] & COUNT_MASK) + 1;
	for (unsigned i = 0; i < world.count; i++) {
		sentinels[i].host = host;
		sentinels[i].port = 26379;
		sentinels[i].user = data[0] & HAS_USER ? user : NULL;
		sentinels[i].password = data[0] & HAS_PASSWORD ? password : NULL;
	}
	uv_loop_init(&loop);
	streams.loop = &loop;
	ask(&loop, sentinels);
	send_pieces(data + 1, size - 1);
	fuzz_check(world.found + world.failed <= 1);
	if (!world.is_cancelled)
		redis_sentinel_cancel(world.question);
	streams_sweep();
	fuzz_check(streams.count == 0);
	uv_run(&loop, UV_RUN_DEFAULT);
	fuzz_check(uv_loop_close(&loop) == 0);
	return 0;
}

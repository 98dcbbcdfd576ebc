#include <arpa/inet.h>
#include <check.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "transport/stream.h"

struct probe {
	uv_loop_t loop;
	struct stream *stream;
	int listener, peer;
	int port;
	unsigned connected, failed, flushes;
	struct err why;
	char got[4096];
	size_t got_len;
	size_t unit;	      /* on_data consumes whole units of this size only */
	bool closes_in_data;  /* on_data closes the stream */
	unsigned flush_again; /* on_flush wakes itself so often */
};

static void probe_connected(void *ctx)
{
	((struct probe *)ctx)->connected++;
}

static size_t probe_data(void *ctx, const char *data, size_t len)
{
	struct probe *p = ctx;
	size_t take = len - len % p->unit;

	ck_assert_uint_le(p->got_len + take, sizeof(p->got));
	memcpy(p->got + p->got_len, data, take);
	p->got_len += take;
	if (p->closes_in_data) {
		stream_close(p->stream);
		p->stream = NULL;
	}
	return take;
}

static void probe_flush(void *ctx)
{
	struct probe *p = ctx;

	p->flushes++;
	if (p->flush_again > 0) {
		p->flush_again--;
		stream_wake(p->stream);
	}
}

static void probe_failed(void *ctx, const struct err *why)
{
	struct probe *p = ctx;

	p->failed++;
	p->why = *why;
}

static const struct stream_events events = {
	.on_connected = probe_connected,
	.on_data = probe_data,
	.on_flush = probe_flush,
	.on_failed = probe_failed,
};

static void ticked(uv_timer_t *timer)
{
	*(bool *)timer->data = true;
}

static void run(struct probe *p, int ms)
{
	uv_timer_t timer;
	bool is_over = false;

	uv_timer_init(&p->loop, &timer);
	timer.data = &is_over;
	uv_update_time(&p->loop);
	uv_timer_start(&timer, ticked, (uint64_t)ms, 0);
	while (!is_over)
		uv_run(&p->loop, UV_RUN_ONCE);
	uv_close((uv_handle_t *)&timer, NULL);
	uv_run(&p->loop, UV_RUN_NOWAIT);
}

static void listen_start(struct probe *p)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(p->listener, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(p->listener, 4), 0);
	ck_assert_int_eq(getsockname(p->listener, (struct sockaddr *)&address, &len), 0);
	p->port = ntohs(address.sin_port);
}

static void begin(struct probe *p)
{
	memset(p, 0, sizeof(*p));
	uv_loop_init(&p->loop);
	p->unit = 1;
	p->listener = p->peer = -1;
}

static void open_to(struct probe *p, const char *host, int port, size_t max_output)
{
	struct stream_options options = {
		.loop = &p->loop,
		.host = host,
		.port = port,
		.connect_timeout_s = 0.5,
		.max_output = max_output,
		.max_input = 1000,
		.events = &events,
		.ctx = p,
	};

	p->stream = stream_open(&options);
}

static void begin_connected(struct probe *p, size_t max_output)
{
	begin(p);
	listen_start(p);
	open_to(p, "localhost", p->port, max_output);
	run(p, 50);
	ck_assert_uint_eq(p->connected, 1);
	p->peer = accept(p->listener, NULL, NULL);
	ck_assert_int_ge(p->peer, 0);
}

static void end(struct probe *p)
{
	stream_close(p->stream);
	while (uv_run(&p->loop, UV_RUN_NOWAIT) != 0)
		;
	ck_assert_int_eq(uv_loop_close(&p->loop), 0);
	if (p->peer >= 0)
		close(p->peer);
	if (p->listener >= 0)
		close(p->listener);
}

START_TEST(bytes_go_both_ways_and_before_the_connection_is_up)
{
	struct probe p;
	char text[64] = "";

	begin(&p);
	listen_start(&p);
	open_to(&p, "127.0.0.1", p.port, 100);
	ck_assert_int_eq(stream_write(p.stream, "early ", 6), 0);
	ck_assert_uint_eq(p.connected + p.failed, 0); /* nothing from inside the calls */
	run(&p, 50);
	p.peer = accept(p.listener, NULL, NULL);
	ck_assert_int_eq(stream_write(p.stream, "late", 4), 0);
	ck_assert_uint_eq(stream_pending(p.stream), 4);
	run(&p, 20);
	ck_assert_uint_eq(stream_pending(p.stream), 0);
	ck_assert_int_eq(read(p.peer, text, sizeof(text)), 10);
	ck_assert_str_eq(text, "early late");
	ck_assert_int_eq(write(p.peer, "answer", 6), 6);
	run(&p, 20);
	ck_assert_uint_eq(p.got_len, 6);
	ck_assert_int_eq(memcmp(p.got, "answer", 6), 0);
	end(&p);
}
END_TEST

START_TEST(what_is_not_consumed_comes_again_with_more_behind_it)
{
	struct probe p;

	begin_connected(&p, 100);
	p.unit = 4;
	ck_assert_int_eq(write(p.peer, "abcdef", 6), 6);
	run(&p, 20);
	ck_assert_uint_eq(p.got_len, 4);
	ck_assert_int_eq(write(p.peer, "ghij", 4), 4);
	run(&p, 20);
	ck_assert_uint_eq(p.got_len, 8);
	ck_assert_int_eq(memcmp(p.got, "abcdefgh", 8), 0);
	end(&p);
}
END_TEST

START_TEST(a_unit_above_max_input_is_an_error)
{
	struct probe p;
	char data[1001] = "";

	begin_connected(&p, 100);
	p.unit = 3000;
	ck_assert_int_eq(write(p.peer, data, 1000), 1000);
	run(&p, 20);
	ck_assert_uint_eq(p.failed, 0);
	ck_assert_int_eq(write(p.peer, data, 1), 1);
	run(&p, 20);
	ck_assert_uint_eq(p.failed, 1);
	ck_assert_int_eq(p.why.code, ERR_LIMIT);
	end(&p);
}
END_TEST

START_TEST(output_is_bounded_and_a_slow_peer_gets_it_whole)
{
	struct probe p;
	enum { CHUNK = 65536, MAX = 40 * CHUNK };
	static char chunk[CHUNK], back[CHUNK];
	unsigned taken = 0;
	size_t total = 0, wrong = 0;
	ssize_t got;

	begin_connected(&p, MAX);
	while (taken < 1000 && stream_write(p.stream, chunk, CHUNK) == 0) {
		taken++;
		memset(chunk, (int)taken, sizeof(chunk));
		run(&p, 1);
	}
	ck_assert_uint_lt(taken, 1000); /* the kernel's part and ours are full */
	ck_assert_uint_le(stream_pending(p.stream), MAX);
	unsigned flushes = p.flushes;
	fcntl(p.peer, F_SETFL, O_NONBLOCK);
	for (int i = 0; i < 2000 && total < (size_t)taken * CHUNK; i++) {
		while ((got = read(p.peer, back, sizeof(back))) > 0) {
			for (ssize_t k = 0; k < got; k++, total++)
				wrong += back[k] != (char)(total / CHUNK);
		}
		run(&p, 1);
	}
	ck_assert_uint_eq(total, (size_t)taken * CHUNK);
	ck_assert_uint_eq(wrong, 0);
	ck_assert_uint_gt(p.flushes, flushes); /* told that there is room again */
	end(&p);
}
END_TEST

START_TEST(on_flush_comes_once_per_turn_and_again_when_it_asks)
{
	struct probe p;

	begin_connected(&p, 1000);
	run(&p, 20);
	p.flushes = 0;
	stream_write(p.stream, "a", 1);
	stream_write(p.stream, "b", 1);
	stream_wake(p.stream);
	run(&p, 30);
	ck_assert_uint_eq(p.flushes, 1);
	p.flush_again = 3;
	stream_wake(p.stream);
	run(&p, 30);
	ck_assert_uint_eq(p.flushes, 5);
	end(&p);
}
END_TEST

START_TEST(the_peers_last_words_are_read_before_its_end_is_told)
{
	struct probe p;
	struct linger reset = {.l_onoff = 1};

	begin_connected(&p, 100);
	ck_assert_int_eq(write(p.peer, "because", 7), 7);
	close(p.peer);
	p.peer = -1;
	run(&p, 30);
	ck_assert_uint_eq(p.got_len, 7);
	ck_assert_uint_eq(p.failed, 1);
	ck_assert_int_eq(p.why.code, ERR_IO);
	end(&p);

	begin_connected(&p, 100);
	setsockopt(p.peer, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
	close(p.peer);
	p.peer = -1;
	run(&p, 30);
	ck_assert_uint_eq(p.failed, 1);
	end(&p);
}
END_TEST

START_TEST(a_stream_may_be_closed_from_its_own_callback)
{
	struct probe p;

	begin_connected(&p, 100);
	p.closes_in_data = true;
	ck_assert_int_eq(write(p.peer, "abc", 3), 3);
	run(&p, 30);
	ck_assert_uint_eq(p.got_len, 3);
	ck_assert_uint_eq(p.failed, 0);
	end(&p);
}
END_TEST

START_TEST(refused_and_unanswered_connects_fail_in_time)
{
	struct probe p;
	struct sockaddr_in address = {
		.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
	int fillers[4];

	begin(&p);
	open_to(&p, "127.0.0.1", 1, 100);
	run(&p, 50);
	ck_assert_uint_eq(p.failed, 1);
	ck_assert_str_eq(p.why.text, "connect to 127.0.0.1:1: Connection refused");
	end(&p);

	/* A listener whose queue is full does not answer. */
	begin(&p);
	listen_start(&p);
	ck_assert_int_eq(listen(p.listener, 0), 0);
	address.sin_port = htons((uint16_t)p.port);
	for (int i = 0; i < 4; i++) {
		fillers[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
		(void)connect(fillers[i], (struct sockaddr *)&address, sizeof(address));
	}
	open_to(&p, "127.0.0.1", p.port, 100);
	run(&p, 300);
	ck_assert_uint_eq(p.failed, 0);
	run(&p, 400);
	ck_assert_uint_eq(p.failed, 1);
	ck_assert_ptr_nonnull(strstr(p.why.text, "timed out"));
	ck_assert_int_eq(p.why.code, ERR_TIMEOUT);
	end(&p);
	for (int i = 0; i < 4; i++)
		close(fillers[i]);
}
END_TEST

START_TEST(unix_sockets_are_streams_too)
{
	struct probe p;
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct stream_options options = {
		.unix_path = address.sun_path,
		.max_output = 100,
		.events = &events,
		.ctx = &p,
	};

	begin(&p);
	options.loop = &p.loop;
	snprintf(address.sun_path, sizeof(address.sun_path), "/tmp/stream-%d.sock", (int)getpid());
	p.stream = stream_open(&options);
	run(&p, 30);
	ck_assert_uint_eq(p.failed, 1);
	ck_assert_ptr_nonnull(strstr(p.why.text, address.sun_path));
	stream_close(p.stream);

	p.listener = socket(AF_UNIX, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(p.listener, (struct sockaddr *)&address, sizeof(address)), 0);
	ck_assert_int_eq(listen(p.listener, 1), 0);
	p.stream = stream_open(&options);
	run(&p, 30);
	ck_assert_uint_eq(p.connected, 1);
	unlink(address.sun_path);
	end(&p);
}
END_TEST

START_TEST(closing_during_the_look_up_is_safe)
{
	struct probe p;

	begin(&p);
	open_to(&p, "no-such-host.invalid", 80, 100);
	run(&p, 5);
	end(&p);
	ck_assert_uint_eq(p.connected, 0);
}
END_TEST

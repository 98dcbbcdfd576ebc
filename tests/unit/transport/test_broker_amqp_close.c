/* Closing while the broker reads slowly: a broker of our own, in a thread, which says just enough.
 */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "tests/unit/transport/amqp_fixture.h"

enum { MANY = 600000, PAUSE_MS = 1000 };

struct server {
	int listener, fd;
	pthread_t thread;
	char in[1 << 16];
	size_t len;
	unsigned char *is_acked; /* by tag */
	unsigned acked;
	bool has_goodbye;
};

static void send_all(int fd, const void *data, size_t len)
{
	const char *at = data;

	while (len > 0) {
		ssize_t n = send(fd, at, len, MSG_NOSIGNAL);
		if (n <= 0)
			return;
		at += n;
		len -= (size_t)n;
	}
}

static size_t put_frame(char *to, int type, int channel, const void *payload, size_t len)
{
	char head[7] = {(char)type, 0, (char)channel, 0, 0, (char)(len >> 8), (char)len};

	memcpy(to, head, 7);
	memcpy(to + 7, payload, len);
	to[7 + len] = (char)0xce;
	return len + 8;
}

/* A method by its numbers and its arguments. */
static void say(struct server *s, int channel, int class_id, int method, const char *arguments,
		size_t len)
{
	char payload[256] = {0, (char)class_id, 0, (char)method}, frame[300];

	memcpy(payload + 4, arguments, len);
	send_all(s->fd, frame, put_frame(frame, 1, channel, payload, len + 4));
}

static void deliver_many(struct server *s)
{
	static const char method[] = "\0\x3c\0\x3c\012smallage-1\0\0\0\0\0\0\0\0\0\0\001q";
	static const char header[] = "\0\x3c\0\0\0\0\0\0\0\0\0\0\0\0";
	char payload[sizeof(method)], frames[128];

	memcpy(payload, method, sizeof(method));
	for (uint32_t tag = 1; tag <= MANY; tag++) {
		uint32_t number = htonl(tag);
		size_t len;

		memcpy(payload + 19, &number, 4); /* low half of the tag */
		len = put_frame(frames, 1, 1, payload, sizeof(method) - 1);
		len += put_frame(frames + len, 2, 1, header, sizeof(header) - 1);
		send_all(s->fd, frames, len);
	}
	poll(NULL, 0, PAUSE_MS);
}

static void ack_received(struct server *s, const unsigned char *arguments)
{
	uint32_t tag;

	memcpy(&tag, arguments + 4, 4);
	tag = ntohl(tag);
	for (uint32_t t = arguments[8] ? 1 : tag; t <= tag && t <= MANY; t++) {
		s->acked += !s->is_acked[t];
		s->is_acked[t] = 1;
	}
}

static void method_received(struct server *s, int channel, const unsigned char *p)
{
	switch (p[1] * 1000 + p[3]) {
	case 10011:
		say(s, 0, 10, 30, "\0\0\0\x02\0\0\0\0", 8);
		break;
	case 10040:
		say(s, 0, 10, 41, "", 1);
		break;
	case 20010:
		say(s, channel, 20, 11, "\0\0\0", 4);
		break;
	case 40010:
		say(s, channel, 40, 11, "", 0);
		break;
	case 50010:
		say(s, channel, 50, 11, "\001q\0\0\0\0\0\0\0", 10);
		break;
	case 50020:
		say(s, channel, 50, 21, "", 0);
		break;
	case 60020:
		say(s, channel, 60, 21, "\012smallage-1", 11);
		deliver_many(s);
		break;
	case 60080:
		ack_received(s, p + 4);
		break;
	case 10050:
		s->has_goodbye = true;
		say(s, 0, 10, 51, "", 0);
		break;
	default:
		break;
	}
}

static void frames_take(struct server *s)
{
	size_t used = 0, size;

	for (;; used += size + 8) {
		const unsigned char *at = (const unsigned char *)s->in + used;

		if (s->len - used < 8)
			break;
		size = (size_t)at[4] << 16 | (size_t)at[5] << 8 | at[6];
		if (s->len - used < size + 8)
			break;
		if (at[0] == 1)
			method_received(s, at[2], at + 7);
	}
	s->len -= used;
	memmove(s->in, s->in + used, s->len);
}

static void *serve(void *arg)
{
	struct server *s = arg;
	ssize_t n;

	s->fd = accept(s->listener, NULL, NULL);
	(void)recv(s->fd, s->in, 8, MSG_WAITALL);
	say(s, 0, 10, 10, "\0\011\0\0\0\0\0\0\0\005PLAIN\0\0\0\005en_US", 24);
	while ((n = recv(s->fd, s->in + s->len, sizeof(s->in) - s->len, 0)) > 0) {
		s->len += (size_t)n;
		frames_take(s);
	}
	close(s->fd);
	return NULL;
}

static void server_start(struct server *s, char *ret_url, size_t size)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
				      .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(address);
	int small = 4096;

	memset(s, 0, sizeof(*s));
	s->is_acked = calloc(MANY + 1, 1);
	s->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	setsockopt(s->listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	ck_assert_int_eq(bind(s->listener, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(s->listener, 1), 0);
	getsockname(s->listener, (struct sockaddr *)&address, &len);
	snprintf(ret_url, size, "amqp://127.0.0.1:%d//", ntohs(address.sin_port));
	pthread_create(&s->thread, NULL, serve, s);
}

/* Every second one at once, so that each of these acks is a method of its own. */
static void ack_even(void *ctx, struct message *m, unsigned session, uint64_t tag)
{
	struct fixture *f = ctx;

	(void)m;
	f->seen_count++;
	if (tag % 2 == 0)
		broker_ack(f->broker, session, tag);
}

/* C-62 */
START_TEST(closing_sends_every_ack_to_a_broker_that_reads_slowly) /* timeout 60 */
{
	struct broker_events events;
	struct server server;
	struct fixture f;
	char url[64];

	server_start(&server, url, sizeof(url));
	fixture_init(&f, url);
	events = *f.options.events;
	events.on_delivery = ack_even;
	f.options.events = &events;
	fixture_open(&f);
	fixture_consume(&f, "q", NULL);
	fixture_start(&f);
	ck_assert(fixture_wait(&f, &f.seen_count, MANY, 20000));
	for (uint64_t tag = 1; tag <= MANY; tag += 2)
		broker_ack(f.broker, 1, tag);
	f.seen_count = 0; /* nothing was kept */
	broker_close(f.broker, 10);
	ck_assert(fixture_wait(&f, &f.closed, 1, 15000));
	f.broker = NULL;
	fixture_close(&f);
	pthread_join(server.thread, NULL);
	close(server.listener);
	ck_assert_uint_eq(server.acked, MANY);
	ck_assert(server.has_goodbye);
	free(server.is_acked);
}
END_TEST

/*
 * A TCP relay that holds every byte back for some time, each way, without limiting how many are
 * under way: distance between a worker and its servers.
 *
 *     delay LISTEN_PORT TARGET_PORT MICROSECONDS
 *
 * Runs until it is killed. 127.0.0.1 only.
 */
#define _GNU_SOURCE /* ppoll */

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_PAIRS 64
#define CHUNK	  65536

/* What was read at one moment. */
struct chunk {
	struct chunk *next;
	int64_t due_us;
	size_t length, sent;
	char data[];
};

struct way {
	int from, to;
	struct chunk *first, **last;
	int is_ended; /* nothing more comes */
};

static struct way ways[2 * MAX_PAIRS];
static int way_count;
static int64_t delay_us;

static int64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1000000) + t.tv_nsec / 1000;
}

static struct sockaddr_in local(const char *port)
{
	return (struct sockaddr_in){.sin_family = AF_INET,
				    .sin_port = htons((uint16_t)strtoul(port, NULL, 10)),
				    .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static void fail(const char *what)
{
	perror(what);
	exit(EXIT_FAILURE);
}

static void prepare(int fd)
{
	int one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	fcntl(fd, F_SETFL, O_NONBLOCK);
}

static void open_pair(int listener, const char *target_port)
{
	int client = accept(listener, NULL, NULL);
	int server = socket(AF_INET, SOCK_STREAM, 0);
	struct sockaddr_in to = local(target_port);

	if (client < 0)
		return;
	if (way_count == 2 * MAX_PAIRS || connect(server, (struct sockaddr *)&to, sizeof(to)) < 0) {
		close(client);
		close(server);
		return;
	}
	prepare(client);
	prepare(server);
	for (int i = 0; i < 2; i++) {
		struct way *w = &ways[way_count++];

		*w = (struct way){.from = i ? server : client, .to = i ? client : server};
		w->last = &w->first;
	}
}

static void take(struct way *w)
{
	struct chunk *c = malloc(sizeof(*c) + CHUNK);
	ssize_t got = c ? recv(w->from, c->data, CHUNK, 0) : 0;

	if (got <= 0) {
		free(c);
		if (got == 0 || (errno != EAGAIN && errno != EINTR))
			w->is_ended = 1;
		return;
	}
	c = realloc(c, sizeof(*c) + (size_t)got);
	if (!c)
		fail("delay");
	*c = (struct chunk){.due_us = now_us() + delay_us, .length = (size_t)got};
	*w->last = c;
	w->last = &c->next;
}

static void give(struct way *w, int64_t now)
{
	while (w->first && w->first->due_us <= now) {
		struct chunk *c = w->first;
		ssize_t sent = send(w->to, c->data + c->sent, c->length - c->sent, MSG_NOSIGNAL);

		if (sent < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		c->sent += sent < 0 ? c->length : (size_t)sent;
		if (c->sent < c->length)
			continue;
		w->first = c->next;
		if (!w->first)
			w->last = &w->first;
		free(c);
	}
	if (w->is_ended == 1 && !w->first) {
		shutdown(w->to, SHUT_WR);
		w->is_ended = 2;
	}
}

/* Pairs whose two ways have ended make room. */
static void sweep(void)
{
	for (int i = 0; i < way_count; i += 2) {
		if (ways[i].is_ended < 2 || ways[i + 1].is_ended < 2)
			continue;
		close(ways[i].from);
		close(ways[i].to);
		way_count -= 2;
		for (int j = 0; j < 2 && i < way_count; j++) {
			ways[i + j] = ways[way_count + j];
			if (!ways[i + j].first)
				ways[i + j].last = &ways[i + j].first;
		}
		i -= 2;
	}
}

/* Until something comes, can go, or is due. */
static void wait_for(struct pollfd *polled, int listener)
{
	int64_t now = now_us(), next = now + 1000000;
	struct timespec time;

	polled[0] = (struct pollfd){.fd = listener, .events = POLLIN};
	for (int i = 0; i < way_count; i++) {
		struct way *w = &ways[i];
		int is_due = w->first && w->first->due_us <= now;

		polled[2 * i + 1] =
			(struct pollfd){.fd = w->is_ended ? -1 : w->from, .events = POLLIN};
		polled[2 * i + 2] = (struct pollfd){.fd = is_due ? w->to : -1, .events = POLLOUT};
		if (w->first && !is_due && w->first->due_us < next)
			next = w->first->due_us;
	}
	time.tv_sec = (next - now) / 1000000;
	time.tv_nsec = (next - now) % 1000000 * 1000;
	if (ppoll(polled, (nfds_t)(2 * way_count + 1), &time, NULL) < 0 && errno != EINTR)
		fail("poll");
}

int main(int argc, char **argv)
{
	struct pollfd polled[4 * MAX_PAIRS + 1];
	int one = 1, listener = socket(AF_INET, SOCK_STREAM, 0);

	if (argc != 4) {
		fprintf(stderr, "usage: delay LISTEN_PORT TARGET_PORT MICROSECONDS\n");
		return EXIT_FAILURE;
	}
	struct sockaddr_in at = local(argv[1]);

	delay_us = strtol(argv[3], NULL, 10);
	prctl(PR_SET_TIMERSLACK, 1000UL); /* the kernel may be late by 1 us, not by 50 */
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	if (bind(listener, (struct sockaddr *)&at, sizeof(at)) < 0 || listen(listener, 64) < 0)
		fail("delay");
	for (;;) {
		wait_for(polled, listener);
		int64_t now = now_us();

		for (int i = way_count - 1; i >= 0; i--) {
			if (polled[2 * i + 1].revents)
				take(&ways[i]);
			give(&ways[i], now);
		}
		sweep();
		if (polled[0].revents)
			open_pair(listener, argv[2]);
	}
}

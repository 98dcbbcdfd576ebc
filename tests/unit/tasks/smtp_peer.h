/* The other end of an SMTP connection for tests: a thread that answers as it is told. It speaks for
 * a server that misbehaves; what a good one does with our mails, the integration tests see. */
#ifndef TESTS_UNIT_TASKS_SMTP_PEER_H
#define TESTS_UNIT_TASKS_SMTP_PEER_H

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct peer {
	/* Replies; NULL = the good one. */
	const char *greeting, *extension, *auth, *mail, *rcpt, *data, *end;
	const char *cut_at;	  /* closes when it reads this command */
	const char *mute_at;	  /* says nothing more from this command on */
	const char *dribble_at;	  /* from here on says one byte after the other, and no line end */
	int dribble_ms;		  /* between them; 0 = as fast as they are taken */
	int mails_per_connection; /* closes after so many; 0 = never */
	bool must_cut_second;	  /* closes when a connection's second mail begins */
	bool must_batch;	  /* answers MAIL and RCPT once DATA came, but in the first mail */
	/* What happened. */
	_Atomic int connections, mails, resets;
	char last[20000]; /* the last mail, as it came */
	char port[8];
	int listener;
	pthread_t thread;
};

static bool peer_is(const char *line, const char *command)
{
	return command && strncasecmp(line, command, strlen(command)) == 0;
}

static void peer_say(FILE *out, const char *reply, const char *good)
{
	fprintf(out, "%s\r\n", reply ? reply : good);
	fflush(out);
}

/* Only a client that pipelines gets an answer to this. */
static void peer_say_later(const struct peer *p, FILE *out, const char *reply, const char *good)
{
	fprintf(out, "%s\r\n", reply ? reply : good);
	if (!p->must_batch || p->mails == 0)
		fflush(out);
}

/* Reads a mail to its dot. False when the connection ended. */
static bool peer_take_mail(struct peer *p, FILE *in)
{
	char line[2000];
	size_t len = 0;

	while (fgets(line, sizeof(line), in)) {
		if (strcmp(line, ".\r\n") == 0)
			return true;
		if (len + strlen(line) < sizeof(p->last)) {
			memcpy(p->last + len, line, strlen(line) + 1);
			len += strlen(line);
		}
	}
	return false;
}

static bool peer_answer(struct peer *p, const char *line, FILE *in, FILE *out)
{
	if (peer_is(line, "EHLO")) {
		if (p->extension)
			fprintf(out, "250-peer\r\n250-%s\r\n", p->extension);
		peer_say(out, NULL, "250 8BITMIME");
	} else if (peer_is(line, "AUTH")) {
		if (strlen(line) < 13) { /* no initial response */
			peer_say(out, NULL, "334 ");
			if (!fgets((char[300]){0}, 300, in))
				return false;
		}
		peer_say(out, p->auth, "235 2.7.0 welcome");
	} else if (peer_is(line, "MAIL")) {
		peer_say_later(p, out, p->mail, "250 2.1.0 sender ok");
	} else if (peer_is(line, "RCPT")) {
		peer_say_later(p, out, strstr(line, "bad") ? "550 5.1.1 no such user" : p->rcpt,
			       "250 2.1.5 recipient ok");
	} else if (peer_is(line, "DATA")) {
		const char *refusal = p->data; /* a test may change it once it was said */

		peer_say(out, refusal, "354 go on");
		if (refusal)
			return true;
		if (!peer_take_mail(p, in) || peer_is("DOT", p->cut_at))
			return false;
		peer_say(out, p->end, "250 2.0.0 taken");
		p->mails++;
	} else {
		p->resets += peer_is(line, "RSET");
		peer_say(out, NULL, peer_is(line, "QUIT") ? "221 bye" : "250 ok");
	}
	return !peer_is(line, "QUIT");
}

/* Until the client leaves. */
static void peer_dribble(const struct peer *p, int fd)
{
	char some[4096];

	memset(some, '2', sizeof(some));
	while (send(fd, some, p->dribble_ms ? 1 : sizeof(some), 0) > 0)
		(void)poll(NULL, 0, p->dribble_ms);
}

static void peer_serve(struct peer *p, int fd)
{
	FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");
	char line[1000];
	int before = p->mails, one = 1;

	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	p->connections++;
	peer_say(out, p->greeting, "220 peer");
	while (fgets(line, sizeof(line), in)) {
		if (peer_is(line, p->mute_at))
			continue;
		if (peer_is(line, p->dribble_at)) {
			peer_dribble(p, fd);
			break;
		}
		if (p->must_cut_second && peer_is(line, "MAIL") && p->mails > before)
			break;
		if (peer_is(line, p->cut_at) || !peer_answer(p, line, in, out))
			break;
		if (p->mails_per_connection && p->mails - before >= p->mails_per_connection)
			break;
	}
	fclose(out);
	fclose(in);
}

static void *peer_run(void *arg)
{
	struct peer *p = arg;
	int fd;

	while ((fd = accept(p->listener, NULL, NULL)) >= 0)
		peer_serve(p, fd);
	return NULL;
}

static void peer_start(struct peer *p)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);

	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	signal(SIGPIPE, SIG_IGN); /* a client may leave in mid-answer */
	p->listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(p->listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(p->listener, 10), 0);
	getsockname(p->listener, (struct sockaddr *)&sin, &len);
	snprintf(p->port, sizeof(p->port), "%d", ntohs(sin.sin_port));
	pthread_create(&p->thread, NULL, peer_run, p);
}

static void peer_stop(struct peer *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
}

#endif

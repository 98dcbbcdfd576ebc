/* The slot's side of the libesmtp engine; smtp_esmtp_session.c is the other. */
#include "tasks/email/smtp_esmtp.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

/* How often a waiting slot looks whether its time is over. */
#define PATIENCE_MS 200

static _Thread_local struct link *kept;

static char *copy(const char *text)
{
	char *out = text ? strdup(text) : NULL;

	if (text && !out)
		abort();
	return out;
}

static struct link *link_new(const struct smtp_server *server)
{
	struct link *link = calloc(1, sizeof(*link));

	if (!link)
		abort();
	pthread_mutex_init(&link->lock, NULL);
	link->refs = 2; /* the slot and the engine */
	link->state = LINK_BUSY;
	link->sock = -1;
	link->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->done_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	link->server = *server;
	link->server.host = copy(server->host);
	link->server.port = copy(server->port);
	link->server.user = copy(server->user);
	link->server.password = copy(server->password);
	link->server.ca_file = copy(server->ca_file);
	link->server.cert_file = copy(server->cert_file);
	link->server.key_file = copy(server->key_file);
	return link;
}

static void link_job_clear(struct link_job *job)
{
	for (size_t i = 0; i < job->count; i++)
		free(job->recipients[i]);
	free(job->recipients);
	free(job->sender);
	free(job->data);
	free(job->result.recipients);
	*job = (struct link_job){0};
}

static void free_secret(const char *text)
{
	if (text)
		explicit_bzero((char *)(uintptr_t)text, strlen(text));
	free((char *)(uintptr_t)text);
}

void link_unref(struct link *link)
{
	int refs;

	pthread_mutex_lock(&link->lock);
	refs = --link->refs;
	pthread_mutex_unlock(&link->lock);
	if (refs > 0)
		return;
	if (link->sock >= 0)
		close(link->sock);
	close(link->wake_fd);
	close(link->done_fd);
	link_job_clear(&link->job);
	free_secret(link->server.host);
	free_secret(link->server.port);
	free_secret(link->server.user);
	free_secret(link->server.password);
	free_secret(link->server.ca_file);
	free_secret(link->server.cert_file);
	free_secret(link->server.key_file);
	pthread_mutex_destroy(&link->lock);
	free(link);
}

void link_signal(int fd)
{
	/* A full counter is a signal too, so nothing can go wrong here. */
	(void)eventfd_write(fd, 1);
}

static void job_fill(struct link_job *job, const struct smtp_mail *mail)
{
	link_job_clear(job);
	job->sender = copy(mail->sender);
	job->data = malloc(mail->len ? mail->len : 1);
	job->recipients = calloc(mail->count, sizeof(*job->recipients));
	job->result.recipients = calloc(mail->count, sizeof(*job->result.recipients));
	if (!job->data || !job->recipients || !job->result.recipients)
		abort();
	memcpy(job->data, mail->data, mail->len);
	job->len = mail->len;
	job->count = mail->count;
	for (size_t i = 0; i < mail->count; i++)
		job->recipients[i] = copy(mail->recipients[i]);
}

/* Starts the engine's thread, which must not get the signals meant for tasks. */
static int engine_start(struct link *link)
{
	sigset_t all, before;
	pthread_attr_t attr;
	pthread_t thread;
	int ret;

	sigfillset(&all);
	pthread_attr_init(&attr);
	pthread_attr_setdetachstate(&attr, PTHREAD_CREATE_DETACHED);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	ret = pthread_create(&thread, &attr, link_run, link);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	return ret;
}

/* Tells the engine to leave; it says QUIT by itself. */
static void link_drop(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	link->must_stop = true;
	/* What is under way now is given up: its caller has gone. */
	if ((link->state == LINK_BUSY || link->state == LINK_LENT) && link->sock >= 0)
		shutdown(link->sock, SHUT_RDWR);
	if (link->state == LINK_LENT)
		link->state = LINK_CLOSED;
	pthread_mutex_unlock(&link->lock);
	link_signal(link->wake_fd);
	link_unref(link);
}

/* Why waiting ends now although the engine has not answered, or SMTP_SENT to go on. */
static enum smtp_end wait_verdict(struct link *link, int64_t start,
				  const struct smtp_patience *patience)
{
	int64_t waited = smtp_now_ms() - start;
	bool is_connected;

	if (patience && patience->is_over(patience->arg))
		return SMTP_EXPIRED;
	pthread_mutex_lock(&link->lock);
	is_connected = link->is_connected;
	pthread_mutex_unlock(&link->lock);
	if (waited > (is_connected ? smtp_time_limit_ms(&link->server, link->job.len)
				   : link->server.timeout_ms))
		return SMTP_TIMEOUT;
	return SMTP_SENT;
}

/* Waits until the mail is settled. Returns false when it gave up; `ret` says why. */
static bool wait_settled(struct link *link, const struct smtp_patience *patience,
			 struct smtp_result *ret)
{
	int64_t start = smtp_now_ms();
	struct pollfd pfd = {.fd = link->done_fd, .events = POLLIN};
	enum link_state state;
	enum smtp_end verdict;
	eventfd_t value;

	for (;;) {
		pthread_mutex_lock(&link->lock);
		state = link->state;
		pthread_mutex_unlock(&link->lock);
		if (state != LINK_BUSY)
			return true;
		/* A signal interrupts this: the soft time limit. */
		if (poll(&pfd, 1, PATIENCE_MS) > 0)
			(void)eventfd_read(link->done_fd, &value);
		else if ((verdict = wait_verdict(link, start, patience)) != SMTP_SENT)
			break;
	}
	smtp_result_text(ret, verdict, "no answer from %s:%s in time", link->server.host,
			 link->server.port);
	pthread_mutex_lock(&link->lock);
	if (verdict == SMTP_TIMEOUT && link->is_connected && link->job.is_all_sent)
		ret->end = SMTP_UNKNOWN;
	pthread_mutex_unlock(&link->lock);
	return false;
}

static bool is_same(const char *a, const char *b)
{
	return a == b || (a && b && strcmp(a, b) == 0);
}

static bool fits(const struct link *link, const struct smtp_server *server)
{
	const struct smtp_server *own = &link->server;

	return is_same(own->host, server->host) && is_same(own->port, server->port) &&
	       is_same(own->user, server->user) && is_same(own->password, server->password) &&
	       is_same(own->ca_file, server->ca_file) &&
	       is_same(own->cert_file, server->cert_file) &&
	       is_same(own->key_file, server->key_file) && own->tls == server->tls &&
	       own->has_verify == server->has_verify;
}

/* Hands the mail to the kept engine. False when there is none that takes it. */
static bool hand_over(const struct smtp_server *server, const struct smtp_mail *mail)
{
	bool is_taken = false;

	if (!kept)
		return false;
	pthread_mutex_lock(&kept->lock);
	/* libesmtp knows nothing of a transaction that the slot left unfinished. */
	if (kept->state == LINK_SENT && !kept->pipe.must_reset && fits(kept, server)) {
		job_fill(&kept->job, mail);
		kept->state = LINK_BUSY;
		is_taken = true;
	}
	pthread_mutex_unlock(&kept->lock);
	if (is_taken) {
		link_signal(kept->wake_fd);
		return true;
	}
	link_drop(kept);
	kept = NULL;
	return false;
}

/* Borrows the idle connection of the kept engine, if the server offers PIPELINING. */
static bool borrow(const struct smtp_server *server)
{
	bool is_lent = false;

	pthread_mutex_lock(&kept->lock);
	if (kept->state == LINK_SENT && kept->has_pipelining && kept->sock >= 0 &&
	    fits(kept, server)) {
		kept->state = LINK_LENT;
		kept->pipe.must_reset |= kept->was_refused;
		kept->was_refused = false;
		is_lent = true;
	}
	pthread_mutex_unlock(&kept->lock);
	return is_lent;
}

static void give_back(void)
{
	pthread_mutex_lock(&kept->lock);
	kept->last_used_ms = smtp_now_ms();
	kept->state = LINK_SENT;
	if (++kept->mails >= SMTP_MAILS_PER_CONNECTION) {
		kept->state = LINK_CLOSED;
		kept->must_stop = true;
		link_signal(kept->wake_fd);
	}
	pthread_mutex_unlock(&kept->lock);
}

/* False when there is no connection for it, or the server had left it: nothing was sent. */
static bool send_pipelined(const struct smtp_server *server, const struct smtp_mail *mail,
			   const struct smtp_patience *patience, struct smtp_result *ret)
{
	enum pipeline_end end;

	if (!kept || mail->count > PIPELINE_RECIPIENTS_MAX || !borrow(server))
		return false;
	/* What a server says unasked is good-bye. */
	end = link_has_input(kept->pipe.fd)
		      ? PIPELINE_STALE
		      : smtp_pipeline_send(&kept->pipe, server, mail, patience, ret);
	if (end == PIPELINE_OPEN) {
		give_back();
	} else {
		link_drop(kept);
		kept = NULL;
	}
	return end != PIPELINE_STALE;
}

static int open_new(const struct smtp_server *server, const struct smtp_mail *mail, bool is_probe,
		    struct smtp_result *ret)
{
	struct link *link = link_new(server);

	link->is_probe = is_probe;
	job_fill(&link->job, mail);
	if (engine_start(link) != 0) {
		smtp_result_text(ret, SMTP_CONNECT_FAILED, "cannot start a thread");
		link->refs = 1;
		link_unref(link);
		return -1;
	}
	kept = link;
	return 0;
}

static void take_result(const struct link_job *job, struct smtp_result *ret)
{
	struct smtp_reply *recipients = ret->recipients;

	*ret = job->result;
	ret->recipients = recipients;
	if (recipients && job->count)
		memcpy(recipients, job->result.recipients, job->count * sizeof(*recipients));
}

static void esmtp_send(const struct smtp_server *server, const struct smtp_mail *mail,
		       const struct smtp_patience *patience, struct smtp_result *ret)
{
	bool was_kept = hand_over(server, mail);
	bool is_mail_accepted;

	for (;;) {
		if (!was_kept && open_new(server, mail, false, ret) < 0)
			return;
		if (!wait_settled(kept, patience, ret)) {
			link_drop(kept);
			kept = NULL;
			return;
		}
		pthread_mutex_lock(&kept->lock);
		take_result(&kept->job, ret);
		is_mail_accepted = kept->job.is_mail_accepted;
		pthread_mutex_unlock(&kept->lock);
		/* The server had closed the kept connection meanwhile: nobody saw this mail. */
		if (ret->end != SMTP_LOST || is_mail_accepted || !was_kept)
			return;
		link_drop(kept);
		kept = NULL;
		was_kept = false;
	}
}

static void esmtp_close(void)
{
	struct pollfd pfd;
	bool is_finished = false;
	eventfd_t value;

	if (!kept)
		return;
	pthread_mutex_lock(&kept->lock);
	kept->must_stop = true;
	pthread_mutex_unlock(&kept->lock);
	link_signal(kept->wake_fd);
	pfd = (struct pollfd){.fd = kept->done_fd, .events = POLLIN};
	/* A second for a polite QUIT. */
	for (int64_t end = smtp_now_ms() + 1000; !is_finished && smtp_now_ms() < end;) {
		if (poll(&pfd, 1, 100) > 0)
			(void)eventfd_read(kept->done_fd, &value);
		pthread_mutex_lock(&kept->lock);
		is_finished = kept->is_finished;
		pthread_mutex_unlock(&kept->lock);
	}
	link_drop(kept);
	kept = NULL;
}

static void kept_send(const struct smtp_server *server, const struct smtp_mail *mail,
		      const struct smtp_patience *patience, struct smtp_result *ret)
{
	if (!send_pipelined(server, mail, patience, ret))
		esmtp_send(server, mail, patience, ret);
}

/* libesmtp opens no session without a mail: one is offered and withdrawn before MAIL FROM. */
static void esmtp_probe(const struct smtp_server *server, struct smtp_result *ret)
{
	static const char *const nobody[] = {"postmaster"};
	struct smtp_mail mail = {.sender = "", .recipients = nobody, .count = 1, .data = ""};

	if (kept)
		esmtp_close();
	if (open_new(server, &mail, true, ret) < 0)
		return;
	if (wait_settled(kept, NULL, ret)) {
		pthread_mutex_lock(&kept->lock);
		take_result(&kept->job, ret);
		pthread_mutex_unlock(&kept->lock);
		/* `smallage check` ends after this: not while the engine still takes itself down.
		 */
		esmtp_close();
	} else {
		link_drop(kept);
		kept = NULL;
	}
}

const struct smtp_engine smtp_kept = {"kept", kept_send, esmtp_probe, esmtp_close};
const struct smtp_engine smtp_esmtp = {"esmtp", esmtp_send, esmtp_probe, esmtp_close};

/* The engine's side: one libesmtp session in a thread of its own. */
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <auth-client.h>

#include "tasks/email/smtp_esmtp.h"

#define IDLE_STEP_MS 50 /* when the idle time is over while the slot is at work */

/* libesmtp's status keeps line ends and takes the enhanced code out of the text. */
static void reply_from_status(struct smtp_reply *reply, const smtp_status_t *status)
{
	char text[520];
	int len = 0;

	if (!status || status->code == 0)
		return;
	len = snprintf(text, sizeof(text), "%03d ", status->code);
	if (status->enh_class)
		len += snprintf(text + len, sizeof(text) - (size_t)len, "%d.%d.%d ",
				status->enh_class, status->enh_subject, status->enh_detail);
	len += snprintf(text + len, sizeof(text) - (size_t)len, "%s",
			status->text ? status->text : "");
	smtp_reply_set(reply, text, strnlen(text, (size_t)len));
}

/*
 * libesmtp does not give its socket away and sets no TCP_NODELAY, which costs 40 ms for each mail
 * above 2 KiB. The connection just made is the one to the server's port that has no TCP_NODELAY
 * yet; when threads connect at the same moment there may be two: then both get the option and none
 * is remembered, which costs only the early notice of a closed connection.
 */
static int find_socket(const struct link *link)
{
	int port = (int)strtol(link->server.port, NULL, 10);
	int found = -1, count = 0;
	struct dirent *entry;
	DIR *dir = opendir("/proc/self/fd");

	while (dir && (entry = readdir(dir)) != NULL) {
		struct sockaddr_storage peer = {0};
		socklen_t len = sizeof(peer), size = sizeof(int);
		int fd = (int)strtol(entry->d_name, NULL, 10), one = 1, has = 1, its_port;

		if (getpeername(fd, (struct sockaddr *)&peer, &len) < 0 ||
		    (peer.ss_family != AF_INET && peer.ss_family != AF_INET6))
			continue;
		its_port = ntohs(peer.ss_family == AF_INET
					 ? ((const struct sockaddr_in *)&peer)->sin_port
					 : ((const struct sockaddr_in6 *)&peer)->sin6_port);
		if (its_port != port || getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &has, &size) < 0 ||
		    has)
			continue;
		(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
		found = fd;
		count++;
	}
	if (dir)
		closedir(dir);
	return count == 1 ? found : -1;
}

/* Keeps a duplicate: a number of libesmtp's own could be somebody else's by the time we use it. */
static void keep_socket(struct link *link, int fd)
{
	pthread_mutex_lock(&link->lock);
	if (link->sock >= 0)
		close(link->sock);
	link->sock = fd < 0 ? -1 : dup(fd);
	link->is_connected = true;
	pthread_mutex_unlock(&link->lock);
}

static void cut(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	if (link->sock >= 0)
		shutdown(link->sock, SHUT_RDWR);
	pthread_mutex_unlock(&link->lock);
}

/* Feeds libesmtp the whole mail at once; `len` NULL means from the start. */
static const char *read_mail(void **ctx, int *len, void *arg)
{
	struct link *link = arg;
	struct link_job *job = &link->job;

	(void)ctx;
	if (!len) {
		job->has_started_read = false;
		return NULL;
	}
	*len = 0;
	if (link->is_forbidden) {
		errno = EPERM; /* makes libesmtp drop the connection */
		return NULL;
	}
	if (job->has_started_read) {
		pthread_mutex_lock(&link->lock);
		job->is_all_sent = true;
		pthread_mutex_unlock(&link->lock);
		return NULL;
	}
	job->has_started_read = true;
	*len = (int)job->len;
	return job->data;
}

static void add_mail(struct link *link, smtp_session_t session)
{
	smtp_message_t message = smtp_add_message(session);

	if (!message)
		abort();
	smtp_set_reverse_path(message, link->job.sender);
	for (size_t i = 0; i < link->job.count; i++)
		smtp_add_recipient(message, link->job.recipients[i]);
	smtp_set_messagecb(message, read_mail, link);
	smtp_size_set_estimate(message, link->job.len);
	link->mails++;
}

/* The mail at hand is settled: tells the slot. */
static void settle(struct link *link, enum link_state state)
{
	pthread_mutex_lock(&link->lock);
	link->state = state;
	link->last_used_ms = smtp_now_ms();
	link->pipe.fd = link->sock;
	link->was_refused = link->job.result.end != SMTP_SENT;
	pthread_mutex_unlock(&link->lock);
	link_signal(link->done_fd);
}

bool link_has_input(int fd)
{
	struct pollfd pfd = {.fd = fd, .events = POLLIN};

	return fd >= 0 && poll(&pfd, 1, 0) > 0;
}

/* Waits for the slot. True: there is a mail in link->job; false: time to leave. */
static bool wait_for_mail(struct link *link)
{
	/* Answers to what the slot sends itself must not wake this thread, an end must. */
	short events = (short)(link->has_pipelining ? POLLRDHUP : POLLIN);
	struct pollfd pfds[2] = {{.fd = link->wake_fd, .events = POLLIN},
				 {.fd = link->sock, .events = events}};
	bool has_mail = false, must_leave = false, is_lent = false;
	int64_t left_ms = link->server.idle_ms;
	eventfd_t value;

	while (!has_mail && !must_leave) {
		(void)poll(pfds, is_lent ? 1 : 2, (int)left_ms);
		if (pfds[0].revents)
			(void)eventfd_read(link->wake_fd, &value);
		pthread_mutex_lock(&link->lock);
		has_mail = link->state == LINK_BUSY;
		is_lent = link->state == LINK_LENT;
		left_ms = link->last_used_ms + link->server.idle_ms - smtp_now_ms();
		/* What a server says unasked is good-bye; the mail goes over a new connection. */
		must_leave =
			link->must_stop ||
			(!is_lent && (link_has_input(link->sock) || (left_ms <= 0 && !has_mail)));
		if (must_leave)
			link->state = LINK_CLOSED;
		if (left_ms <= 0)
			left_ms = IDLE_STEP_MS;
		pthread_mutex_unlock(&link->lock);
	}
	return has_mail && !must_leave;
}

/* After a mail: goes on with the next one, on the same connection, if one comes in time. */
static void go_on(struct link *link, smtp_session_t session, int last_code)
{
	if (link->mails >= SMTP_MAILS_PER_CONNECTION || last_code == 421) {
		settle(link, LINK_CLOSED);
		return;
	}
	settle(link, LINK_SENT);
	if (wait_for_mail(link))
		add_mail(link, session);
	else
		link_signal(link->done_fd);
}

static void on_mail_status(struct link *link, smtp_session_t session, smtp_message_t message)
{
	const smtp_status_t *status = smtp_reverse_path_status(message);

	if (status->code / 100 == 2) {
		pthread_mutex_lock(&link->lock);
		link->job.is_mail_accepted = true;
		pthread_mutex_unlock(&link->lock);
		return;
	}
	reply_from_status(&link->job.result.reply, status);
	link->job.result.end = SMTP_REFUSED_SENDER;
	go_on(link, session, status->code);
}

static void on_message_sent(struct link *link, smtp_session_t session, smtp_message_t message)
{
	const smtp_status_t *status = smtp_message_transfer_status(message);

	reply_from_status(&link->job.result.reply, status);
	smtp_result_settle(&link->job.result, link->job.count);
	if (link->job.result.end == SMTP_SENT && !link->job.has_started_read) {
		/* The answer to DATA: not a refusal, but the mail was not sent. */
		smtp_result_text(&link->job.result, SMTP_LOST, "the server answered DATA with %d",
				 status->code);
		settle(link, LINK_CLOSED);
		return;
	}
	go_on(link, session, status->code);
}

static void on_starttls(struct link *link, SSL *ssl)
{
	int fd = SSL_get_fd(ssl), one = 1;

	(void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof(one));
	keep_socket(link, fd);
	link->pipe.ssl = ssl;
	if (link->is_injected)
		cut(link);
}

static void on_disconnect(struct link *link)
{
	pthread_mutex_lock(&link->lock);
	if (link->sock >= 0)
		close(link->sock);
	link->sock = -1;
	link->pipe.ssl = NULL;
	pthread_mutex_unlock(&link->lock);
}

/* OpenSSL has checked chain and name itself (see link_tls_context). libesmtp looks at the name once
 * more, but at the one DNS calls canonical, and knows no addresses: its "no" is overruled. */
static void on_certificate(const struct link *link, const SSL *ssl, int *ret_ok)
{
	*ret_ok = !link->server.has_verify || SSL_get_verify_result(ssl) == X509_V_OK;
}

static void on_event(smtp_session_t session, int event, void *arg, ...)
{
	struct link *link = arg;
	va_list ap;

	va_start(ap, arg);
	switch (event) {
	case SMTP_EV_CONNECT:
		link->phase = PHASE_GREETING;
		link->line_len = 0;
		link->is_authenticated = link->is_forbidden = link->is_leaving = false;
		memset(&link->last, 0, sizeof(link->last));
		keep_socket(link, find_socket(link));
		break;
	case SMTP_EV_MAILSTATUS:
		(void)va_arg(ap, const char *);
		on_mail_status(link, session, va_arg(ap, smtp_message_t));
		break;
	case SMTP_EV_RCPTSTATUS:
		(void)va_arg(ap, const char *);
		if (link->job.replies < link->job.count)
			reply_from_status(&link->job.result.recipients[link->job.replies++],
					  smtp_recipient_status(va_arg(ap, smtp_recipient_t)));
		break;
	case SMTP_EV_MESSAGESENT:
		on_message_sent(link, session, va_arg(ap, smtp_message_t));
		break;
	case SMTP_EV_DISCONNECT:
		on_disconnect(link);
		break;
	case SMTP_EV_EXTNA_STARTTLS:
		link->has_no_starttls = true;
		break;
	case SMTP_EV_STARTTLS_OK:
		on_starttls(link, va_arg(ap, SSL *));
		break;
	case SMTP_EV_INVALID_PEER_CERTIFICATE: {
		int *ok;

		(void)va_arg(ap, long);
		ok = va_arg(ap, int *);
		*ok = !link->server.has_verify;
		break;
	}
	case SMTP_EV_WRONG_PEER_CERTIFICATE: {
		int *ok = va_arg(ap, int *);

		(void)va_arg(ap, const char *);
		on_certificate(link, va_arg(ap, SSL *), ok);
		break;
	}
	default:
		break;
	}
	va_end(ap);
}

static bool begins(const char *buf, int len, const char *word)
{
	size_t n = strlen(word);

	return (size_t)len >= n && memcmp(buf, word, n) == 0;
}

static void on_extension(struct link *link, const char *line, size_t len)
{
	size_t n = 0;

	while (n < len && !strchr(" \r\n", line[n]))
		n++;
	if (n == 10 && strncasecmp(line, "PIPELINING", n) == 0)
		link->has_pipelining = true;
	else if (n == 4 && strncasecmp(line, "SIZE", n) == 0)
		link->pipe.has_size = true;
}

/* A complete reply line that came before MAIL FROM. */
static void on_reply_line(struct link *link)
{
	bool is_final = link->line_len < 4 || link->line[3] != '-';

	if (link->phase == PHASE_EHLO && link->line_len > 4)
		on_extension(link, link->line + 4, link->line_len - 4);
	if (!is_final || link->is_leaving)
		return;
	smtp_reply_set(&link->last, link->line, link->line_len);
	if (link->phase == PHASE_AUTH && link->last.code == 235)
		link->is_authenticated = true;
}

static void on_read(struct link *link, const char *buf, int len)
{
	bool has_line = false;

	for (int i = 0; i < len; i++) {
		/* Bytes behind the answer to STARTTLS came before the encryption: libesmtp would
		 * take them for answers of the encrypted session. */
		if (has_line && link->phase == PHASE_STARTTLS)
			link->is_injected = true;
		if (link->line_len < sizeof(link->line))
			link->line[link->line_len++] = buf[i];
		if (buf[i] != '\n')
			continue;
		on_reply_line(link);
		link->line_len = 0;
		has_line = true;
	}
}

static void on_write(struct link *link, const char *buf, int len)
{
	if (begins(buf, len, "EHLO") || begins(buf, len, "HELO")) {
		link->phase = PHASE_EHLO;
		/* What was offered before the encryption counts no more. */
		link->has_pipelining = link->pipe.has_size = false;
	} else if (begins(buf, len, "STARTTLS")) {
		link->phase = PHASE_STARTTLS;
	} else if (begins(buf, len, "AUTH")) {
		link->phase = PHASE_AUTH;
	} else if (begins(buf, len, "QUIT")) {
		link->is_leaving = true; /* its answer explains nothing */
	} else if (begins(buf, len, "MAIL")) {
		/* libesmtp goes on unauthenticated when it knows no mechanism or was refused. */
		link->is_forbidden =
			link->is_probe || (link->server.user && !link->is_authenticated);
		if (link->is_forbidden)
			cut(link);
		else
			link->phase = PHASE_MAIL;
	}
}

/* Sees every command before it is written and every answer, mail contents excepted. */
static void on_traffic(const char *buf, int len, int writing, void *arg)
{
	struct link *link = arg;

	if (link->phase == PHASE_MAIL)
		return;
	if (writing == SMTP_CB_READING)
		on_read(link, buf, len);
	else if (writing == SMTP_CB_WRITING)
		on_write(link, buf, len);
}

static int on_interact(auth_client_request_t request, char **result, int fields, void *arg)
{
	struct link *link = arg;

	for (int i = 0; i < fields; i++)
		result[i] =
			(char *)(uintptr_t)(request[i].flags & AUTH_USER   ? link->server.user
					    : request[i].flags & AUTH_PASS ? link->server.password
									   : "");
	return 1;
}

static void set_timeouts(smtp_session_t session, long ms)
{
	static const int steps[] = {Timeout_GREETING, Timeout_ENVELOPE, Timeout_DATA,
				    Timeout_TRANSFER, Timeout_DATA2};

	/* Milliseconds, whatever libesmtp's own description says. */
	for (size_t i = 0; i < sizeof(steps) / sizeof(steps[0]); i++)
		smtp_set_timeout(session, steps[i] | Timeout_OVERRIDE_RFC2822_MINIMUM, ms);
}

static void explain_no_connection(const struct link *link, struct smtp_result *ret, int code)
{
	char reason[128] = "", *text = smtp_strerror(code, reason, sizeof(reason));
	bool is_system = code < 0;

	ret->is_connection_refused = code == -ECONNREFUSED;
	smtp_result_text(ret, is_system ? SMTP_CONNECT_FAILED : SMTP_RESOLVE_FAILED,
			 "cannot %s %s:%s: %s", is_system ? "connect to" : "resolve",
			 link->server.host, link->server.port, text ? text : "unknown error");
}

/* The session ended with a mail unsettled: finds out why. */
static void explain(const struct link *link, struct smtp_result *ret, int code)
{
	const struct smtp_reply *last = &link->last;
	bool is_refused = last->code >= 400;

	ret->reply = *last;
	if (link->phase == PHASE_CONNECT && link->tls_error[0])
		smtp_result_text(ret, SMTP_TLS_FAILED, "%s", link->tls_error);
	else if (link->phase == PHASE_CONNECT)
		explain_no_connection(link, ret, code);
	else if (link->is_forbidden && link->server.user && !link->is_authenticated)
		ret->end = link->phase == PHASE_AUTH ? SMTP_REFUSED_AUTH : SMTP_NO_AUTH_MECHANISM;
	else if (link->is_forbidden)
		ret->end = SMTP_SENT; /* the probe came as far as it wanted */
	else if (link->has_no_starttls)
		ret->end = SMTP_NO_STARTTLS;
	else if (link->is_injected)
		smtp_result_text(ret, SMTP_TLS_FAILED,
				 "the server sent data in clear behind its answer to STARTTLS");
	else if (link->phase == PHASE_STARTTLS)
		smtp_result_text(ret, SMTP_TLS_FAILED, "%s",
				 link->tls_error[0] ? link->tls_error
				 : is_refused	    ? last->text
						    : "the TLS handshake failed");
	else if (link->phase == PHASE_AUTH && is_refused)
		ret->end = SMTP_REFUSED_AUTH;
	else if (link->phase < PHASE_AUTH && is_refused)
		ret->end = SMTP_REFUSED_CONNECT;
	else if (link->job.is_all_sent)
		smtp_result_text(ret, SMTP_UNKNOWN,
				 "connection lost after the mail was sent: it may have been taken");
	else
		smtp_result_text(ret, SMTP_LOST, "connection lost, or no answer within %g s",
				 link->server.timeout_ms / 1000.0);
}

static void run_session(struct link *link, smtp_session_t session, auth_context_t auth)
{
	char where[300];
	SSL_CTX *ctx = NULL;

	snprintf(where, sizeof(where), "%s:%s", link->server.host, link->server.port);
	smtp_set_server(session, where);
	smtp_set_eventcb(session, on_event, link);
	smtp_set_monitorcb(session, on_traffic, link, 0);
	set_timeouts(session, link->server.timeout_ms);
	if (link->server.tls != SMTP_TLS_NEVER) {
		ctx = link_tls_context(link);
		if (!ctx)
			return; /* never in clear instead */
		smtp_starttls_set_ctx(session, ctx);
		smtp_starttls_enable(session, link->server.tls == SMTP_TLS_REQUIRED
						      ? Starttls_REQUIRED
						      : Starttls_ENABLED);
	}
	if (auth) {
		auth_set_mechanism_flags(auth, AUTH_PLUGIN_PLAIN, 0);
		auth_set_interact_cb(auth, on_interact, link);
		smtp_auth_set_context(session, auth);
	}
	add_mail(link, session);
	smtp_start_session(session);
	SSL_CTX_free(ctx);
}

void *link_run(void *arg)
{
	struct link *link = arg;
	smtp_session_t session = smtp_create_session();
	auth_context_t auth = link->server.user ? auth_create_context() : NULL;
	bool is_unsettled;

	if (session)
		run_session(link, session, auth);
	pthread_mutex_lock(&link->lock);
	is_unsettled = link->state == LINK_BUSY;
	if (is_unsettled)
		explain(link, &link->job.result, smtp_errno());
	link->state = LINK_CLOSED;
	pthread_mutex_unlock(&link->lock);
	link_signal(link->done_fd);
	if (session)
		smtp_destroy_session(session);
	if (auth)
		auth_destroy_context(auth);
	/* Before anybody is told: a process that ends now could overtake the thread's own end. */
	OPENSSL_thread_stop();
	pthread_mutex_lock(&link->lock);
	link->is_finished = true;
	pthread_mutex_unlock(&link->lock);
	link_signal(link->done_fd);
	link_unref(link);
	return NULL;
}

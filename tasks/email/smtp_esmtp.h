/*
 * libesmtp keeps a connection only while smtp_start_session runs, and takes further mails only from
 * its own callbacks. So a thread of ours, the engine, runs the session and waits for work inside
 * the callback that ends a mail; the slot (the thread that runs tasks) hands it one mail at a time
 * and waits with a deadline, which also bounds what libesmtp does without one (name resolution,
 * connect). Where the server offers PIPELINING the slot may also borrow the idle connection and
 * send over it itself (smtp_pipeline.h). A link is shared by the two; the last one frees it, so a
 * slot may walk away from an engine that hangs.
 */
#ifndef TASKS_EMAIL_SMTP_ESMTP_H
#define TASKS_EMAIL_SMTP_ESMTP_H

#include <pthread.h>
#include <stddef.h>

#include <libesmtp.h>

#include "tasks/email/smtp.h"
#include "tasks/email/smtp_pipeline.h"

enum link_state {
	LINK_BUSY,   /* a mail was handed over and is not settled */
	LINK_SENT,   /* the mail is settled, the engine waits for another */
	LINK_LENT,   /* the engine waits, the slot uses the connection */
	LINK_CLOSED, /* settled if there was one; no further mail is taken */
};

/* The engine's view of what the server was last asked, for telling who refused. */
enum link_phase {
	PHASE_CONNECT,
	PHASE_GREETING,
	PHASE_EHLO,
	PHASE_STARTTLS,
	PHASE_AUTH,
	PHASE_MAIL
};

/* A copy of a mail: the slot may be gone while the engine reads it. */
struct link_job {
	char *sender, *data;
	char **recipients;
	size_t count, len;
	struct smtp_result result; /* its recipients array belongs to the job */
	size_t replies;		   /* recipients answered so far */
	bool is_mail_accepted;	   /* MAIL FROM was answered 2xx */
	bool has_started_read;
	bool is_all_sent; /* libesmtp has read the mail to its end */
};

struct link {
	pthread_mutex_t lock;
	/* Under the lock. */
	int refs;
	enum link_state state;
	bool must_stop;	  /* the slot wants no more */
	bool is_finished; /* the session is over, QUIT included */
	bool is_connected;
	int sock; /* our duplicate of the connection, or -1 */
	unsigned mails;
	int64_t last_used_ms;
	struct smtp_pipeline pipe;	  /* for the slot: while LINK_LENT */
	bool has_pipelining, was_refused; /* by the server; the last mail, sent by libesmtp */
	/* Written by the slot before the hand-over, by the engine until it is settled. */
	struct link_job job;
	int wake_fd, done_fd;	   /* eventfds: slot to engine, engine to slot */
	struct smtp_server server; /* owned copies */
	bool is_probe;
	/* The engine's own. */
	enum link_phase phase;
	bool is_authenticated, is_forbidden, has_no_starttls, is_injected, is_leaving;
	struct smtp_reply last; /* last complete reply line before MAIL */
	char line[600];		/* the reply line at hand */
	size_t line_len;
	char tls_error[200];
};

void link_unref(struct link *link);
void link_signal(int fd);
bool link_has_input(int fd); /* -1 is allowed */
/* The engine's thread: takes over one reference. */
void *link_run(void *arg);
/* Always a context of our own: libesmtp's is used after it was freed, from the second session on.
 * TLS 1.2: libesmtp takes the session tickets of 1.3 for an answer and waits for ever. NULL with
 * tls_error set. */
struct ssl_ctx_st *link_tls_context(struct link *link);

#endif

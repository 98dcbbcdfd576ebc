/*
 * A mail over a connection that libesmtp opened and keeps idle, to a server that offers PIPELINING
 * (RFC 2920): MAIL, RCPT and DATA leave in one write, the mail in another. That makes two round
 * trips and no change of threads, where libesmtp, which waits for MAIL's answer first, takes three.
 */
#ifndef TASKS_EMAIL_SMTP_PIPELINE_H
#define TASKS_EMAIL_SMTP_PIPELINE_H

#include "tasks/email/smtp.h"

struct ssl_st;

/* The lines of more recipients could fill both directions at once: libesmtp reads meanwhile. */
#define PIPELINE_RECIPIENTS_MAX 50

struct smtp_pipeline {
	int fd;		    /* non-blocking */
	struct ssl_st *ssl; /* NULL = in clear */
	bool has_size;	    /* the server knows MAIL's SIZE */
	bool must_reset;    /* the last mail ended in mid-transaction */
};

enum pipeline_end {
	PIPELINE_OPEN,	 /* the result stands, the connection takes another mail */
	PIPELINE_CLOSED, /* the result stands, the connection must be closed */
	PIPELINE_STALE,	 /* the server had left: the mail was not begun, no result */
};

enum pipeline_end smtp_pipeline_send(struct smtp_pipeline *pipe, const struct smtp_server *server,
				     const struct smtp_mail *mail,
				     const struct smtp_patience *patience, struct smtp_result *ret);

#endif

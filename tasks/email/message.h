/*
 * Builds the bytes of one mail (RFC 5322, MIME) from its parts. Pure: the clock and the id are
 * given, the same input gives the same bytes. Everything that becomes a header field is checked
 * here, so no caller can smuggle a line into a mail.
 */
#ifndef TASKS_EMAIL_MESSAGE_H
#define TASKS_EMAIL_MESSAGE_H

#include <jansson.h>
#include <time.h>

#include "tasks/email/address.h"
#include "tasks/email/buf.h"

/* Texts are borrowed. The lists are the message's own: mail_message_clear frees them. */
struct mail_message {
	struct address_list from;     /* exactly one */
	struct address_list reply_to; /* none or more */
	struct address_list to, cc, bcc;
	const char *subject;
	const char *text;    /* or NULL */
	const char *html;    /* or NULL; at least one of the two */
	json_t *headers;     /* further fields: an object of strings, or NULL */
	const char *task_id; /* makes the Message-ID: the same in each retry */
	time_t date;
};

/* Appends the mail; *ret_id gets the Message-ID with its angle brackets (to be freed). */
int mail_message_build(struct buf *out, const struct mail_message *m, char **ret_id,
		       struct fault *fault);
void mail_message_clear(struct mail_message *m);

#endif

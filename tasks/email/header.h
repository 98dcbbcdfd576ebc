/*
 * Header fields of RFC 5322: folding at 78 columns, RFC 2047 encoded words for what is not ASCII.
 * Values must have passed text_check; nothing here can produce a line end that was not meant.
 */
#ifndef TASKS_EMAIL_HEADER_H
#define TASKS_EMAIL_HEADER_H

#include "tasks/email/address.h"
#include "tasks/email/buf.h"

/* "Subject: ..." and other free text. */
void header_text(struct buf *out, const char *name, const char *value);
/* "To: A <a@b>, c@d". Writes nothing for an empty list. */
void header_addresses(struct buf *out, const char *name, const struct address_list *list);
/* A short ASCII value that must not be changed inside ("Message-ID"). */
void header_raw(struct buf *out, const char *name, const char *value);

#endif

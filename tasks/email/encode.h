/* Content transfer encodings for text parts. Input is UTF-8 with any line ends; output has CRLF
 * only and no line above 998 bytes. */
#ifndef TASKS_EMAIL_ENCODE_H
#define TASKS_EMAIL_ENCODE_H

#include "tasks/email/buf.h"

enum encoding { ENCODING_7BIT, ENCODING_QP, ENCODING_BASE64 };

/* Appends `text` with every CRLF, CR and LF as CRLF. */
void crlf_normalize(struct buf *out, const char *text, size_t len);
/* What suits a text that went through crlf_normalize. */
enum encoding encoding_choose(const char *text, size_t len);
const char *encoding_name(enum encoding e);
void encoding_write(struct buf *out, enum encoding e, const char *text, size_t len);
/* Base64 without line ends. */
void base64_add(struct buf *out, const char *text, size_t len);

#endif

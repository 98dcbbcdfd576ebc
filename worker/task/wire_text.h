/* Texts in what master and slots say to each other: a length, the bytes and their NUL; or a mark
 * for NULL. In host order, as pool/frame.h says. */
#ifndef WORKER_TASK_WIRE_TEXT_H
#define WORKER_TASK_WIRE_TEXT_H

#include "base/str.h"
#include "protocol/message.h"

/* NULL is a text here. */
size_t wire_text_size(const char *text);
void wire_text_put(struct str *out, const char *text);
/* Takes one off the front of `rest`, into which it points. -1 when there is none, or one with a NUL
 * inside. */
int wire_text_get(const char **ret, struct span *rest);

#endif

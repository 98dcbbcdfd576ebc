/*
 * A task message in as few bytes as it can be kept in while nobody looks at it: texts that say the
 * same as another are said once, UUIDs are 16 bytes, numbers as long as they are. Pure, and for
 * this process only: the bytes never leave it.
 */
#ifndef WORKER_REQUEST_PACKED_H
#define WORKER_REQUEST_PACKED_H

#include "base/str.h"
#include "protocol/task_message.h"

/* Appends everything but eta_us. `name` is the task's name, which the message mostly shares. */
int packed_write(struct str *out, const struct task_message *m, const char *name);
/* Fills an initialized message from what packed_write made with the same name. */
void packed_read(struct task_message *m, const unsigned char *data, const char *name);
/* True when it is the message with this id and number of retries. */
bool packed_is(const unsigned char *data, const char *name, const char *id, int64_t retries);
/* The id as a new string; its retries unless NULL. */
char *packed_key(const unsigned char *data, const char *name, int64_t *ret_retries);

#endif

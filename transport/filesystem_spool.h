/*
 * Where a filesystem broker keeps the messages it has taken and not yet acked: a folder of its own
 * beside the messages, `<data>/.smallage-<node>-<pid>-<random>`. Its `lock` file stays locked as
 * long as the process lives, so another one can tell a dead owner for sure and put the messages
 * back. A claim is one rename: of all that watch the folder one gets the message.
 */
#ifndef TRANSPORT_FILESYSTEM_SPOOL_H
#define TRANSPORT_FILESYSTEM_SPOOL_H

#include <stddef.h>

#include "base/err.h"

/* Begins the name of a message that is still being written. */
#define FILESYSTEM_TEMP_PREFIX ".new-smallage-msg-"

struct filesystem_spool;

/* `processed` NULL: acked messages are deleted, else moved there. */
struct filesystem_spool *filesystem_spool_open(const char *data_folder, const char *processed,
					       const char *node, size_t max_bytes, struct err *err);
/* Puts back what dead processes had taken; returns how many messages. */
unsigned filesystem_spool_recover(struct filesystem_spool *s);
/* 0: the file is ours now. 1: it is gone, somebody else was quicker. */
int filesystem_spool_claim(struct filesystem_spool *s, const char *name, struct err *err);
/* Moves a file that cannot be a message to `<data>/rejected`. 1: it is gone. */
int filesystem_spool_set_aside(struct filesystem_spool *s, const char *name, struct err *err);
/* Where a file that is ours is; to be freed. */
char *filesystem_spool_path(const struct filesystem_spool *s, const char *name);
/* Acked: deletes or keeps the file. */
void filesystem_spool_release(struct filesystem_spool *s, const char *name);
/* Under its old name, so at its old place in the order, marked as redelivered. */
int filesystem_spool_put_back(struct filesystem_spool *s, const char *name, struct err *err);
/* Removes the folder when it is empty. NULL is allowed. */
void filesystem_spool_close(struct filesystem_spool *s);

#endif

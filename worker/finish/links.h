/*
 * The messages and records that the end of a task causes: links, the next step of its chain,
 * errbacks, the failure of the steps behind it. Sends them and waits until the servers have them.
 */
#ifndef WORKER_FINISH_LINKS_H
#define WORKER_FINISH_LINKS_H

#include "protocol/canvas.h"
#include "worker/finish/finish.h"

/* All is out. `err`: what could not be sent, at least the first of it. */
typedef void links_done_fn(struct request *r, const struct err *err);

/* Each returns false when there is nothing to do; else `done` is called once, maybe at once, and
 * the request may be gone when the function returns. */
bool links_after_success(struct finish *f, struct request *r, links_done_fn *done);
bool links_after_failure(struct finish *f, struct request *r, links_done_fn *done);
/* Stores the record under the id of every step behind this one. */
bool links_fail_chain(struct finish *f, struct request *r, const struct finish_record *record,
		      links_done_fn *done);

/* Sends all of a canvas, which is taken; `done` is called once, maybe at once. */
typedef void links_carried_fn(void *ctx, const struct err *err);
void links_carry(struct finish *f, struct canvas *c, links_carried_fn *done, void *ctx);
/* Adds to what the request has sent: a JSON list; NULL = nothing. */
void links_add_children(struct request *r, const char *list);
/* For whoever makes a canvas here. The origin is to be freed, after the use of the options. */
char *links_origin(const struct config *config);
struct canvas_options links_options(const struct finish *f, const char *origin);

/* Sends the task of a signature, for nobody in particular; logs when it cannot. */
void links_call(struct finish *f, const json_t *signature);

#endif

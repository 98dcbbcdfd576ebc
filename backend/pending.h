/*
 * What a driver has been given and not brought to its end yet, and what is told about it: the part
 * that drivers share. An operation is on one list, `waiting` here or one of the driver's own, until
 * pending_end. A driver's operations begin with struct pending_op.
 */
#ifndef BACKEND_PENDING_H
#define BACKEND_PENDING_H

#include "backend/driver.h"
#include "base/list.h"

/* A store, or a read when `got` is set. */
struct pending_op {
	struct list_node node;
	char *id;
	enum task_state state;
	bool is_revoke;
	size_t bytes; /* what it takes of the memory that is allowed to wait */
	backend_done_fn *done;
	backend_got_fn *got;
	void *ctx;
};

struct pending {
	struct backend_options options;		/* strings inside are not used after open */
	char *label;				/* "memcached h:11211", without secrets */
	void (*free_op)(struct pending_op *op); /* what the driver added, and the operation */
	struct list_node waiting;		/* in the order of the calls */
	size_t count, bytes;			/* of all operations, wherever they are */
	uint64_t stored, failed, reconnects;
	bool is_outage, was_full;
};

/* Takes the label over. */
void pending_init(struct pending *p, const struct backend_options *options, char *label,
		  void (*free_op)(struct pending_op *op));
void pending_clear(struct pending *p);

/* At the end of `waiting`. */
void pending_add_store(struct pending *p, struct pending_op *op,
		       const struct backend_record *record, size_t bytes, backend_done_fn *done,
		       void *ctx);
void pending_add_read(struct pending *p, struct pending_op *op, const char *task_id,
		      backend_got_fn *got, void *ctx);
/* The oldest of `waiting`, or NULL. */
struct pending_op *pending_first(struct pending *p);
/* Puts all of `from` in front of `waiting`, order kept. */
void pending_take_back(struct pending *p, struct list_node *from);

/* Tells whoever asked, and frees it. */
void pending_end(struct pending *p, struct pending_op *op, const struct err *err);
void pending_found(struct pending *p, struct pending_op *op, const char *record, size_t len);
/* All of `waiting`: they will not be stored. */
void pending_give_up(struct pending *p);
/* After operations ended: there may be room again. */
void pending_check_room(struct pending *p);
bool pending_is_full(const struct pending *p);

/* Said once per outage. */
void pending_say_down(struct pending *p, const char *why);
void pending_say_up(struct pending *p);
void pending_notice(const struct pending *p, bool is_error, const char *text);
void pending_stats(const struct pending *p, bool is_up, struct backend_stats *ret_stats);

#endif

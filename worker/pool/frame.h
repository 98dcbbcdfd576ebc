/*
 * What master and slots say to each other, as bytes. A frame is a prefix, a head (fixed numbers and
 * short texts) and a tail of raw bytes: the arguments of a run, the result of an outcome, the meta
 * of a state, a signature to send. Tails are last so that they are written from and read into the
 * place where they are wanted, without a copy. Both ends are the same program on the same machine,
 * so numbers are in host order; a reader checks everything all the same, because task code may have
 * run wild.
 *
 * What a slot says takes one of two ways, the ring in shared memory or the socket, and is numbered
 * so that the master takes it in the order in which it was said.
 *
 * Pure: no descriptor, no clock.
 */
#ifndef WORKER_POOL_FRAME_H
#define WORKER_POOL_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/str.h"
#include "protocol/message.h"
#include "worker/task/job.h"

enum frame_type { FRAME_RUN = 1, FRAME_OUTCOME, FRAME_STATE, FRAME_SEND };

#define FRAME_PREFIX_BYTES 16
#define FRAME_BELL	   '\0' /* where a frame could begin: look into the ring */
#define FRAME_HEAD_MAX	   ((size_t)1 << 20)
#define FRAME_PLACES	   16 /* jobs that one slot may have ahead */
/* Arguments, what follows them and custom headers of one message, the latter bounded by the broker.
 */
#define FRAME_TAIL_MAX(size) (2 * (size) + ((size_t)1 << 20))

struct frame {
	enum frame_type type;
	uint16_t number; /* of what this slot said, modulo 2^16; 0 in a run */
	size_t head_len, tail_len;
	const char *head, *tail; /* set by the reader once the bytes are there */
};

/* Numbers the frame that begins at `data`. */
void frame_set_number(char *data, uint16_t number);
/* Reads FRAME_PREFIX_BYTES bytes. */
int frame_read_prefix(struct frame *f, const char *data, size_t tail_max, struct err *err);

struct frame_run {
	uint64_t serial;
	uint32_t place; /* in the slot's shared page; < FRAME_PLACES */
	uint32_t task;	/* index in the registry */
	int32_t retries, max_retries;
	bool is_redelivered;
	const char *id;
	/* the tail, in the order of frame_run_parts */
	struct span custom_headers, args, kwargs, callbacks, errbacks, chain, chord;
	const struct task_message *message; /* written: what else sm_request tells; may be NULL */
	struct span request;		    /* read: the same, by job_request_put */
};
#define FRAME_RUN_PARTS 7
void frame_run_parts(const struct frame_run *run, struct span ret[FRAME_RUN_PARTS]);
size_t frame_run_tail_len(const struct frame_run *run);
/* Appends prefix and head; the tail is the caller's to send. */
int frame_put_run(struct str *out, const struct frame_run *run);
/* The spans and the id point into the frame. */
int frame_get_run(struct frame_run *ret, const struct frame *f, struct err *err);

/* The tail is outcome->result: of a success, or the signature of a replacement. */
int frame_put_outcome(struct str *out, uint64_t serial, uint64_t rss_kib,
		      const struct outcome *outcome);
/* Fills `ret` with copies, all but the result. */
int frame_get_outcome(uint64_t *ret_serial, uint64_t *ret_rss_kib, struct outcome *ret,
		      const struct frame *f, struct err *err);

/* The tail is the meta, `meta_len` bytes of JSON. */
int frame_put_state(struct str *out, uint64_t serial, const char *name, size_t meta_len);
/* The name points into the frame. */
int frame_get_state(uint64_t *ret_serial, const char **ret_name, const struct frame *f,
		    struct err *err);

/* The tail is a signature of `len` bytes. */
int frame_put_send(struct str *out, uint64_t serial, enum job_send how, size_t len);
int frame_get_send(uint64_t *ret_serial, enum job_send *ret_how, const struct frame *f,
		   struct err *err);

#endif

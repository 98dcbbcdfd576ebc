/* What a result store is told of chords, and what it answers. */
#ifndef BACKEND_CHORD_H
#define BACKEND_CHORD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

/* How it comes out that all parts of a chord have ended. */
enum backend_chords {
	BACKEND_CHORDS_NONE,	/* not at all: such a store has no chords */
	BACKEND_CHORDS_COUNTED, /* the store keeps the parts' results and counts them */
	BACKEND_CHORDS_SAVED,	/* it counts; the results are in the records of the tasks */
	BACKEND_CHORDS_POLLED,	/* the task celery.chord_unlock looks at the records */
};

/* A chord that begins. */
struct backend_chord {
	const char *group_id;
	size_t size; /* parts that will report */
	/* The saved GroupResult, as it is to be stored; NULL = none is kept. COUNTED: where groups
	 * are nested in the header; SAVED: always. */
	const char *group;
	size_t group_len;
};

/* A part that has ended. All is copied. The answer waits while another worker completes the chord:
 * if that dies, this one takes over. */
struct backend_chord_part {
	const char *group_id, *task_id;
	int64_t index; /* its place among the results; -1 = behind all others */
	size_t size;   /* of the chord, where the message tells (clients up to 5.0); 0 = it does not
			*/
	/* [1, id, state, result] in the form of the result serializer. COUNTED only. */
	const char *member;
	size_t len;
};

enum backend_chord_status {
	BACKEND_CHORD_OPEN,	/* nothing to do: others are to report, or others have done it */
	BACKEND_CHORD_COMPLETE, /* COUNTED: whoever reported this part sends the body */
	BACKEND_CHORD_COUNTED,	/* SAVED: complete if `count` is the size */
	BACKEND_CHORD_GONE,	/* SAVED: its group is not known any more */
	BACKEND_CHORD_LOST,	/* COUNTED: complete, but another worker has taken it over */
};

/* Texts are borrowed until return. */
struct backend_chord_state {
	enum backend_chord_status status;
	size_t count;	   /* parts that have reported */
	const char *token; /* of who completes it, for backend_chord_end */
	const char *group; /* SAVED: as it was stored */
	size_t group_len;
};
/* COUNTED: before a COMPLETE the members come one by one, in order. `begin` comes before the first,
 * and again when it all begins anew because a connection broke; `group` as it was stored, NULL =
 * none is kept. */
struct backend_chord_events {
	void (*begin)(void *ctx, const char *group, size_t len);
	void (*member)(void *ctx, const char *member, size_t len);
	void (*got)(void *ctx, const struct backend_chord_state *state, const struct err *err);
};

/* The body of a completed chord has been sent, or the chord has failed. */
struct backend_chord_end {
	const char *group_id, *token;
	bool is_error; /* no body was sent */
	/* SAVED: the tasks whose records get back their own time to live. */
	const char *const *task_ids;
	size_t task_count;
};

#endif

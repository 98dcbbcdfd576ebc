/*
 * What canvas's files share: celery/canvas.py on JSON values. A signature at work is an object with
 * the six keys of its dict, its options its own; what Python passes by reference is shared here
 * too. Inside protocol/ only.
 */
#ifndef PROTOCOL_CANVAS_IMPL_H
#define PROTOCOL_CANVAS_IMPL_H

#include "base/arena.h"
#include "protocol/canvas.h"

#define CANVAS_MESSAGES_MAX 100000
#define CANVAS_COPIES_MAX   1000000 /* of signatures, for one call */
#define CANVAS_DEPTH_MAX    512	    /* as PYJSON_MAX_DEPTH: nothing deeper can be sent */
#define CANVAS_NO_CHORDS    "a chord needs a result backend that supports chords"
#define CANVAS_BYTES_TIMES  4 /* all bodies together, in options->max_bytes */

/* AsyncResult and GroupResult. */
struct canvas_result {
	const char *id;
	struct canvas_result *parent;
	struct canvas_result **members;
	size_t count;
	bool is_group;
};

/* One call of canvas.h. */
struct canvas_work {
	struct canvas *c;
	const struct canvas_options *options;
	struct span argument; /* where `mark` stands among arguments */
	json_t *mark;
	const char *parent_id, *root_id; /* of the task that calls */
	int priority;			 /* its delivery's; -1 = not to be inherited */
	const char *seed;
	char part; /* of the seed: what the ids are for */
	unsigned drawn;
	size_t copies, bytes;
	unsigned depth;
	struct str children; /* without the brackets */
	struct arena memory; /* of results */
	struct err *err;
};
/* `argument` may have no data. */
void canvas_begin(struct canvas_work *w, struct canvas *c, const struct canvas_options *options,
		  struct span argument, struct err *err);
/* Frees, and empties the canvas when `status` is -1. Returns it. */
int canvas_end(struct canvas_work *w, int status);
/* The argument as a list of positional arguments; a new reference, NULL when there is none. */
json_t *canvas_args(const struct canvas_work *w);
const char *canvas_fresh_id(struct canvas_work *w);
/* It is this task that calls; `part` tells its fresh ids from those of its other ends. */
void canvas_caused_by(struct canvas_work *w, const struct task_message *t, char part);
/* A list of signatures; a single one stands for a list of one, nothing for an empty one. New
 * reference, NULL when it cannot be read. */
json_t *canvas_list_load(struct span json, struct err *err);
/* As tasks, with the argument; but for those that options->takes_errback takes. */
int canvas_call_errbacks(struct canvas_work *w, const json_t *errbacks);

/* canvas_signature.c */

enum canvas_type { CANVAS_TASK, CANVAS_CHAIN, CANVAS_GROUP, CANVAS_CHORD };
enum canvas_type canvas_type(const json_t *sig);
/* Objects of messages may have keys with NUL, which json_object_update would cut. */
void canvas_update(json_t *object, const json_t *more);
json_t *canvas_copy(const json_t *object);

/* From what came in a message; new reference or NULL with err. */
json_t *canvas_load(struct canvas_work *w, const json_t *value);
/* New references. */
json_t *canvas_signature(enum canvas_type type, const char *task, json_t *args, json_t *kwargs,
			 json_t *options);
json_t *canvas_group_of(json_t *tasks);
/* Signature._merge(), in place: adds to the arguments and over the options. */
void canvas_merge(json_t *sig, const json_t *args, const json_t *kwargs, const json_t *options);
/* Each of the last three may be NULL. */
json_t *canvas_clone(struct canvas_work *w, const json_t *sig, const json_t *args,
		     const json_t *kwargs, const json_t *options);

/* Borrowed. `tasks`: of a chain, a group, and the header of a chord, which may be a list or a
 * group; canvas_members is the list in any case. */
json_t *canvas_tasks(const json_t *sig);
json_t *canvas_members(const json_t *sig);
json_t *canvas_body(const json_t *chord);
json_t *canvas_own_options(const json_t *sig);
bool canvas_is_empty_group(const json_t *sig);

/* An option that is not null; borrowed. */
json_t *canvas_option(const json_t *options, const char *name);
const char *canvas_option_text(const json_t *options, const char *name);
/* Takes it out; a new reference, NULL when it was not there or null. */
json_t *canvas_option_pop(json_t *options, const char *name);
void canvas_set_text(json_t *options, const char *name, const char *text);

/* canvas_link.c: Signature.link() and link_error(), each type in its own way. */
int canvas_link(struct canvas_work *w, json_t *sig, json_t *callback);
int canvas_link_error(struct canvas_work *w, json_t *sig, json_t *errback);
/* Adds the elements of `value`, a list or a single one, to the option. */
void canvas_extend_option(json_t *sig, const char *name, json_t *value);
void canvas_append_option(json_t *sig, const char *name, json_t *value);
/* A single signature stands for a list of one; new reference, empty for NULL. */
json_t *canvas_list(json_t *value);
/* Moves link and link_error out of the options onto the body of a chord; new reference. */
json_t *canvas_add_body_callbacks(struct canvas_work *w, json_t *body, json_t *options);

/* Freezing: canvas_freeze.c, canvas_chain.c */

struct canvas_freeze {
	const char *id, *group_id, *root_id, *parent_id;
	json_t *chord;	     /* or NULL */
	int64_t group_index; /* -1 = none */
};
struct canvas_result *canvas_freeze(struct canvas_work *w, json_t *sig,
				    const struct canvas_freeze *f);
/* Of the members of a group; its own id, too. */
struct canvas_result *canvas_freeze_group(struct canvas_work *w, json_t *sig,
					  const struct canvas_freeze *f);
void canvas_strip_chord_links(json_t *sig);
json_t *canvas_result_tuple(const struct canvas_result *result);
void canvas_write_result(struct str *out, const struct canvas_result *result);
void canvas_add_child(struct canvas_work *w, const struct canvas_result *result);

struct canvas_steps {
	json_t *tasks; /* in reverse order */
	struct canvas_result **results;
	size_t count;
};
void canvas_steps_clear(struct canvas_steps *steps);
struct canvas_prepare {
	const json_t *args, *kwargs; /* for the first; may be NULL */
	json_t *link_error;	     /* or NULL */
	struct canvas_freeze last;
	bool clones;
};
int canvas_prepare_steps(struct canvas_work *w, const json_t *tasks, const struct canvas_prepare *p,
			 struct canvas_steps *steps);
json_t *canvas_unchain(struct canvas_work *w, const json_t *chain);
int canvas_unroll_chords(struct canvas_work *w, json_t *chain);

/* Calling: canvas_call.c, canvas_chord.c. `sig` and `options` are used up; `*ret` may be NULL
 * afterwards when nothing was to be sent. */
int canvas_call(struct canvas_work *w, json_t *sig, const json_t *args, const json_t *kwargs,
		json_t *options, struct canvas_result **ret);
/* `header`: its result where a chord begins, else NULL. */
int canvas_call_group(struct canvas_work *w, const json_t *sig, const json_t *args,
		      const json_t *kwargs, json_t *options, const struct canvas_result *header,
		      struct canvas_result **ret);
int canvas_call_chord(struct canvas_work *w, const json_t *sig, const json_t *args,
		      const json_t *kwargs, json_t *options, struct canvas_result **ret);
/* `header` may be NULL. */
int canvas_begin_chord(struct canvas_work *w, const char *group_id, size_t size,
		       const struct canvas_result *header);
/* How many parts of a chord it will report. */
size_t canvas_chord_size(const json_t *sig);

#endif

/* Chains: celery/canvas.py, _chain.prepare_steps() and what it needs. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/canvas_impl.h"

/* The steps still to be prepared; taken from the end, nested chains at the front are spliced. */
struct pending {
	json_t **all; /* owned, from start to end */
	size_t start, end, cap;
};

static void pending_clear(struct pending *p)
{
	for (size_t i = p->start; i < p->end; i++)
		json_decref(p->all[i]);
	free(p->all);
}
#define auto_pending __attribute__((cleanup(pending_clear))) struct pending

static void pending_extend(struct pending *p, const json_t *tasks)
{
	size_t count = json_array_size(tasks);

	if (p->end + count > p->cap) {
		p->cap = 2 * (p->end + count);
		p->all = mem_realloc(p->all, p->cap * sizeof(json_t *));
	}
	for (size_t i = 0; i < count; i++)
		p->all[p->end++] = json_incref(json_array_get(tasks, i));
}

static void pending_put_front(struct pending *p, const json_t *tasks)
{
	size_t count = json_array_size(tasks), left = p->end - p->start;

	if (count > p->start) {
		size_t start = 2 * count + left;
		json_t **all = mem_alloc((start + left + 1) * sizeof(json_t *));

		for (size_t i = 0; i < left; i++)
			all[start + i] = p->all[p->start + i];
		free(p->all);
		*p = (struct pending){all, start, start + left, start + left + 1};
	}
	p->start -= count;
	for (size_t i = 0; i < count; i++)
		p->all[p->start + i] = json_incref(json_array_get(tasks, i));
}

static bool pending_is_empty(const struct pending *p)
{
	return p->start == p->end;
}

/* A group of one is its member. */
static json_t *unrolled(json_t *sig)
{
	json_t *tasks = canvas_type(sig) == CANVAS_GROUP ? canvas_tasks(sig) : NULL;

	return json_array_size(tasks) == 1 ? json_array_get(tasks, 0) : sig;
}

/* The first real task gets the arguments: whatever holds none goes, chains are spliced in. */
static void normalize_head(struct pending *p)
{
	json_auto_t *stripped = NULL;

	while (!pending_is_empty(p)) {
		json_auto_t *head = json_incref(p->all[p->start]);

		if (canvas_type(head) == CANVAS_CHAIN) {
			json_decref(p->all[p->start++]);
			pending_put_front(p, canvas_tasks(head));
			continue;
		}
		if (canvas_type(head) != CANVAS_GROUP)
			break;
		json_decref(p->all[p->start]);
		p->all[p->start] = json_incref(unrolled(head));
		if (!canvas_is_empty_group(p->all[p->start]) || p->end - p->start == 1)
			break;
		json_decref(stripped);
		stripped = p->all[p->start++];
	}
	if (stripped && pending_is_empty(p)) {
		p->start = p->end = 0;
		json_auto_t *list = json_array();

		json_array_append(list, stripped);
		pending_extend(p, list);
	}
}

/* A group that begins a chain runs the rest of it once per member, so that one stays a body. */
static bool is_led_by_task(const json_t *body)
{
	json_t *tasks = canvas_type(body) == CANVAS_CHAIN ? canvas_tasks(body) : NULL;

	return json_array_size(tasks) > 0 && canvas_type(json_array_get(tasks, 0)) != CANVAS_GROUP;
}

json_t *canvas_unchain(struct canvas_work *w, const json_t *chain)
{
	json_auto_t *tasks = json_array();
	json_t *options = canvas_own_options(chain), *given = canvas_tasks(chain);
	json_auto_t *links = canvas_list(canvas_option(options, "link"));
	json_auto_t *errbacks = canvas_list(canvas_option(options, "link_error"));
	size_t count = json_array_size(given);

	for (size_t i = 0; i < count; i++) {
		json_t *task = canvas_clone(w, json_array_get(given, i), NULL, NULL, NULL);

		if (!task)
			return NULL;
		json_array_append_new(tasks, task);
	}
	for (size_t i = 0; i < json_array_size(links) && count > 0; i++) {
		json_auto_t *link = canvas_load(w, json_array_get(links, i));

		if (!link || canvas_link(w, json_array_get(tasks, count - 1), link) < 0)
			return NULL;
	}
	for (size_t i = 0; i < json_array_size(errbacks) * count; i++) {
		json_auto_t *errback = canvas_load(w, json_array_get(errbacks, i / count));

		if (!errback || canvas_link_error(w, json_array_get(tasks, i % count), errback) < 0)
			return NULL;
	}
	return json_incref(tasks);
}

/* What a chain hands on to its first task when it runs. */
static json_t *first_task_options(const json_t *chain)
{
	static const char *const kept[] = {"chord",	 "group_id",  "group_index", "link",
					   "link_error", "parent_id", "root_id",     "task_id"};
	json_t *options = canvas_copy(canvas_own_options(chain));

	for (size_t i = 0; i < sizeof(kept) / sizeof(*kept); i++)
		json_object_del(options, kept[i]);
	return options;
}

/* chord(header, chain(a, b, c)) -> chord(header, a), b, c: every header task carries the body. */
static json_t *unroll_body(struct canvas_work *w, const json_t *chord)
{
	json_auto_t *task = canvas_clone(w, chord, NULL, NULL, NULL);
	json_auto_t *steps = task ? canvas_unchain(w, canvas_body(task)) : NULL;
	json_auto_t *options = steps ? first_task_options(canvas_body(task)) : NULL;
	json_t *body =
		steps ? canvas_clone(w, json_array_get(steps, 0), NULL, NULL, options) : NULL;

	if (!body)
		return NULL;
	json_object_set_new_nocheck(json_object_get(task, "kwargs"), "body", body);
	json_array_set(steps, 0, task);
	return json_incref(steps);
}

static int unroll_one(struct canvas_work *w, json_t *task, struct pending *pending, json_t *tasks)
{
	json_auto_t *own = NULL;

	if (canvas_type(task) == CANVAS_CHAIN) {
		own = canvas_clone(w, task, NULL, NULL, NULL);
		if (!own || canvas_unroll_chords(w, own) < 0)
			return -1;
		task = own;
	}
	if (canvas_type(task) == CANVAS_CHORD && is_led_by_task(canvas_body(task))) {
		json_auto_t *steps = unroll_body(w, task);

		if (!steps)
			return -1;
		pending_put_front(pending, steps);
		return 0;
	}
	json_array_append(tasks, task);
	return 0;
}

int canvas_unroll_chords(struct canvas_work *w, json_t *chain)
{
	auto_pending pending = {0};
	json_auto_t *tasks = json_array();

	pending_extend(&pending, canvas_tasks(chain));
	while (!pending_is_empty(&pending)) {
		json_auto_t *task = pending.all[pending.start++];

		if (unroll_one(w, task, &pending, tasks) < 0)
			return -1;
	}
	json_object_set_nocheck(json_object_get(chain, "kwargs"), "tasks", tasks);
	return 0;
}

/* Preparing */

void canvas_steps_clear(struct canvas_steps *steps)
{
	json_decref(steps->tasks);
	free(steps->results);
	*steps = (struct canvas_steps){0};
}

struct walk {
	struct canvas_work *w;
	const struct canvas_prepare *p;
	struct canvas_steps *steps;
	struct pending pending;
	json_t *prev_task; /* in steps->tasks */
	struct canvas_result *prev_result;
	size_t seen;
};

/* group | task -> chord(group, task): the rest of the chain now follows the chord's result instead
 * of the body's own. */
static json_t *upgrade_group(struct walk *k, json_t *group)
{
	struct canvas_steps *steps = k->steps;
	size_t last = json_array_size(steps->tasks) - 1;
	struct canvas_result *body_result = steps->results[--steps->count], *node;
	json_t *kwargs = json_object(), *options = json_object();

	json_object_set_new_nocheck(kwargs, "kwargs", json_object());
	json_object_set_new_nocheck(kwargs, "header", json_copy(canvas_tasks(group)));
	json_object_set_nocheck(kwargs, "body", k->prev_task);
	json_array_remove(steps->tasks, last);
	if (!k->prev_result->is_group)
		canvas_set_text(options, "task_id", k->prev_result->id);
	canvas_set_text(options, "root_id", k->p->last.root_id);
	k->prev_task = last > 0 ? json_array_get(steps->tasks, last - 1) : NULL;
	node = steps->count > 0 ? steps->results[steps->count - 1] : NULL;
	while (node && node->parent != body_result)
		node = node->parent;
	if (node) {
		node->parent = NULL;
		k->prev_result = node;
	}
	return canvas_signature(CANVAS_CHORD, "celery.chord", NULL, kwargs, options);
}

static int add_errbacks(struct walk *k, json_t *task)
{
	json_auto_t *errbacks = canvas_list(k->p->link_error);

	for (size_t i = 0; i < json_array_size(errbacks); i++) {
		json_t *value = json_array_get(errbacks, i);
		json_auto_t *errback = canvas_load(k->w, value);

		if (!errback || canvas_link_error(k->w, task, errback) < 0)
			return -1;
		/* Where the chord's failure looks for it. */
		if (canvas_type(task) == CANVAS_CHORD &&
		    canvas_link_error(k->w, canvas_body(task), errback) < 0)
			return -1;
	}
	return 0;
}

static int check_chords_allowed(struct canvas_work *w)
{
	if (w->options->chords != CHORDS_NONE)
		return 0;
	return err_set(w->err, ERR_UNSUPPORTED, CANVAS_NO_CHORDS);
}

static int add_step(struct walk *k, json_t *task, bool is_last)
{
	struct canvas_steps *steps = k->steps;
	const struct canvas_freeze inner = {.root_id = k->p->last.root_id, .group_index = -1};
	struct canvas_result *result = canvas_freeze(k->w, task, is_last ? &k->p->last : &inner);

	if (!result)
		return -1;
	if (k->prev_task && k->prev_result && !k->prev_result->parent)
		k->prev_result->parent = result;
	if (add_errbacks(k, task) < 0)
		return -1;
	json_array_append(steps->tasks, task);
	if ((steps->count & (steps->count - 1)) == 0)
		steps->results = mem_realloc(steps->results,
					     2 * (steps->count + 1) * sizeof(*steps->results));
	steps->results[steps->count++] = result;
	k->prev_task = task;
	k->prev_result = result;
	if (canvas_type(task) != CANVAS_CHORD)
		return 0;
	while (k->prev_result->parent)
		k->prev_result = k->prev_result->parent;
	return check_chords_allowed(k->w);
}

static int prepare_one(struct walk *k, json_t *task, bool is_first)
{
	const struct canvas_prepare *p = k->p;
	json_auto_t *own = NULL;

	task = unrolled(task);
	if (canvas_is_empty_group(task) && (!is_first || k->prev_task))
		return 0;
	if (p->clones && canvas_type(task) == CANVAS_CHORD && is_led_by_task(canvas_body(task))) {
		json_auto_t *steps = unroll_body(k->w, task);

		if (!steps)
			return -1;
		pending_extend(&k->pending, steps);
		return 0;
	}
	own = p->clones ? canvas_clone(k->w, task, is_first ? p->args : NULL,
				       is_first ? p->kwargs : NULL, NULL)
			: json_incref(task);
	if (!own)
		return -1;
	if (canvas_type(own) == CANVAS_CHAIN) {
		pending_extend(&k->pending, canvas_tasks(own));
		return 0;
	}
	if (canvas_type(own) == CANVAS_GROUP && k->prev_task) {
		json_auto_t *chord = upgrade_group(k, own);

		k->seen++;
		return add_step(k, chord, false);
	}
	return add_step(k, own, k->seen++ == 0);
}

int canvas_prepare_steps(struct canvas_work *w, const json_t *tasks, const struct canvas_prepare *p,
			 struct canvas_steps *steps)
{
	struct walk k = {.w = w, .p = p, .steps = steps};
	int status = 0;

	*steps = (struct canvas_steps){.tasks = json_array()};
	pending_extend(&k.pending, tasks);
	normalize_head(&k.pending);
	while (status == 0 && !pending_is_empty(&k.pending)) {
		json_auto_t *task = k.pending.all[--k.pending.end];

		if (++w->copies > CANVAS_COPIES_MAX)
			status = err_set(w->err, ERR_LIMIT, "the canvas is too large");
		else
			status = prepare_one(&k, task, pending_is_empty(&k.pending));
	}
	pending_clear(&k.pending);
	for (size_t i = 0; p->clones && i < json_array_size(steps->tasks); i++)
		canvas_strip_chord_links(json_array_get(steps->tasks, i));
	if (status < 0)
		canvas_steps_clear(steps);
	return status;
}

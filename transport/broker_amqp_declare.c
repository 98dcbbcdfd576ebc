/* Queues and exchanges that a publication wants declared before it is sent: once per connection,
 * one at a time, on a channel of their own because an error closes it. */
#include <stdlib.h>

#include "base/mem.h"
#include "transport/broker_amqp.h"

enum { PRECONDITION_FAILED = 406 };

#define EXCHANGES_MAX 256 /* known at once: their names may come with requests */

static struct amqp_declare *declare_add(struct map *to, const char *name, struct topology *topology)
{
	struct amqp_declare *d = mem_calloc(1, sizeof(*d));

	d->topology = topology;
	map_put(to, name, d);
	return d;
}

static void declare_free(struct amqp_declare *d)
{
	topology_free(d->topology);
	free(d);
}

struct amqp_declare *declare_get(struct amqp_publisher *p, const struct queue_def *def,
				 struct err *err)
{
	struct amqp_declare *d = def->name ? map_get(p->declares, def->name) : NULL;

	if (d)
		return d;
	struct topology *topology = topology_new(def, err);
	if (!topology)
		return NULL;
	return declare_add(p->declares, def->name, topology);
}

static void exchanges_make_room(struct amqp_publisher *p)
{
	struct map_entry *e;

	for (e = map_first(p->exchanges); e; e = map_next(e)) {
		struct amqp_declare *d = map_value(e);

		if (map_count(p->exchanges) < EXCHANGES_MAX)
			return;
		if (d->users > 0 || d->state == DECLARE_RUNNING)
			continue;
		map_del(p->exchanges, d->topology->name);
		declare_free(d);
	}
}

struct amqp_declare *declare_get_exchange(struct amqp_publisher *p, const struct exchange_def *def,
					  struct err *err)
{
	struct amqp_declare *d = def->name ? map_get(p->exchanges, def->name) : NULL;

	if (d)
		return d;
	struct topology *topology = topology_new_exchange(def, err);
	if (!topology)
		return NULL;
	exchanges_make_room(p);
	return declare_add(p->exchanges, def->name, topology);
}

static struct amqp_declare *needed_in(const struct map *declares)
{
	struct map_entry *e;

	for (e = map_first(declares); e; e = map_next(e)) {
		struct amqp_declare *d = map_value(e);
		if (d->state == DECLARE_NEEDED && d->users > 0)
			return d;
	}
	return NULL;
}

void declare_continue(struct amqp_publisher *p)
{
	struct amqp_declare *d;

	if (p->declaring || !p->is_setup_open)
		return;
	d = needed_in(p->declares);
	if (!d)
		d = needed_in(p->exchanges);
	if (!d || topology_declare(d->topology, p->link.conn, AMQP_CHANNEL_SETUP, &p->awaited) != 0)
		return;
	d->state = DECLARE_RUNNING;
	p->declaring = d;
}

static const char *declare_kind(const struct amqp_declare *d)
{
	return d->topology->is_exchange_only ? "exchange" : "queue";
}

static void channel_closed(struct amqp_publisher *p, const amqp_channel_close_t *close)
{
	struct amqp_declare *d = p->declaring;
	amqp_channel_open_t open = {0};
	struct err why = {0};

	p->declaring = NULL;
	p->is_setup_open = false;
	amqp_conn_send(p->link.conn, AMQP_CHANNEL_SETUP, AMQP_CHANNEL_OPEN_METHOD, &open);
	if (!d)
		return;
	amqp_channel_error(close, &why);
	if (close->reply_code == PRECONDITION_FAILED) {
		/* Declared differently, but it is there: the message is better in it than lost. */
		d->state = DECLARE_DONE;
		amqp_broker_notice(p->broker, true, "%s '%s' was declared differently: %s",
				   declare_kind(d), d->topology->name, why.text);
		amqp_conn_wake(p->link.conn);
		return;
	}
	d->state = DECLARE_DONE; /* nobody waits for it any more; the next publication asks again */
	err_prefix(&why, "declare %s '%s': ", declare_kind(d), d->topology->name);
	amqp_publisher_refuse(p, d, &why);
	d->state = DECLARE_NEEDED;
}

void declare_method(struct amqp_publisher *p, const amqp_method_t *method)
{
	if (method->id == AMQP_CHANNEL_CLOSE_METHOD) {
		channel_closed(p, method->decoded);
	} else if (method->id == AMQP_CHANNEL_OPEN_OK_METHOD) {
		p->is_setup_open = true;
		amqp_conn_wake(p->link.conn);
	} else if (p->declaring && method->id == p->awaited) {
		p->declaring->state = DECLARE_DONE;
		p->declaring = NULL;
		amqp_conn_wake(p->link.conn);
	}
}

static void needed_again(const struct map *declares)
{
	struct map_entry *e;

	for (e = map_first(declares); e; e = map_next(e)) {
		struct amqp_declare *d = map_value(e);
		if (d->state == DECLARE_DONE)
			d->state = DECLARE_NEEDED;
	}
}

void declare_reset(struct amqp_publisher *p)
{
	if (p->declaring)
		p->declaring->state = DECLARE_NEEDED;
	p->declaring = NULL;
	p->is_setup_open = false;
	needed_again(p->declares);
	needed_again(p->exchanges);
}

void declare_forget_exchanges(struct amqp_publisher *p)
{
	needed_again(p->exchanges);
}

void declare_forget(struct amqp_publisher *p, const char *name)
{
	struct amqp_declare *d = map_get(p->declares, name);

	if (d && d->state == DECLARE_DONE)
		d->state = DECLARE_NEEDED;
}

static void declares_free(struct map *declares)
{
	struct map_entry *e;

	for (e = map_first(declares); e; e = map_next(e))
		declare_free(map_value(e));
	map_free(declares);
}

void declare_clear(struct amqp_publisher *p)
{
	declares_free(p->declares);
	declares_free(p->exchanges);
	p->declares = p->exchanges = NULL;
}

/* Queues that a publication wants declared before it is sent: once per connection, one at a time,
 * on a channel of their own because an error closes it. */
#include <stdlib.h>

#include "base/mem.h"
#include "transport/broker_amqp.h"

enum { PRECONDITION_FAILED = 406 };

struct amqp_declare *declare_get(struct amqp_publisher *p, const struct queue_def *def,
				 struct err *err)
{
	struct amqp_declare *d = def->name ? map_get(p->declares, def->name) : NULL;

	if (d)
		return d;
	struct topology *topology = topology_new(def, err);
	if (!topology)
		return NULL;
	d = mem_calloc(1, sizeof(*d));
	d->topology = topology;
	map_put(p->declares, def->name, d);
	return d;
}

void declare_continue(struct amqp_publisher *p)
{
	struct map_entry *e;

	if (p->declaring || !p->is_setup_open)
		return;
	for (e = map_first(p->declares); e; e = map_next(e)) {
		struct amqp_declare *d = map_value(e);
		if (d->state != DECLARE_NEEDED)
			continue;
		if (topology_declare(d->topology, p->link.conn, AMQP_CHANNEL_SETUP, &p->awaited) ==
		    0) {
			d->state = DECLARE_RUNNING;
			p->declaring = d;
		}
		return;
	}
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
		amqp_broker_notice(p->broker, true, "queue '%s' was declared differently: %s",
				   d->topology->name, why.text);
		amqp_conn_wake(p->link.conn);
		return;
	}
	d->state = DECLARE_DONE; /* nobody waits for it any more; the next publication asks again */
	err_prefix(&why, "declare queue '%s': ", d->topology->name);
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

void declare_reset(struct amqp_publisher *p)
{
	struct map_entry *e;

	p->declaring = NULL;
	p->is_setup_open = false;
	for (e = map_first(p->declares); e; e = map_next(e)) {
		struct amqp_declare *d = map_value(e);
		d->state = DECLARE_NEEDED;
	}
}

void declare_forget(struct amqp_publisher *p, const char *name)
{
	struct amqp_declare *d = map_get(p->declares, name);

	if (d && d->state == DECLARE_DONE)
		d->state = DECLARE_NEEDED;
}

void declare_clear(struct amqp_publisher *p)
{
	struct map_entry *e;

	for (e = map_first(p->declares); e; e = map_next(e)) {
		struct amqp_declare *d = map_value(e);
		topology_free(d->topology);
		free(d);
	}
	map_free(p->declares);
	p->declares = NULL;
}

/*
 * The link that publishes with confirms: its publications, encoded, and what they want declared
 * first. Internal to the amqp driver.
 */
#ifndef TRANSPORT_BROKER_AMQP_PUBLISH_H
#define TRANSPORT_BROKER_AMQP_PUBLISH_H

#include "base/list.h"
#include "base/map.h"
#include "transport/broker.h"
#include "transport/broker_amqp_link.h"
#include "transport/broker_amqp_topology.h"

struct amqp_broker;
struct amqp_declare;

/* broker_amqp_encode.c */
/* One publication, encoded. */
struct amqp_publish {
	struct list_node node;
	broker_published_fn *done;
	void *ctx;
	struct amqp_declare *queue, *exchange; /* to be declared first; NULL = none */
	bool is_second_try;		       /* its exchange was gone */
	uint64_t seq;			       /* confirm number while sent */
	size_t method_len, header_len, body_len;
	char data[]; /* method, header, body */
};

/* NULL with `err` when it cannot be sent. To be freed. */
struct amqp_publish *publish_encode(const struct publication *p, struct err *err);
size_t publish_cost(const struct amqp_publish *m); /* bytes of memory */

/* broker_amqp_publish.c */
struct amqp_publisher {
	struct amqp_broker *broker;
	struct amqp_link link;
	struct list_node waiting;     /* not sent, or to be sent again */
	struct list_node sent;	      /* in the order of their confirm numbers */
	struct amqp_publish *sending; /* the last of `sent` while its body is not all out */
	size_t sending_offset;
	size_t count, bytes; /* of both lists */
	uint64_t next_seq;
	/* After the broker closed the channel because of some publish, this many are sent one at a
	 * time, so that the guilty one is found. */
	size_t suspects;
	bool is_started, is_ready, is_blocked, is_closing;
	/* what publications want declared, see broker_amqp_declare.c */
	struct map *declares, *exchanges; /* queues and exchanges by name: struct amqp_declare */
	struct amqp_declare *declaring;
	amqp_method_number_t awaited;
	bool is_setup_open;
	/* what is sent without confirm, see broker_amqp_post.c */
	struct list_node posts; /* not sent */
	size_t post_bytes;
	uint64_t post_notice_ms;
	bool is_post_open; /* its channel */
	bool is_away;	   /* waiting before it connects again */
};

void amqp_publisher_init(struct amqp_publisher *p, struct amqp_broker *b);
int amqp_publisher_add(struct amqp_publisher *p, const struct publication *publication,
		       broker_published_fn *done, void *ctx, struct err *err);
/* Waits for the confirms, then says goodbye; amqp_broker_part_closed follows. */
void amqp_publisher_close(struct amqp_publisher *p);
/* Gives up: every waiting publish is answered with an error. */
void amqp_publisher_clear(struct amqp_publisher *p);

void amqp_publisher_start(struct amqp_publisher *p); /* connects when something waits */
/* For the other parts of the publisher: */
/* Answers those that wait for this declaration with an error. */
void amqp_publisher_refuse(struct amqp_publisher *p, const struct amqp_declare *d,
			   const struct err *why);
/* Encoded, with what it wants declared. NULL with `err` when it cannot be sent. */
struct amqp_publish *amqp_publisher_encode(struct amqp_publisher *p,
					   const struct publication *publication, struct err *err);
/* Frees it, off its list. */
void amqp_publish_free(struct amqp_publish *m);
bool amqp_publish_is_declared(const struct amqp_publish *m);

/* broker_amqp_post.c: at most once, on a channel of its own */
void amqp_publisher_post(struct amqp_publisher *p, const struct publication *publication);
void post_flush(struct amqp_publisher *p);
void post_method(struct amqp_publisher *p, const amqp_method_t *method); /* of channel 3 */
/* Drops those that wait for this declaration, or all (NULL). */
void post_drop(struct amqp_publisher *p, const struct amqp_declare *d);
void post_reset(struct amqp_publisher *p); /* the connection is gone */

/* broker_amqp_declare.c: what publications want declared first, once per connection */
enum amqp_declare_state { DECLARE_NEEDED, DECLARE_RUNNING, DECLARE_DONE };

struct amqp_declare {
	struct topology *topology;
	enum amqp_declare_state state;
	size_t users; /* publications that are not settled; without one it is not declared */
};

/* The one of that name; made when there is none. NULL with `err` for a bad definition. */
struct amqp_declare *declare_get(struct amqp_publisher *p, const struct queue_def *def,
				 struct err *err);
struct amqp_declare *declare_get_exchange(struct amqp_publisher *p, const struct exchange_def *def,
					  struct err *err);
/* Begins with the first that is needed, unless one is running. */
void declare_continue(struct amqp_publisher *p);
void declare_method(struct amqp_publisher *p, const amqp_method_t *method); /* of channel 2 */
void declare_reset(struct amqp_publisher *p);			 /* the connection is gone */
void declare_forget(struct amqp_publisher *p, const char *name); /* the queue was deleted */
void declare_forget_exchanges(struct amqp_publisher *p);	 /* some were deleted */
void declare_clear(struct amqp_publisher *p);

#endif

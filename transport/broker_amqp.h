/*
 * The parts of the amqp driver and what they know of each other. Internal to
 * transport/broker_amqp*.
 *
 *     amqp_link       one of the two connections: fail-over list, back-off, opening it again
 *     amqp_consumer   the link that consumes and acks
 *     amqp_publisher  the link that publishes with confirms; a broker under alarm stops reading a
 *                     connection that publishes, and acks must not stop with it
 *     topology        a queue's definition as the methods that declare it
 *     amqp_delay      the stages of native delayed delivery, on the consumer's link
 */
#ifndef TRANSPORT_BROKER_AMQP_H
#define TRANSPORT_BROKER_AMQP_H

#include <jansson.h>

#include "base/list.h"
#include "base/map.h"
#include "transport/backoff.h"
#include "transport/broker.h"
#include "transport/broker_amqp_ack.h"
#include "transport/broker_amqp_conn.h"
#include "transport/broker_amqp_link.h"
#include "transport/broker_amqp_mailbox.h"
#include "transport/broker_amqp_publish.h"
#include "transport/broker_amqp_topology.h"
#include "transport/tls_context.h"

/* Bytes handed to the stream before waiting for the kernel to take them. */
#define AMQP_OUTPUT_TARGET ((size_t)1 << 20)
#define AMQP_OUTPUT_MAX	   ((size_t)16 << 20)

/* Channel numbers. */
#define AMQP_CHANNEL_WORK  1 /* deliveries and acks, or publishes and confirms */
#define AMQP_CHANNEL_SETUP 2 /* declarations, whose errors close their channel */
#define AMQP_CHANNEL_POST  3 /* of the publisher: what is sent without confirm */
#define AMQP_CHANNEL_MAIL  3 /* of the consumer: first of the mailboxes' channels */

struct amqp_broker;

/* broker_amqp_consume.c */
enum amqp_setup {
	SETUP_WANTED,
	SETUP_DECLARING,
	SETUP_PURGING,
	SETUP_CONSUMING,
	SETUP_ACTIVE,
	SETUP_FAILED
};

/* Of a consumed queue to the end of the delays. */
enum amqp_delay_binding { DELAY_UNBOUND, DELAY_BOUND, DELAY_UNBINDABLE };

struct amqp_consumed {
	struct list_node node;
	struct topology *topology;
	enum amqp_setup setup;
	struct backoff backoff;
	uint64_t retry_at_ms;	  /* when SETUP_FAILED */
	uint64_t active_since_ms; /* when SETUP_ACTIVE */
	bool is_cancelled;	  /* by the caller, while it was being set up */
	bool is_to_purge;	  /* before it is consumed */
	enum amqp_delay_binding delay;
	bool is_delay_told; /* that delayed messages cannot come into it */
	char tag[24];
};

/* broker_amqp_delay.c: native delayed delivery, declared after the queues on channel 2 */
enum amqp_delay_state {
	DELAY_OFF,
	DELAY_WANTED,
	DELAY_DECLARING,
	DELAY_READY,
	DELAY_BINDING, /* a queue */
	DELAY_FAILED,  /* until the next connection */
};

struct amqp_delay {
	enum amqp_delay_state state;
	bool is_quorum;
	struct amqp_consumed *binding; /* NULL: it was cancelled meanwhile */
};

struct amqp_consumer {
	struct amqp_broker *broker;
	struct amqp_link link;
	int max_retries;
	struct list_node queues; /* of struct amqp_consumed, in the order they were asked for */
	struct amqp_consumed *current; /* being set up */
	amqp_method_number_t awaited;  /* last answer to the declaration of `current` */
	unsigned next_tag;
	uv_timer_t retry_timer; /* of queues that could not be declared */
	bool is_setup_open;	/* channel 2 */
	bool is_up, is_paused, is_closing;
	unsigned qos, qos_waiting; /* see broker_qos */
	unsigned qos_least;	   /* ever asked for */
	unsigned qos_granted;	   /* to each consumer, where the count is its own */
	unsigned qos_mark;	   /* qos_waiting, when the consumers there are began, or less */
	bool is_qos_dirty;
	bool is_qos_shared; /* counted for the whole channel, see broker_amqp_qos.c */
	struct amqp_ack_window acks;
	uv_timer_t hold_timer; /* of acks that wait for more of them */
	bool is_hold_over;
	/* the message that is arriving */
	struct message message;
	uint64_t tag;
	uint64_t body_left;
	bool is_arriving; /* between deliver and its last byte */
	bool has_header;
	bool is_skipped; /* too large or not to be decoded; already refused */
	struct amqp_mailboxes mailboxes;
	struct amqp_delay delay;
};

void amqp_consumer_init(struct amqp_consumer *c, struct amqp_broker *b, int max_retries);
int amqp_consumer_add(struct amqp_consumer *c, const struct queue_def *def, struct err *err);
void amqp_consumer_cancel(struct amqp_consumer *c, const char *name);
void amqp_consumer_qos(struct amqp_consumer *c, unsigned count, unsigned waiting);
void amqp_consumer_settle(struct amqp_consumer *c, unsigned session, uint64_t tag,
			  enum amqp_settle how);
void amqp_consumer_pause(struct amqp_consumer *c);
/* Acks what is acked, then says goodbye; amqp_broker_part_closed follows. */
void amqp_consumer_close(struct amqp_consumer *c);
void amqp_consumer_clear(struct amqp_consumer *c);
/* For the other parts of the consumer: */
void amqp_consumer_up(struct amqp_consumer *c);
void amqp_consumer_lost(struct amqp_consumer *c, const struct err *why);

/* broker_amqp_setup.c: from an open connection to active consumers */
void setup_begin(struct amqp_consumer *c);
void setup_continue(struct amqp_consumer *c);
/* Methods of channel 2, and consume-ok, cancel and close of channel 1. */
void setup_method(struct amqp_consumer *c, unsigned channel, const amqp_method_t *method);
void setup_reset(struct amqp_consumer *c); /* the connection is gone */
void setup_cancel_all(struct amqp_consumer *c);
/* Consumes it no more; freed here or when the answer to its set-up is there. */
void setup_forget(struct amqp_consumer *c, struct amqp_consumed *q);
/* Replaces the consumer of a queue that is consumed; messages in hand stay in hand. */
void setup_consume_anew(struct amqp_consumer *c, struct amqp_consumed *q);

/* broker_amqp_delay.c; channel 2 must be free. */
void delay_want(struct amqp_consumer *c, const char *queue_type);
bool delay_is_busy(const struct amqp_consumer *c); /* with channel 2 */
void delay_continue(struct amqp_consumer *c);
void delay_method(struct amqp_consumer *c, amqp_method_number_t id);
/* Channel 2 was closed while delays were busy with it. */
void delay_refused(struct amqp_consumer *c, const struct err *why);
void delay_reset(struct amqp_consumer *c); /* the connection is gone */
void delay_forget(struct amqp_consumer *c, const struct amqp_consumed *q);
bool delay_reaches(const struct amqp_consumer *c, const char *exchange, const char *routing_key);

/* broker_amqp_qos.c: the prefetch count */
void qos_begin(struct amqp_consumer *c); /* of a connection */
void qos_send(struct amqp_consumer *c);
void qos_check(struct amqp_consumer *c);       /* messages came in or were settled */
void qos_queue_added(struct amqp_consumer *c); /* before a queue is consumed */

/* broker_amqp_deliver.c: from frames to on_delivery */
void deliver_begin(struct amqp_consumer *c, const amqp_basic_deliver_t *deliver);
void deliver_header(struct amqp_consumer *c, struct span payload);
void deliver_body(struct amqp_consumer *c, struct span data);
uint64_t deliver_body_size(struct span header); /* of at least 14 bytes */
void deliver_reset(struct amqp_consumer *c);

/* broker_amqp.c */
struct amqp_broker {
	struct broker base;
	uv_loop_t *loop;
	struct url *urls;	  /* with defaults filled in */
	struct tls_context **tls; /* of each URL; NULL = in clear */
	unsigned url_count;
	double heartbeat_s, connect_timeout_s;
	size_t max_message_bytes, max_publish_bytes;
	bool is_login_external; /* as whom our certificate says */
	bool is_retry_on_startup, is_started, is_closing, purges, ignores_quorum;
	char *product_version, *node_name;
	struct amqp_consumer consumer;
	struct amqp_publisher publisher;
	unsigned parts_open;  /* consumer and publisher, while closing */
	unsigned timers_open; /* the memory goes with the last */
	uv_timer_t close_timer;
	unsigned session;
	uint64_t delivered, acked, rejected, published, reconnects, late_acks;
	uint64_t mails, posts, posts_dropped;
};

void amqp_broker_notice(struct amqp_broker *b, bool is_error, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void amqp_broker_part_closed(struct amqp_broker *b);

#endif

/*
 * The parts of the Redis driver. Internal to transport/ (broker_redis*, redis_*).
 *
 * A message that was taken stands in kombu's hash of unacked messages under "<our id>:<number>"
 * until it is answered. What we hold is leased: the registry of nodes tells others that we are
 * alive, so a lost connection takes nothing away, and what a dead node held is put back by any
 * other after ten seconds. See redis_lease.h.
 */
#ifndef TRANSPORT_BROKER_REDIS_H
#define TRANSPORT_BROKER_REDIS_H

#include "base/list.h"
#include "base/map.h"
#include "transport/backoff.h"
#include "transport/broker.h"
#include "transport/redis_ahead.h"
#include "transport/redis_conn.h"
#include "transport/redis_held.h"
#include "transport/redis_keys.h"
#include "transport/redis_lease.h"
#include "transport/redis_letters.h"
#include "transport/redis_options.h"
#include "transport/redis_orphans.h"
#include "transport/redis_script.h"
#include "transport/redis_sweep.h"
#include "transport/redis_take.h"
#include "transport/redis_unacked.h"

#define REDIS_SESSION 1 /* deliveries outlive their connection */
/* The tag of what came by a fanout exchange: all have it, nobody answers. */
#define REDIS_TAG_FANOUT ((uint64_t)1 << 63)

enum redis_phase {
	REDIS_DOWN,
	REDIS_SETTLING, /* connected; what was before is being put right */
	REDIS_UP,
	REDIS_CLOSING, /* connected; see broker_redis_close.c */
};

/* A queue that is consumed. */
struct redis_queue {
	struct list_node node;
	char *name;
	char *keys[REDIS_MAX_STEPS];
	char *aside;
	char *closing; /* what closes the record of a message of it */
};

struct broker_redis {
	struct broker base;
	uv_loop_t *loop;
	struct redis_options options;
	struct redis_scripts scripts;
	struct redis_conn *conn;
	bool is_connected; /* commands may be sent */
	enum redis_phase phase;
	char *unacked, *index, *nodes, *mutex; /* keys */
	size_t max_body;
	struct list_node queues; /* in the order in which they are asked */
	struct list_node cancelled;
	struct redis_held held;
	struct redis_take take;
	struct redis_ahead ahead;
	struct redis_unacked answers;
	struct redis_lease lease;
	struct redis_sweep sweep;
	struct redis_orphans orphans;
	struct redis_letters letters;
	int64_t tracker_id; /* the client that hears of lists that grow; 0 = none */
	unsigned prefetch;
	bool is_started, is_paused, purges, has_given_up;
	/* Trying to connect, told at Celery's pace. */
	struct backoff backoff;
	int64_t tell_at_us;
	bool retry_on_startup, was_up, is_settled;
	uv_timer_t tick;
	int64_t close_by_us; /* 0 = not closing */
	bool is_leaving, is_finished, is_stillborn;
	unsigned open_handles; /* that close before the driver can go */
	char last_trouble[300];
	uint64_t delivered, acked, rejected, reconnects, late_acks;
};

static inline struct broker_redis *broker_redis_of(struct broker *b)
{
	return (struct broker_redis *)b;
}

/* Whether it takes (or has taken) messages: else it is a client, and nobody's lease. */
static inline bool redis_takes(const struct broker_redis *r)
{
	return r->queues.next != &r->queues || r->held.used > 0 || r->lease.was_registered;
}

/* broker_redis.c */
void redis_notice(struct broker_redis *r, bool is_error, const char *text);
/* The server refused something: said once as long as it is the same, a new connection where the
 * answer asks for one. */
void redis_trouble(struct broker_redis *r, const char *what, const redisReply *answer);
/* Everything works (again). */
void redis_trouble_over(struct broker_redis *r);
/* What is pending goes out with this turn of the loop. */
void redis_wake(struct broker_redis *r);

/* broker_redis_close.c */
void redis_broker_close(struct broker *b, double deadline_s);
bool redis_broker_is_closing(const struct broker_redis *r);
/* Something that was waited for may have come. */
void redis_broker_close_advance(struct broker_redis *r);
void redis_broker_handle_closed(struct broker_redis *r);
void redis_broker_free(struct broker_redis *r);

#endif

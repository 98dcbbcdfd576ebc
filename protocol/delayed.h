/*
 * Native delayed delivery: the names and routing keys with which Celery lets RabbitMQ hold a
 * message until it is due. A message that waits n seconds goes to the exchange of the highest
 * level; each level that is a one in n holds it for 2^level seconds in a queue of its own. Source:
 * kombu/transport/native_delayed_delivery.py. contract: tasks.md 3.3
 */
#ifndef PROTOCOL_DELAYED_H
#define PROTOCOL_DELAYED_H

#include <stdbool.h>
#include <stdint.h>

#define DELAYED_LEVELS	 28
#define DELAYED_SECONDS	 (((int64_t)1 << DELAYED_LEVELS) - 1) /* the longest delay */
#define DELAYED_START	 "celery_delayed_27"	   /* exchange that delayed messages are sent to */
#define DELAYED_DELIVERY "celery_delayed_delivery" /* exchange they leave by */
#define DELAYED_KEY_MOST 255			   /* bytes of a routing key on the wire */

/* Of both the exchange and the queue of a level. */
void delayed_level_name(char out[24], unsigned level);
/* What binds the next stage to a level's exchange: `bit` '1' its queue, '0' the level below. */
void delayed_level_key(char out[64], unsigned level, char bit);
/* The key as it was before a delay was put in front of it. */
const char *delayed_key_behind(const char *key);
/* The key of a message that waits; the delay that it carries already gives way. False when there is
 * none: a delay of less than a second or above the longest, no key, or too long a one. */
bool delayed_key(char out[DELAYED_KEY_MOST + 1], int64_t seconds, const char *key);

#endif

#include "worker/finish/acks.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* The key begins with a hash already. */
#define HASH_FUNCTION(key, len, hashv)                                                             \
	((void)(len), (hashv) = (unsigned)((const struct acks_key *)(key))->id_hash[0])
#include <uthash.h>

#include "base/clock.h"
#include "base/mem.h"

/* Older answers have arrived: a connection that carries nothing is noticed sooner, by heartbeats
 * (two times 120 s) or by the kernel. */
#define IN_FLIGHT_US  (600 * 1000000LL)
#define REMEMBER_US   (600 * 1000000LL) /* redelivery follows a reconnect much sooner */
#define REMEMBER_MOST ACKS_RECENT_MOST
#define RECENT_FIRST  256

struct acks_ended {
	struct acks_key key;
	enum answer answer;
	int64_t at_us;
	UT_hash_handle hh;
};

static uint64_t hash_text(const char *text, uint64_t seed)
{
	uint64_t hash = seed;

	for (; *text; text++)
		hash = (hash ^ (unsigned char)*text) * 1099511628211u;
	return hash ^ (hash >> 29);
}

static struct acks_key key_of(const char *id, int64_t retries)
{
	return (struct acks_key){
		.id_hash = {hash_text(id, 14695981039346656037u),
			    hash_text(id, 0x9e3779b97f4a7c15u)},
		.retries = (uint64_t)retries,
	};
}

void acks_init(struct acks *acks)
{
	memset(acks, 0, sizeof(*acks));
	acks->recent_most = ACKS_RECENT_LEAST;
	acks->recent_cap = RECENT_FIRST;
	acks->recent = mem_calloc(acks->recent_cap, sizeof(*acks->recent));
}

/* Never less than before: what was taken ahead then may still be unacked. */
void acks_prefetch(struct acks *acks, unsigned count)
{
	size_t most = count == 0 || count > ACKS_RECENT_MOST ? ACKS_RECENT_MOST : count;

	if (most > acks->recent_most)
		acks->recent_most = most;
}

static void forget(struct acks *acks, struct acks_ended *e)
{
	HASH_DEL(acks->ended, e);
	free(e);
}

void acks_clear(struct acks *acks)
{
	while (acks->ended)
		forget(acks, acks->ended);
	free(acks->recent);
	acks->recent = NULL;
}

static void remember(struct acks *acks, const struct acks_key *key, enum answer answer, int64_t now)
{
	struct acks_ended *e;

	HASH_FIND(hh, acks->ended, key, sizeof(*key), e);
	if (e)
		return;
	/* uthash keeps the order of insertion, so the head is the oldest. */
	while (acks->ended &&
	       (HASH_COUNT(acks->ended) >= REMEMBER_MOST || now - acks->ended->at_us > REMEMBER_US))
		forget(acks, acks->ended);
	e = mem_calloc(1, sizeof(*e));
	e->key = *key;
	e->answer = answer;
	e->at_us = now;
	HASH_ADD(hh, acks->ended, key, sizeof(e->key), e);
}

void acks_session_up(struct acks *acks, unsigned session)
{
	acks->session = session;
}

static uint64_t recent_first(const struct acks *acks)
{
	return acks->recent_count > acks->recent_cap ? acks->recent_count - acks->recent_cap : 0;
}

void acks_session_down(struct acks *acks)
{
	int64_t now = clock_mono_us();
	uint64_t first = recent_first(acks);

	acks->session = 0;
	for (uint64_t i = first; i < acks->recent_count; i++) {
		const struct acks_recent *recent = &acks->recent[i % acks->recent_cap];

		if (now - recent->at_us <= IN_FLIGHT_US)
			remember(acks, &recent->key, recent->answer, now);
	}
	acks->recent_count = 0;
}

void acks_answer_delivery(struct acks *acks, unsigned session, uint64_t tag, enum answer answer)
{
	if (answer == ANSWER_ACK)
		broker_ack(acks->broker, session, tag);
	else
		broker_reject(acks->broker, session, tag, answer == ANSWER_REQUEUE);
}

static void recent_grow(struct acks *acks)
{
	uint64_t first = recent_first(acks), count = acks->recent_count - first;
	size_t cap =
		acks->recent_cap * 2 < acks->recent_most ? acks->recent_cap * 2 : acks->recent_most;
	assert(cap > acks->recent_cap);
	struct acks_recent *grown = mem_calloc(cap, sizeof(*grown));

	for (uint64_t i = 0; i < count; i++)
		grown[i] = acks->recent[(first + i) % acks->recent_cap];
	free(acks->recent);
	acks->recent = grown;
	acks->recent_cap = cap;
	acks->recent_count = count;
}

/* An answer that is on the wire now. */
static void sent(struct acks *acks, const struct acks_key *key, enum answer answer)
{
	if (acks->recent_count >= acks->recent_cap && acks->recent_cap < acks->recent_most)
		recent_grow(acks);
	size_t at = (size_t)(acks->recent_count % acks->recent_cap);

	acks->recent[at] =
		(struct acks_recent){.key = *key, .answer = answer, .at_us = clock_mono_us()};
	acks->recent_count++;
}

void acks_answer(struct acks *acks, struct request *r, enum answer answer)
{
	if (r->is_settled)
		return;
	r->is_settled = true;
	bool is_current = acks->session != 0 && r->session == acks->session &&
			  broker_is_held(acks->broker, r->session, r->tag);

	if (is_current)
		acks_answer_delivery(acks, r->session, r->tag, answer);
	if (answer == ANSWER_REQUEUE)
		return; /* it is to run again */
	struct acks_key key = key_of(r->message.id, r->message.retries);

	/* A retry whose confirm was lost was published twice: its copy comes as a new message, at
	 * any time, and must not run either. */
	bool may_have_copy = r->message.retries > 0 && answer == ANSWER_ACK;

	if (is_current && !may_have_copy)
		sent(acks, &key, answer);
	else
		remember(acks, &key, answer, clock_mono_us());
}

void acks_expect(struct acks *acks, const struct request *r)
{
	struct acks_key key = key_of(r->message.id, r->message.retries);
	struct acks_ended *e;

	HASH_FIND(hh, acks->ended, &key, sizeof(key), e);
	if (e)
		forget(acks, e);
}

bool acks_has_ended(struct acks *acks, const char *id, int64_t retries, enum answer *ret_answer)
{
	struct acks_key key = key_of(id, retries);
	struct acks_ended *e;

	HASH_FIND(hh, acks->ended, &key, sizeof(key), e);
	if (!e)
		return false;
	enum answer answer = e->answer;

	forget(acks, e);
	/* The answer that follows may be lost as well: connections rarely break only once. */
	if (acks->session != 0)
		sent(acks, &key, answer);
	if (ret_answer)
		*ret_answer = answer;
	acks->skipped++;
	return true;
}

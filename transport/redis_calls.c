#include "transport/redis_calls.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define ROOM_AT_START 64

static struct redis_call *call_at(const struct redis_calls *calls, size_t i)
{
	return &calls->ring[(calls->first + i) & (calls->room - 1)];
}

void redis_calls_push(struct redis_calls *calls, struct redis_call call)
{
	if (calls->count == calls->room) {
		struct redis_calls larger = {.room = calls->room ? 2 * calls->room : ROOM_AT_START};

		larger.ring = mem_calloc(larger.room, sizeof(*larger.ring));
		for (; larger.count < calls->count; larger.count++)
			larger.ring[larger.count] = *call_at(calls, larger.count);
		free(calls->ring);
		*calls = larger;
	}
	*call_at(calls, calls->count++) = call;
}

struct redis_call redis_calls_pop(struct redis_calls *calls)
{
	struct redis_call call = *call_at(calls, 0);

	calls->first++;
	calls->count--;
	return call;
}

void redis_calls_clear(struct redis_calls *calls)
{
	free(calls->ring);
	memset(calls, 0, sizeof(*calls));
}

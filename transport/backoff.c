#include "transport/backoff.h"

enum { STEP_S = 2, LONGEST_S = 32 };

void backoff_init(struct backoff *b, unsigned url_count, int max_rounds)
{
	*b = (struct backoff){.url_count = url_count ? url_count : 1, .max_rounds = max_rounds};
}

double backoff_next(struct backoff *b)
{
	b->url_index++;
	if (b->url_index < b->url_count)
		return 0;
	b->url_index = 0;
	if (b->max_rounds >= 0 && b->rounds >= (unsigned)b->max_rounds)
		return -1;
	b->rounds++;
	return b->rounds < LONGEST_S / STEP_S ? b->rounds * STEP_S : LONGEST_S;
}

void backoff_reset(struct backoff *b)
{
	b->url_index = 0;
	b->rounds = 0;
}

/*
 * Celery's delays between attempts to connect: 2, 4, 6, ... 32 s, then 32 s (contract: control.md
 * 9.4). With a list of URLs the next one is tried at once and the delay comes after a full round.
 * Pure.
 */
#ifndef TRANSPORT_BACKOFF_H
#define TRANSPORT_BACKOFF_H

struct backoff {
	unsigned url_count;
	unsigned url_index; /* the one to try next */
	unsigned rounds;    /* full rounds that failed since the last success */
	int max_rounds;	    /* -1 = for ever */
};

void backoff_init(struct backoff *b, unsigned url_count, int max_rounds);
/* An attempt failed. Seconds until the next one, 0 when another URL is to be tried at once; < 0:
 * no attempts are left. */
double backoff_next(struct backoff *b);
/* An attempt succeeded: the next loss begins with the first URL and the first delay. */
void backoff_reset(struct backoff *b);

#endif

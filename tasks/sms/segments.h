/* How many parts an SMS has: GSM 03.38 characters (160 in one, 153 in each of several) or UCS-2
 * (70, 67), as providers bill it. */
#ifndef TASKS_SMS_SEGMENTS_H
#define TASKS_SMS_SEGMENTS_H

#include <stddef.h>

struct segments {
	const char *encoding; /* "GSM-7" or "UCS-2" */
	size_t characters;    /* Unicode characters */
	size_t count;	      /* parts; 0 for an empty text */
};

/* `text` must be UTF-8 (jansson's strings are). */
void segments_count(const char *text, struct segments *ret);

#endif

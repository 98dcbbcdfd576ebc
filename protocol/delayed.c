#include "protocol/delayed.h"

#include <stdio.h>
#include <string.h>

void delayed_level_name(char out[24], unsigned level)
{
	snprintf(out, 24, "celery_delayed_%u", level);
}

void delayed_level_key(char out[64], unsigned level, char bit)
{
	for (unsigned i = DELAYED_LEVELS - 1; i > level; i--) {
		*out++ = '*';
		*out++ = '.';
	}
	*out++ = bit;
	memcpy(out, ".#", 3);
}

const char *delayed_key_behind(const char *key)
{
	const char *p = key;

	for (unsigned i = 0; i < DELAYED_LEVELS; i++, p += 2)
		if ((p[0] != '0' && p[0] != '1') || p[1] != '.')
			return key;
	return p;
}

bool delayed_key(char out[DELAYED_KEY_MOST + 1], int64_t seconds, const char *key)
{
	const char *plain = delayed_key_behind(key);
	size_t len = strlen(plain);

	if (seconds < 1 || seconds > DELAYED_SECONDS || len == 0 ||
	    len + 2 * DELAYED_LEVELS > DELAYED_KEY_MOST)
		return false;
	for (unsigned i = DELAYED_LEVELS; i-- > 0;) {
		*out++ = (seconds >> i) & 1 ? '1' : '0';
		*out++ = '.';
	}
	memcpy(out, plain, len + 1);
	return true;
}

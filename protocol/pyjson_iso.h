/*
 * What Python 3.11's datetime.fromisoformat and time.fromisoformat read: wider than isoformat()'s
 * output, narrower than dateutil's isoparse (base/text.h). Inside protocol/ only. Mirrors CPython's
 * Modules/_datetimemodule.c.
 */
#ifndef PROTOCOL_PYJSON_ISO_H
#define PROTOCOL_PYJSON_ISO_H

#include <stdbool.h>
#include <stddef.h>

struct pyjson_time {
	int year, month, day;
	int hour, minute, second, microsecond;
	bool has_offset;
	int offset_s, offset_us; /* both of one sign */
};

int pyjson_datetime_read(const char *text, size_t len, struct pyjson_time *ret);
int pyjson_time_read(const char *text, size_t len, struct pyjson_time *ret);

#endif

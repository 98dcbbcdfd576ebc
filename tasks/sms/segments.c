#include "tasks/sms/segments.h"

#include <stdbool.h>
#include <stdint.h>
#include <string.h>

/* The basic character set of GSM 03.38 beyond what ASCII shares with it, and what ASCII has that it
 * lacks or holds only behind an escape. */
static const uint16_t gsm_more[] = {
	0xa3,  0xa5,  0xe8,  0xe9,  0xf9,  0xec,  0xf2,	 0xc7,	0xd8,  0xf8, 0xc5, 0xe5, 0x394,
	0x3a6, 0x393, 0x39b, 0x3a9, 0x3a0, 0x3a8, 0x3a3, 0x398, 0x39e, 0xc6, 0xe6, 0xdf, 0xc9,
	0xa4,  0xa1,  0xc4,  0xd6,  0xd1,  0xdc,  0xa7,	 0xbf,	0xe4,  0xf6, 0xf1, 0xfc, 0xe0};
static const char gsm_escaped[] = "^{}\\[~]|\f";

/* Septets that a character takes in GSM-7; 0 when it has none. */
static size_t septets(uint32_t c)
{
	if (c == 0x20ac)
		return 2;
	if (c < 0x80) {
		if (c == '`' || (c < 0x20 && c != '\n' && c != '\r' && c != '\f') || c == 0x7f)
			return 0;
		return strchr(gsm_escaped, (int)c) ? 2 : 1;
	}
	for (size_t i = 0; i < sizeof(gsm_more) / sizeof(gsm_more[0]); i++)
		if (gsm_more[i] == c)
			return 1;
	return 0;
}

static const char *next_char(const char *text, uint32_t *ret)
{
	const unsigned char *p = (const unsigned char *)text;
	int more = *p < 0xc0 ? 0 : *p < 0xe0 ? 1 : *p < 0xf0 ? 2 : 3;
	uint32_t c = more == 0 ? *p : (uint32_t)(*p & (0x3f >> more));

	for (p++; more-- > 0 && (*p & 0xc0) == 0x80; p++)
		c = c << 6 | (*p & 0x3f);
	*ret = c;
	return (const char *)p;
}

/* Parts for `units` of which a character takes `width[i]`; a character is never split. */
static size_t parts(const char *text, bool is_gsm, size_t single, size_t multi)
{
	size_t total = 0, used = 0, count = 1;
	uint32_t c;

	for (const char *p = text; *p;) {
		size_t width;

		p = next_char(p, &c);
		width = is_gsm ? septets(c) : c > 0xffff ? 2 : 1;
		total += width;
		if (used + width > multi) {
			count++;
			used = 0;
		}
		used += width;
	}
	if (total == 0)
		return 0;
	return total <= single ? 1 : count;
}

void segments_count(const char *text, struct segments *ret)
{
	bool is_gsm = true;
	size_t characters = 0;
	uint32_t c;

	for (const char *p = text; *p; characters++) {
		p = next_char(p, &c);
		if (septets(c) == 0)
			is_gsm = false;
	}
	ret->encoding = is_gsm ? "GSM-7" : "UCS-2";
	ret->characters = characters;
	ret->count = is_gsm ? parts(text, true, 160, 153) : parts(text, false, 70, 67);
}

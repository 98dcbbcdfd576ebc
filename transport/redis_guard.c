#include "transport/redis_guard.h"

#include <stdlib.h>
#include <string.h>

#define TLS_ALERT '\x15' /* the first byte of one */

void redis_guard_init(struct redis_guard *g, size_t max_bulk_bytes)
{
	memset(g, 0, sizeof(*g));
	g->max_bulk_bytes = max_bulk_bytes;
}

/* The whole header line was seen. */
static int line_end(struct redis_guard *g, struct err *err)
{
	long long number = 0;
	char *end;

	if (g->type == '$' || g->type == '*') {
		g->digits[g->digit_count] = '\0';
		number = strtoll(g->digits, &end, 10);
		if (end == g->digits || *end != '\0' || number < -1)
			return err_set(err, ERR_PROTOCOL, "the Redis server sent a bad length");
	}
	if (g->type == '*' && number > REDIS_GUARD_MAX_ELEMENTS)
		return err_set(err, ERR_LIMIT, "the Redis server sent an array of %lld elements",
			       number);
	if (g->type == '$' && number > (long long)g->max_bulk_bytes)
		return err_set(err, ERR_LIMIT, "the Redis server sent a value of %lld bytes",
			       number);
	g->skip = g->type == '$' && number >= 0 ? (size_t)number + 2 : 0;
	g->line_len = 0;
	g->digit_count = 0;
	return 0;
}

static int line_byte(struct redis_guard *g, char c, struct err *err)
{
	if (c == '\n' && g->line_len > 0)
		return line_end(g, err);
	if (g->line_len++ == 0) {
		if (c == TLS_ALERT)
			return err_set(err, ERR_PROTOCOL,
				       "it speaks TLS on this port: use rediss://");
		if (c == '\0' || strchr("+-:$*", c) == NULL)
			return err_set(err, ERR_PROTOCOL,
				       "what answers does not speak the Redis protocol");
		g->type = c;
		return 0;
	}
	if (g->line_len > REDIS_GUARD_MAX_LINE_BYTES)
		return err_set(err, ERR_LIMIT,
			       "the Redis server sent a line of more than %zu bytes",
			       REDIS_GUARD_MAX_LINE_BYTES);
	if (c != '\r' && (g->type == '$' || g->type == '*')) {
		if (g->digit_count + 1 >= sizeof(g->digits))
			return err_set(err, ERR_PROTOCOL, "the Redis server sent a bad length");
		g->digits[g->digit_count++] = c;
	}
	return 0;
}

int redis_guard_feed(struct redis_guard *g, const char *data, size_t len, struct err *err)
{
	while (len > 0) {
		size_t step = g->skip < len ? g->skip : len;

		if (step == 0) {
			if (line_byte(g, *data, err) < 0)
				return -1;
			step = 1;
		} else {
			g->skip -= step;
		}
		data += step;
		len -= step;
	}
	return 0;
}

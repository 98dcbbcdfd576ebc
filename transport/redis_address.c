#include "transport/redis_address.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "transport/tls_context.h"
#include "transport/url.h"

#define DEFAULT_PORT	      6379
#define DEFAULT_SENTINEL_PORT 26379

static int parse_db(const char *text, int *ret_db, struct err *err)
{
	char *end;
	long number;

	while (*text == '/')
		text++;
	if (*text == '\0')
		return 0;
	number = strtol(text, &end, 10);
	while (*end == '/')
		end++;
	if (!isdigit((unsigned char)*text) || *end != '\0' || number > 1000000)
		/* Not quoted: with an unescaped '/' in it, a password ends up here. */
		return err_set(err, ERR_INVALID,
			       "Redis URL: what follows the server is no database number "
			       "(special characters in a password must be percent-encoded)");
	*ret_db = (int)number;
	return 0;
}

static int use_socket_url(struct redis_address *a, const struct url *url, struct err *err)
{
	auto_free char *db = url_query(url, "virtual_host");

	if (url->path[0] == '\0')
		return err_set(err, ERR_INVALID, "Redis URL: write redis+socket:///path/of/socket");
	a->unix_path = mem_printf("/%s", url->path);
	if (parse_db(db ? db : "", &a->db, err) < 0)
		return -1;
	a->label = mem_printf("%s db %d", a->unix_path, a->db);
	return 0;
}

static int use_tcp_url(struct redis_address *a, const struct url *url, struct err *err)
{
	a->host = mem_strdup(url->host && url->host[0] ? url->host : "localhost");
	a->is_sentinel = strcmp(url->scheme, "sentinel") == 0;
	a->port = a->is_sentinel ? DEFAULT_SENTINEL_PORT : DEFAULT_PORT;
	if (url->port > 0)
		a->port = url->port;
	if (parse_db(url->path, &a->db, err) < 0)
		return -1;
	a->label = mem_printf("%s:%d/%d", a->host, a->port, a->db);
	return 0;
}

/* No URL may be needed to know that the scheme is not spoken: it may be anybody's. */
static int scheme_check(const char *text, struct err *err)
{
	static const char *const spoken[] = {"redis://", "rediss://", "redis+socket://",
					     "sentinel://"};
	size_t len = strcspn(text, ":");

	for (size_t i = 0; i < sizeof(spoken) / sizeof(spoken[0]); i++)
		if (strncasecmp(text, spoken[i], strlen(spoken[i])) == 0)
			return 0;
	/* Of what has no scheme, nothing is shown: it may be a password. */
	if (strstr(text, "://") == NULL)
		return err_set(err, ERR_INVALID,
			       "Redis URL: each server is written redis://host:port/db or "
			       "sentinel://host:port/db");
	return err_set(err, ERR_UNSUPPORTED,
		       "%.*s:// is no Redis: use redis://, rediss:// (TLS), redis+socket:// or "
		       "sentinel://",
		       len > 20 ? 20 : (int)len, text);
}

int redis_address_parse(struct redis_address *a, const char *text, struct err *err)
{
	struct url url = {0};
	int rc;

	if (scheme_check(text, err) < 0 || url_parse(&url, text, err) < 0)
		return -1;
	rc = strcmp(url.scheme, "redis+socket") == 0 ? use_socket_url(a, &url, err)
						     : use_tcp_url(a, &url, err);
	if (url.password && url.password[0])
		a->password = mem_strdup(url.password);
	if (url.user && url.user[0])
		a->user = mem_strdup(url.user);
	url_clear(&url);
	return rc;
}

void redis_address_forget_login(struct redis_address *a)
{
	if (a->password)
		explicit_bzero(a->password, strlen(a->password));
	mem_free_ptr(&a->user);
	mem_free_ptr(&a->password);
}

void redis_address_clear(struct redis_address *a)
{
	redis_address_forget_login(a);
	tls_context_free(a->tls);
	free(a->host);
	free(a->unix_path);
	free(a->label);
	memset(a, 0, sizeof(*a));
}

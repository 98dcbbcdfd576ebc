#include "transport/redis_address.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/url.h"

#define DEFAULT_PORT 6379

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
	a->port = url->port > 0 ? url->port : DEFAULT_PORT;
	if (parse_db(url->path, &a->db, err) < 0)
		return -1;
	a->label = mem_printf("%s:%d/%d", a->host, a->port, a->db);
	return 0;
}

int redis_address_parse(struct redis_address *a, const char *text, struct err *err)
{
	size_t scheme_len = strcspn(text, ":");
	bool is_socket = scheme_len == 12 && strncmp(text, "redis+socket", 12) == 0;
	struct url url = {0};
	int rc;

	if (!is_socket && (scheme_len != 5 || strncmp(text, "redis", 5) != 0))
		return err_set(
			err, ERR_UNSUPPORTED,
			"%.*s:// comes with a later version; use redis:// (for TLS through a "
			"tunnel) or redis+socket://",
			scheme_len > 20 ? 20 : (int)scheme_len, text);
	if (url_parse(&url, text, err) < 0)
		return -1;
	rc = is_socket ? use_socket_url(a, &url, err) : use_tcp_url(a, &url, err);
	if (url.password && url.password[0])
		a->password = mem_strdup(url.password);
	if (url.user && url.user[0])
		a->user = mem_strdup(url.user);
	url_clear(&url);
	return rc;
}

void redis_address_clear(struct redis_address *a)
{
	if (a->password)
		explicit_bzero(a->password, strlen(a->password));
	free(a->host);
	free(a->unix_path);
	free(a->user);
	free(a->password);
	free(a->label);
	memset(a, 0, sizeof(*a));
}

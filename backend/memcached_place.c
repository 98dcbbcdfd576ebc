#include "backend/memcached_place.h"

#include <stdlib.h>
#include <string.h>

#include "backend/driver.h"
#include "base/mem.h"
#include "transport/url.h"

#define DEFAULT_PORT 11211
#define MAX_PREFIX   100

static bool is_client(const char *scheme)
{
	static const char *const clients[] = {"memcached", "memcache", "pymemcache", "pylibmc"};
	const char *name = strchr(scheme, '+');

	for (size_t i = 0; name && i < sizeof(clients) / sizeof(clients[0]); i++)
		if (strcmp(name + 1, clients[i]) == 0)
			return true;
	return false;
}

/* host:port, or a socket as cache+memcached:///path or cache+memcached://unix:/path */
static void take_place(struct memcached_place *p, const struct url *url)
{
	bool is_socket = *url->path && (!url->host || strcmp(url->host, "unix") == 0);

	p->path = is_socket ? mem_printf("/%s", url->path) : NULL;
	p->host = mem_strdup(url->host ? url->host : "localhost");
	p->port = url->port ? url->port : DEFAULT_PORT;
	p->label = is_socket ? mem_printf("memcached %s", p->path)
			     : mem_printf("memcached %s:%d", p->host, p->port);
}

static int read_url(struct memcached_place *p, const char *text, struct err *err)
{
	struct url url;
	int result = 0;

	if (strchr(text, ';'))
		return err_set(
			err, ERR_UNSUPPORTED,
			"result_backend: several memcached servers are not spoken to by this "
			"version; name one");
	if (!strstr(text, "://"))
		return err_set(
			err, ERR_INVALID,
			"result_backend: which memcached? Write cache+memcached://host:11211, "
			"or set cache_backend");
	if (url_parse(&url, text, err) < 0)
		return err_prefix(err, "result_backend: ");
	if (is_client(url.scheme))
		take_place(p, &url);
	else
		result = err_set(err, ERR_UNSUPPORTED,
				 "result_backend: '%.40s' is not spoken here; use "
				 "cache+memcached://host:11211",
				 url.scheme);
	url_clear(&url);
	return result;
}

static int read_keys(struct memcached_keys *keys, const struct backend_options *options,
		     struct err *err)
{
	json_auto_t *root = driver_options_read(options->transport_options, err);

	if (!root)
		return -1;
	keys->prefix = driver_key_prefix(root);
	if (strlen(keys->prefix) > MAX_PREFIX)
		return err_set(err, ERR_LIMIT, "global_keyprefix is longer than %d bytes",
			       MAX_PREFIX);
	keys->expires_s = options->result_expires_s;
	keys->chord_expires_s =
		options->chord_expires_s < 0 ? options->result_expires_s : options->chord_expires_s;
	return 0;
}

int memcached_place_read(struct memcached_place *p, const struct backend_options *options,
			 struct err *err)
{
	*p = (struct memcached_place){0};
	if (read_url(p, options->url, err) == 0 && read_keys(&p->keys, options, err) == 0)
		return 0;
	memcached_place_clear(p);
	return -1;
}

void memcached_place_clear(struct memcached_place *p)
{
	free(p->host);
	free(p->path);
	free(p->label);
	free(p->keys.prefix);
	*p = (struct memcached_place){0};
}

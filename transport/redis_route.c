#include "transport/redis_route.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/tls_context.h"
#include "transport/url.h"

#define MAX_ITEMS 64

static int use_tls(struct redis_address *a, const struct redis_settings *settings,
		   const struct url *url, struct err *err)
{
	struct tls_options options = {0};
	int is_wanted = tls_options_decide(&options, settings->tls_use, settings->tls, url, err);

	if (is_wanted > 0)
		a->tls = tls_context_new(&options, err);
	tls_options_clear(&options);
	return is_wanted < 0 || (is_wanted > 0 && a->tls == NULL) ? err_prefix(err, "TLS: ") : 0;
}

static int add_item(struct redis_route *r, const char *text, struct redis_settings *settings,
		    struct err *err)
{
	struct redis_address *address;
	struct url url = {0};
	int rc;

	if (r->count == MAX_ITEMS)
		return err_set(err, ERR_LIMIT, "Redis URL: more than %d servers", MAX_ITEMS);
	r->items = mem_realloc(r->items, (r->count + 1) * sizeof(*r->items));
	address = &r->items[r->count++];
	memset(address, 0, sizeof(*address));
	if (redis_address_parse(address, text, err) < 0)
		return -1;
	if (address->is_sentinel != r->items[0].is_sentinel)
		return err_set(err, ERR_INVALID,
			       "Redis URL: in a list with Sentinels, all begin with sentinel://");
	if (url_parse(&url, text, err) < 0)
		return -1;
	rc = redis_settings_read_query(settings, &url, err);
	if (rc == 0 && address->unix_path == NULL)
		rc = use_tls(address, settings, &url, err);
	url_clear(&url);
	return rc < 0 ? err_prefix(err, "Redis URL: ") : 0;
}

/* The Sentinels have a login of their own; what stands in the URL is for the master. */
static void use_sentinel_login(struct redis_route *r, const struct redis_settings *settings)
{
	struct redis_address *first = &r->items[0];

	r->master.user = first->user;
	r->master.password = first->password;
	r->master.db = first->db;
	first->user = first->password = NULL;
	for (unsigned i = 0; i < r->count; i++) {
		redis_address_forget_login(&r->items[i]);
		r->items[i].user = mem_strdup(settings->sentinel_user);
		r->items[i].password = mem_strdup(settings->sentinel_password);
	}
}

/* So is TLS: what a URL and the setting say is for the master. */
static int use_sentinel_tls(struct redis_route *r, const struct redis_settings *settings,
			    struct err *err)
{
	r->master.tls = r->items[0].tls;
	r->items[0].tls = NULL;
	for (unsigned i = 0; i < r->count; i++) {
		struct tls_options options = {0};
		bool is_good;

		tls_context_free(r->items[i].tls);
		r->items[i].tls = NULL;
		if (settings->sentinel_tls == NULL)
			continue;
		is_good = tls_options_read(&options, settings->tls_use, settings->sentinel_tls,
					   NULL, err) == 0 &&
			  (r->items[i].tls = tls_context_new(&options, err)) != NULL;
		tls_options_clear(&options);
		if (!is_good)
			return err_prefix(err, "sentinel_kwargs: ");
	}
	return 0;
}

int redis_route_init(struct redis_route *r, const char *urls, struct redis_settings *settings,
		     struct err *err)
{
	char *text;
	int rc = 0;

	for (unsigned i = 0; rc == 0 && (text = url_list_item(urls, i)) != NULL; i++) {
		rc = add_item(r, text, settings, err);
		explicit_bzero(text, strlen(text));
		free(text);
	}
	if (rc < 0)
		return -1;
	if (r->count == 0)
		return err_set(err, ERR_INVALID, "the Redis URL is empty");
	r->has_sentinels = r->items[0].is_sentinel;
	if (!r->has_sentinels)
		return 0;
	if (settings->master_name == NULL || settings->master_name[0] == '\0')
		return err_set(err, ERR_INVALID,
			       "sentinel:// needs the name of the master, master_name in the "
			       "transport options");
	use_sentinel_login(r, settings);
	r->label = mem_printf("%s/%d", settings->master_name, r->master.db);
	return use_sentinel_tls(r, settings, err);
}

const struct redis_address *redis_route_server(const struct redis_route *r)
{
	return r->has_sentinels ? &r->master : &r->items[r->index];
}

const char *redis_route_label(const struct redis_route *r)
{
	return r->has_sentinels ? r->label : r->items[r->index].label;
}

bool redis_route_has_replicas(const struct redis_route *r)
{
	return r->has_sentinels || r->count > 1;
}

void redis_route_rewind(struct redis_route *r)
{
	/* The Sentinel that answered last stays the first to be asked. */
	if (!r->has_sentinels)
		r->index = 0;
}

void redis_route_advance(struct redis_route *r)
{
	r->index = (r->index + 1) % r->count;
}

/* All Sentinels are asked within one attempt. */
bool redis_route_is_last(const struct redis_route *r)
{
	return r->has_sentinels || r->index + 1 == r->count;
}

void redis_route_found(struct redis_route *r, const char *master_name, const char *host, int port,
		       unsigned index)
{
	free(r->master.host);
	free(r->label);
	r->master.host = mem_strdup(host);
	r->master.port = port;
	r->label = mem_printf("%s at %s:%d/%d", master_name, host, port, r->master.db);
	r->index = index;
}

bool redis_route_is_at(const struct redis_route *r, const char *host, int port)
{
	return r->master.host && strcmp(r->master.host, host) == 0 && r->master.port == port;
}

void redis_route_clear(struct redis_route *r)
{
	for (unsigned i = 0; i < r->count; i++)
		redis_address_clear(&r->items[i]);
	free(r->items);
	redis_address_clear(&r->master);
	free(r->label);
	memset(r, 0, sizeof(*r));
}

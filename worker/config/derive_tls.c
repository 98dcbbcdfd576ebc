#include "worker/config/derive_tls.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/tls_options.h"

/* False for a URL that is not connected to by TLS, or that its driver will refuse. */
static bool decide(struct tls_options *o, const struct url *url, bool is_backend,
		   const char *setting)
{
	bool is_amqp = strncmp(url->scheme, "amqp", 4) == 0 || strcmp(url->scheme, "pyamqp") == 0;
	bool is_redis = strcmp(url->scheme, "redis") == 0 || strcmp(url->scheme, "rediss") == 0 ||
			strcmp(url->scheme, "sentinel") == 0;
	enum tls_use use = is_backend ? TLS_FOR_REDIS_BACKEND : TLS_FOR_REDIS_BROKER;

	if (is_amqp && !is_backend)
		use = TLS_FOR_AMQP;
	else if (!is_redis)
		return false;
	return tls_options_decide(o, use, setting, url, NULL) > 0;
}

static void note(struct config_store *s, const char *name, const char *urls, bool is_backend,
		 const char *setting)
{
	char *item;

	for (unsigned i = 0; (item = url_list_item(urls, i)) != NULL; i++) {
		auto_free char *text = item;
		struct tls_options o = {0};
		struct url url;

		if (url_parse(&url, text, NULL) != 0)
			continue;
		if (decide(&o, &url, is_backend, setting) && o.verify == TLS_VERIFY_NONE)
			config_store_notice(
				s, "%s: the certificate of %.100s is not verified (%s)", name,
				url.host ? url.host : "localhost",
				o.is_lax ? "rediss:// without ssl_cert_reqs, as in Celery: add "
					   "?ssl_cert_reqs=required"
					 : "ssl_cert_reqs says so");
		url_clear(&url);
		tls_options_clear(&o);
	}
}

/* What is said of TLS means nothing where there is no server. */
static void note_idle(struct config_store *s, const char *name, const char *setting,
		      const char *url)
{
	static const char *const files[] = {"filesystem://", "file://", "redis+socket://"};

	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		if (setting && strcmp(setting, "false") != 0 &&
		    strncmp(url, files[i], strlen(files[i])) == 0)
			config_store_notice(s, "%s has no effect on %s", name, files[i]);
}

void derive_tls_notices(const struct config *c, struct config_store *s)
{
	bool is_one = strcmp(c->broker_read_url, c->broker_write_url) == 0;

	note(s, is_one ? "broker_url" : "broker_read_url", c->broker_read_url, false,
	     c->broker_use_ssl);
	if (!is_one)
		note(s, "broker_write_url", c->broker_write_url, false, c->broker_use_ssl);
	note_idle(s, "broker_use_ssl", c->broker_use_ssl, c->broker_read_url);
	if (c->result_backend) {
		note(s, "result_backend", c->result_backend, true, c->redis_backend_use_ssl);
		note_idle(s, "redis_backend_use_ssl", c->redis_backend_use_ssl, c->result_backend);
	}
}

static char *describe(const struct url *url, bool is_backend, const char *setting)
{
	struct tls_options o = {0};
	auto_str text = STR_INIT(2000);

	if (decide(&o, url, is_backend, setting))
		tls_options_describe(&o, &text);
	tls_options_clear(&o);
	return text.len > 0 ? str_detach(&text) : NULL;
}

/* `shown` has its port, also where it is the default one. */
static bool is_same_server(const struct url *url, const struct url *shown)
{
	return (url->port == 0 || url->port == shown->port) && shown->host &&
	       strcmp(url->host ? url->host : "localhost", shown->host) == 0;
}

char *config_tls_of_broker(const struct config *c, const char *urls, const char *shown)
{
	struct url there = {0};
	char *found = NULL, *item;

	/* The master that Sentinels name, as it is shown, is no URL; all of them have the same. */
	bool is_named = strncmp(urls, "sentinel://", 11) == 0;

	if (!is_named && url_parse(&there, shown, NULL) != 0)
		return NULL;
	for (unsigned i = 0; !found && (item = url_list_item(urls, i)) != NULL; i++) {
		auto_free char *text = item;
		struct url url;

		if (url_parse(&url, text, NULL) != 0)
			continue;
		if (is_named || is_same_server(&url, &there))
			found = describe(&url, false, c->broker_use_ssl);
		url_clear(&url);
	}
	url_clear(&there);
	return found;
}

char *config_tls_of_backend(const struct config *c)
{
	struct url url;
	char *found;

	if (!c->result_backend || url_parse(&url, c->result_backend, NULL) != 0)
		return NULL;
	found = describe(&url, true, c->redis_backend_use_ssl);
	url_clear(&url);
	return found;
}

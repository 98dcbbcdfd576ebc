/*
 * How connections to Redis servers behave and which master Sentinels are asked for: what of
 * broker_transport_options, result_backend_transport_options and a URL's query concerns the
 * connection, read as kombu and redis-py name it. Pure.
 */
#ifndef TRANSPORT_REDIS_SETTINGS_H
#define TRANSPORT_REDIS_SETTINGS_H

#include "base/err.h"
#include "transport/stream.h"
#include "transport/tls_options.h"
#include "transport/url.h"

struct redis_settings {
	double answer_timeout_s;	   /* socket_timeout */
	double connect_timeout_s;	   /* socket_connect_timeout; 0 = the caller's */
	double health_check_interval_s;	   /* an idle connection is asked so often; 0 = never */
	struct stream_keepalive keepalive; /* socket_keepalive, socket_keepalive_options */
	char *client_name;		   /* for CLIENT LIST; NULL = the caller's */
	/* broker_use_ssl or redis_backend_use_ssl, see tls_options.h; NULL = nothing is said */
	char *tls;
	enum tls_use tls_use;
	/* Of sentinel:// */
	char *master_name;
	unsigned min_other_sentinels;
	/* sentinel_kwargs; timeouts of 0 = as above */
	char *sentinel_user, *sentinel_password;
	double sentinel_answer_timeout_s, sentinel_connect_timeout_s;
	char *sentinel_tls; /* as `tls`; NULL = they are asked in clear */
};

/* The defaults; `s` needs no clearing before. */
void redis_settings_init(struct redis_settings *s);
/* Adds what a settings' JSON object text says (or nothing, when NULL); names it does not know are
 * other people's. Errors name the key. */
int redis_settings_read(struct redis_settings *s, const char *json, struct err *err);
/* Adds what the query of a URL says. */
int redis_settings_read_query(struct redis_settings *s, const struct url *url, struct err *err);
void redis_settings_copy(struct redis_settings *to, const struct redis_settings *from);
void redis_settings_clear(struct redis_settings *s);

#endif

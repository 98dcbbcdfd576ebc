/*
 * What a user says about TLS, read as kombu and redis-py name it: broker_use_ssl or
 * redis_backend_use_ssl (true, or a mapping), and the ssl_... of a URL's query. Pure.
 */
#ifndef TRANSPORT_TLS_OPTIONS_H
#define TRANSPORT_TLS_OPTIONS_H

#include <jansson.h>
#include <stdbool.h>

#include "base/err.h"
#include "base/str.h"
#include "transport/url.h"

/* Python's CERT_OPTIONAL is CERT_REQUIRED for a client. */
enum tls_verify { TLS_VERIFY_UNSAID, TLS_VERIFY_NONE, TLS_VERIFY_REQUIRED };

struct tls_options {
	bool is_wanted; /* the setting says true, or something of TLS is said */
	bool is_bare;	/* nothing but true */
	enum tls_verify verify;
	bool is_lax;	   /* not verified because nobody said that it should be */
	bool is_any_name;  /* the certificate's name is not compared with the host's */
	char *server_name; /* to compare with instead of the host's name; NULL = that */
	char *ca_file, *ca_dir, *ca_text; /* NULL: the system's */
	char *cert_file, *key_file, *key_password;
	char *ciphers;
	int min_version, max_version; /* TLS1_2_VERSION, TLS1_3_VERSION; 0 = 1.2, the newest */
};

/* Who asks: each has rules of its own in Celery. */
enum tls_use { TLS_FOR_REDIS_BROKER, TLS_FOR_REDIS_BACKEND, TLS_FOR_AMQP };

/* `o` is all zero before; to be cleared in any case. `setting` is "true", "false", the text of a
 * JSON object, or NULL. For a backend the URL's options are added to the setting's, for a broker
 * they replace them. Errors name the key. */
int tls_options_read(struct tls_options *o, enum tls_use use, const char *setting,
		     const struct url *url, struct err *err);
/* The same, and what follows for this URL: 1 = TLS (o->verify is decided), 0 = in clear, -1 = what
 * Celery refuses, or what would be in clear although TLS was asked for. */
int tls_options_decide(struct tls_options *o, enum tls_use use, const char *setting,
		       const struct url *url, struct err *err);
/* The ssl_... of a URL's query as an object, kombu's way; NULL when there are none. */
json_t *tls_options_query(const struct url *url);
void tls_options_clear(struct tls_options *o);
/* For `smallage check`: "verified (name and chain, CA /etc/ca.pem), client certificate /etc/c.pem".
 */
void tls_options_describe(const struct tls_options *o, struct str *out);

#endif

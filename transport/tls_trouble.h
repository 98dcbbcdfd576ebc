/*
 * What went wrong with a TLS connection, in words that say what to do: which certificate, what of
 * it, which setting. Internal to transport/stream_tls.c.
 */
#ifndef TRANSPORT_TLS_TROUBLE_H
#define TRANSPORT_TLS_TROUBLE_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"
#include "transport/tls_options.h"

struct tls_trouble {
	SSL *ssl;
	const struct tls_options *options;
	char *host; /* who the certificate must be for */
	bool has_looked, is_no_tls;
	bool is_certificate_wanted; /* the server asked for ours and we have none */
	bool has_data;		    /* the server has sent something of its protocol */
	char verify[400];	    /* what is wrong with the server's certificate */
};

bool tls_is_address(const char *host);
/* `options` must stay. */
void tls_trouble_init(struct tls_trouble *t, SSL *ssl, const struct tls_options *options,
		      const char *host);
void tls_trouble_clear(struct tls_trouble *t);
/* The first bytes of the server. */
void tls_trouble_look(struct tls_trouble *t, const char *data, size_t len);
/* For SSL_set_verify and SSL_CTX_set_client_cert_cb; the SSL's app data is its tls_trouble. */
int tls_trouble_verify(int is_ok, X509_STORE_CTX *store);
int tls_trouble_certificate_wanted(SSL *ssl, X509 **ret_cert, EVP_PKEY **ret_key);
/* After an SSL_get_error that is not SSL_ERROR_WANT_READ. */
void tls_trouble_explain(const struct tls_trouble *t, int ssl_error, struct err *err);
/* When the connection just ended (an errno value). */
void tls_trouble_explain_end(const struct tls_trouble *t, int code, struct err *err);

#endif

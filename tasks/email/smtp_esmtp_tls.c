/* TLS for the libesmtp engine: what libesmtp's own context gets wrong. */
#include <arpa/inet.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "tasks/email/smtp_esmtp.h"

static int on_verify(int is_ok, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct link *link = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	if (!is_ok)
		snprintf(link->tls_error, sizeof(link->tls_error), "%s",
			 X509_verify_cert_error_string(X509_STORE_CTX_get_error(store)));
	return is_ok;
}

/* libesmtp sends no server name; this comes before the first handshake message is made. */
static void on_handshake(const SSL *ssl, int where, int value)
{
	const struct link *link = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));

	(void)value;
	if (where == SSL_CB_HANDSHAKE_START)
		(void)SSL_set_tlsext_host_name((SSL *)(uintptr_t)ssl,
					       (void *)(uintptr_t)link->server.host);
}

static bool is_ip(const char *host)
{
	struct in_addr unused;

	return inet_pton(AF_INET, host, &unused) == 1;
}

/* What certificates are checked against. False with tls_error set when that cannot be had. */
static bool set_verification(struct link *link, SSL_CTX *ctx)
{
	const struct smtp_server *server = &link->server;
	X509_VERIFY_PARAM *param = SSL_CTX_get0_param(ctx);

	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, on_verify);
	if (!(is_ip(server->host) ? X509_VERIFY_PARAM_set1_ip_asc(param, server->host)
				  : X509_VERIFY_PARAM_set1_host(param, server->host, 0)))
		snprintf(link->tls_error, sizeof(link->tls_error), "cannot check for this host");
	else if (!(server->ca_file ? SSL_CTX_load_verify_locations(ctx, server->ca_file, NULL)
				   : SSL_CTX_set_default_verify_paths(ctx)))
		snprintf(link->tls_error, sizeof(link->tls_error), "cannot read the CA file %s",
			 server->ca_file ? server->ca_file : "of the system");
	return link->tls_error[0] == '\0';
}

static bool set_certificate(struct link *link, SSL_CTX *ctx)
{
	const char *cert = link->server.cert_file;
	const char *key = link->server.key_file ? link->server.key_file : cert;

	if (!cert)
		return true;
	if (SSL_CTX_use_certificate_chain_file(ctx, cert) != 1)
		snprintf(link->tls_error, sizeof(link->tls_error),
			 "cannot use the certificate in %s", cert);
	else if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		snprintf(link->tls_error, sizeof(link->tls_error), "cannot use the key in %s", key);
	return link->tls_error[0] == '\0';
}

SSL_CTX *link_tls_context(struct link *link)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx) {
		snprintf(link->tls_error, sizeof(link->tls_error), "no memory for TLS");
		return NULL;
	}
	SSL_CTX_set_app_data(ctx, link);
	SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ctx, TLS1_2_VERSION);
	if (!is_ip(link->server.host))
		SSL_CTX_set_info_callback(ctx, on_handshake);
	if ((link->server.has_verify && !set_verification(link, ctx)) ||
	    !set_certificate(link, ctx)) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

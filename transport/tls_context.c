#include "transport/tls_context.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "transport/tls_trouble.h"

#define SESSION_HOST_MAX 256
#define FILES		 3

struct tls_context {
	struct tls_options options;
	SSL_CTX *ctx;
	struct stat files[FILES]; /* as they were when they were read */
	SSL_SESSION *session;	  /* of the last connection, to session_host */
	char session_host[SESSION_HOST_MAX];
};

/* OpenSSL's reason of the last failure. */
static const char *reason(void)
{
	const char *text = ERR_reason_error_string(ERR_peek_last_error());

	ERR_clear_error();
	return text ? text : "not usable";
}

/* OpenSSL says of a missing file no more than "system lib". */
static int check_readable(const char *what, const char *path, struct err *err)
{
	FILE *file = path ? fopen(path, "re") : NULL;

	if (path && !file)
		return err_errno(err, "%s %s", what, path);
	if (file)
		fclose(file);
	return 0;
}

static int load_ca_text(SSL_CTX *ctx, const char *text, struct err *err)
{
	BIO *bio = BIO_new_mem_buf(text, -1);
	X509 *cert;
	int count = 0;

	while (bio && (cert = PEM_read_bio_X509(bio, NULL, NULL, NULL))) {
		X509_STORE_add_cert(SSL_CTX_get_cert_store(ctx), cert);
		X509_free(cert);
		count++;
	}
	BIO_free(bio);
	ERR_clear_error(); /* the end of the text is an error too */
	return count ? 0 : err_set(err, ERR_INVALID, "ca_data holds no certificate (PEM)");
}

static int load_cas(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
	if (o->verify == TLS_VERIFY_NONE)
		return 0;
	if (check_readable("ca_certs", o->ca_file, err) != 0 ||
	    check_readable("ca_path", o->ca_dir, err) != 0)
		return -1;
	if (o->ca_file && SSL_CTX_load_verify_file(ctx, o->ca_file) != 1)
		return err_set(err, ERR_INVALID, "ca_certs %s: %s", o->ca_file, reason());
	if (o->ca_dir && SSL_CTX_load_verify_dir(ctx, o->ca_dir) != 1)
		return err_set(err, ERR_INVALID, "ca_path %s: %s", o->ca_dir, reason());
	if (o->ca_text && load_ca_text(ctx, o->ca_text, err) != 0)
		return -1;
	if (!o->ca_file && !o->ca_dir && !o->ca_text && SSL_CTX_set_default_verify_paths(ctx) != 1)
		return err_set(err, ERR_IO, "the system's CA certificates: %s", reason());
	return 0;
}

static int give_password(char *buf, int size, int is_writing, void *password)
{
	int len = password ? (int)strlen(password) : 0;

	(void)is_writing;
	if (len > size)
		return -1;
	memcpy(buf, password ? password : "", (size_t)len);
	return len;
}

static int load_certificate(SSL_CTX *ctx, const struct tls_options *o, struct err *err)
{
	const char *key = o->key_file ? o->key_file : o->cert_file;

	if (!o->cert_file)
		return 0;
	if (check_readable("certfile", o->cert_file, err) != 0 ||
	    check_readable("keyfile", key, err) != 0)
		return -1;
	/* Without a callback OpenSSL would ask on the terminal. */
	SSL_CTX_set_default_passwd_cb(ctx, give_password);
	SSL_CTX_set_default_passwd_cb_userdata(ctx, o->key_password);
	if (SSL_CTX_use_certificate_chain_file(ctx, o->cert_file) != 1)
		return err_set(err, ERR_INVALID, "certfile %s: %s", o->cert_file, reason());
	if (SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
		return err_set(err, ERR_INVALID, "keyfile %s: %s", key, reason());
	if (SSL_CTX_check_private_key(ctx) != 1)
		return err_set(err, ERR_INVALID, "keyfile %s does not belong to certfile %s", key,
			       o->cert_file);
	return 0;
}

/* Called when a server has given a session: with TLS 1.3 that is after the handshake. */
static int session_given(SSL *ssl, SSL_SESSION *session)
{
	struct tls_context *c = SSL_CTX_get_app_data(SSL_get_SSL_CTX(ssl));
	const char *host = ((const struct tls_trouble *)SSL_get_app_data(ssl))->host;

	if (strlen(host) >= sizeof(c->session_host) || SSL_get_SSL_CTX(ssl) != c->ctx)
		return 0;
	SSL_SESSION_free(c->session);
	c->session = session; /* ours now */
	memcpy(c->session_host, host, strlen(host) + 1);
	return 1;
}

static SSL_CTX *context_load(struct tls_context *c, struct err *err)
{
	const struct tls_options *o = &c->options;
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());

	if (!ctx) {
		err_set(err, ERR_INTERNAL, "TLS: %s", reason());
		return NULL;
	}
	SSL_CTX_set_app_data(ctx, c);
	SSL_CTX_set_min_proto_version(ctx, o->min_version ? o->min_version : TLS1_2_VERSION);
	SSL_CTX_set_max_proto_version(ctx, o->max_version);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION);
	SSL_CTX_set_client_cert_cb(ctx, tls_trouble_certificate_wanted);
	SSL_CTX_set_session_cache_mode(ctx,
				       SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
	SSL_CTX_sess_set_new_cb(ctx, session_given);
	if (load_cas(ctx, o, err) == 0 && load_certificate(ctx, o, err) == 0 &&
	    (!o->ciphers || SSL_CTX_set_cipher_list(ctx, o->ciphers) == 1))
		return ctx;
	if (o->ciphers)
		err_set(err, ERR_INVALID, "ciphers: %s", reason());
	SSL_CTX_free(ctx);
	return NULL;
}

/* True when they are not what they were; `files` is what they are now. */
static bool files_changed(const struct tls_context *c, struct stat files[FILES])
{
	const char *const paths[FILES] = {c->options.ca_file, c->options.cert_file,
					  c->options.key_file};
	bool is_changed = false;

	for (size_t i = 0; i < FILES; i++) {
		const struct stat *was = &c->files[i];

		files[i] = (struct stat){0};
		if (!paths[i] || stat(paths[i], &files[i]) != 0)
			continue;
		is_changed |= was->st_ino != files[i].st_ino || was->st_size != files[i].st_size ||
			      was->st_mtim.tv_sec != files[i].st_mtim.tv_sec ||
			      was->st_mtim.tv_nsec != files[i].st_mtim.tv_nsec;
	}
	return is_changed;
}

struct tls_context *tls_context_new(struct tls_options *options, struct err *err)
{
	struct tls_context *c = mem_calloc(1, sizeof(*c));

	c->options = *options;
	*options = (struct tls_options){0};
	(void)files_changed(c, c->files);
	c->ctx = context_load(c, err);
	if (c->ctx)
		return c;
	tls_context_free(c);
	return NULL;
}

void tls_context_free(struct tls_context *c)
{
	if (!c)
		return;
	SSL_SESSION_free(c->session);
	SSL_CTX_free(c->ctx);
	tls_options_clear(&c->options);
	free(c);
}

const struct tls_options *tls_context_options(const struct tls_context *c)
{
	return &c->options;
}

SSL_CTX *tls_context_now(struct tls_context *c)
{
	struct stat files[FILES];
	struct err ignored = {0};
	SSL_CTX *renewed;

	if (!files_changed(c, files))
		return c->ctx;
	/* Half written, or the certificate without its key yet: what we have is still good, and the
	 * next connection looks again. */
	renewed = context_load(c, &ignored);
	if (!renewed)
		return c->ctx;
	memcpy(c->files, files, sizeof(c->files));
	SSL_CTX_free(c->ctx); /* connections that use it keep it */
	c->ctx = renewed;
	SSL_SESSION_free(c->session);
	c->session = NULL;
	return c->ctx;
}

SSL_SESSION *tls_context_take_session(struct tls_context *c, const char *host)
{
	SSL_SESSION *session = c->session;

	if (!session || strcmp(c->session_host, host) != 0)
		return NULL;
	/* Of TLS 1.3 each is good for one connection, which brings the next. */
	if (SSL_SESSION_get_protocol_version(session) < TLS1_3_VERSION)
		SSL_SESSION_up_ref(session);
	else
		c->session = NULL;
	return session;
}

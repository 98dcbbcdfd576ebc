#include "transport/stream_tls.h"

#include <errno.h>
#include <limits.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/tls_trouble.h"

/* More than a stream seals at once; what a peer makes us send besides (key updates) is small. */
#define SEALED_MAX ((size_t)4 << 20)

struct stream_tls {
	struct tls_context *context;
	SSL *ssl;
	BIO_METHOD *method;
	char *in; /* from the socket */
	size_t in_start, in_len;
	struct str sealed;
	struct tls_trouble trouble;
};

/* OpenSSL's way to our buffers */

static int bio_read(BIO *bio, char *data, size_t len, size_t *ret_len)
{
	struct stream_tls *t = BIO_get_data(bio);
	size_t have = t->in_len - t->in_start;

	BIO_clear_retry_flags(bio);
	if (have == 0) {
		BIO_set_retry_read(bio);
		return 0;
	}
	*ret_len = len < have ? len : have;
	memcpy(data, t->in + t->in_start, *ret_len);
	t->in_start += *ret_len;
	return 1;
}

static int bio_write(BIO *bio, const char *data, size_t len, size_t *ret_len)
{
	struct stream_tls *t = BIO_get_data(bio);

	BIO_clear_retry_flags(bio);
	*ret_len = len;
	return str_add(&t->sealed, data, len) == 0;
}

static long bio_control(BIO *bio, int what, long number, void *arg)
{
	(void)bio;
	(void)number;
	(void)arg;
	return what == BIO_CTRL_FLUSH;
}

static void bio_attach(struct stream_tls *t)
{
	BIO *bio;

	t->method = BIO_meth_new(BIO_TYPE_SOURCE_SINK, "stream");
	BIO_meth_set_read_ex(t->method, bio_read);
	BIO_meth_set_write_ex(t->method, bio_write);
	BIO_meth_set_ctrl(t->method, bio_control);
	bio = BIO_new(t->method);
	BIO_set_data(bio, t);
	BIO_set_init(bio, 1);
	SSL_set_bio(t->ssl, bio, bio);
}

/* Who the server must be */

static void expect_host(struct stream_tls *t)
{
	const struct tls_options *o = tls_context_options(t->context);
	X509_VERIFY_PARAM *param = SSL_get0_param(t->ssl);
	char *host = t->trouble.host; /* the macro of OpenSSL takes no const */
	bool is_address = tls_is_address(host);

	if (!is_address) /* the protocol has no addresses here */
		SSL_set_tlsext_host_name(t->ssl, host);
	if (o->verify == TLS_VERIFY_NONE)
		return;
	SSL_set_verify(t->ssl, SSL_VERIFY_PEER, tls_trouble_verify);
	X509_VERIFY_PARAM_set_hostflags(param, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	if (o->is_any_name)
		return;
	if (is_address)
		X509_VERIFY_PARAM_set1_ip_asc(param, host);
	else
		X509_VERIFY_PARAM_set1_host(param, host, 0);
}

static void reuse_session(struct stream_tls *t)
{
	SSL_SESSION *session = tls_context_take_session(t->context, t->trouble.host);

	if (session)
		SSL_set_session(t->ssl, session);
	SSL_SESSION_free(session);
}

struct stream_tls *stream_tls_new(struct tls_context *context, const char *host)
{
	const struct tls_options *o = tls_context_options(context);
	struct stream_tls *t = mem_calloc(1, sizeof(*t));

	t->context = context;
	t->in = mem_alloc(STREAM_TLS_READ_SIZE);
	str_init(&t->sealed, SEALED_MAX);
	t->ssl = SSL_new(tls_context_now(context));
	if (!t->ssl)
		abort(); /* no memory */
	tls_trouble_init(&t->trouble, t->ssl, o, o->server_name ? o->server_name : host);
	bio_attach(t);
	expect_host(t);
	reuse_session(t);
	SSL_set_connect_state(t->ssl);
	return t;
}

void stream_tls_free(struct stream_tls *t)
{
	if (!t)
		return;
	SSL_free(t->ssl);
	BIO_meth_free(t->method);
	tls_trouble_clear(&t->trouble);
	str_clear(&t->sealed);
	free(t->in);
	free(t);
}

/* Bytes */

char *stream_tls_room(struct stream_tls *t)
{
	t->in_start = t->in_len = 0;
	return t->in;
}

void stream_tls_feed(struct stream_tls *t, size_t len)
{
	t->in_len = len;
	tls_trouble_look(&t->trouble, t->in, len);
}

struct str *stream_tls_sealed(struct stream_tls *t)
{
	return &t->sealed;
}

/* 0 when it is only that more has to come in. */
static int failed(struct stream_tls *t, int rc, struct err *err)
{
	int what = SSL_get_error(t->ssl, rc);

	if (what == SSL_ERROR_WANT_READ)
		return 0;
	tls_trouble_explain(&t->trouble, what, err);
	ERR_clear_error();
	return -1;
}

int stream_tls_handshake(struct stream_tls *t, struct err *err)
{
	int rc;

	ERR_clear_error(); /* SSL_get_error looks at it */
	rc = SSL_do_handshake(t->ssl);
	return rc == 1 ? 1 : failed(t, rc, err);
}

ssize_t stream_tls_read(struct stream_tls *t, char *data, size_t room, struct err *err)
{
	int got;

	ERR_clear_error();
	got = SSL_read(t->ssl, data, room < INT_MAX ? (int)room : INT_MAX);
	if (got <= 0)
		return failed(t, got, err);
	t->trouble.has_data = true;
	return got;
}

int stream_tls_write(struct stream_tls *t, const char *data, size_t len, struct err *err)
{
	while (len > 0) {
		int chunk = len < INT_MAX ? (int)len : INT_MAX;
		int done;

		ERR_clear_error();
		done = SSL_write(t->ssl, data, chunk);
		if (done <= 0) {
			(void)failed(t, done, err);
			return err_set(err, ERR_INTERNAL, "TLS: nothing can be written");
		}
		data += done;
		len -= (size_t)done;
	}
	return 0;
}

void stream_tls_end(struct stream_tls *t)
{
	ERR_clear_error();
	if (SSL_is_init_finished(t->ssl))
		(void)SSL_shutdown(t->ssl);
	ERR_clear_error();
}

void stream_tls_explain(const struct stream_tls *t, int code, struct err *err)
{
	tls_trouble_explain_end(&t->trouble, code, err);
}

/* A server of one test that speaks TLS (OpenSSL, blocking, in a thread): one connection after the
 * other, each is sent back what it sends. */
#ifndef TESTS_UNIT_SUPPORT_TLS_PEER_H
#define TESTS_UNIT_SUPPORT_TLS_PEER_H

#include <arpa/inet.h>
#include <check.h>
#include <netinet/in.h>
#include <openssl/ssl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/support/tls_files.h"

enum tls_peer_mode {
	TLS_PEER_ECHO,
	TLS_PEER_NO_TLS,     /* greets in clear */
	TLS_PEER_SILENT,     /* reads and says nothing */
	TLS_PEER_CLOSES,     /* after the first bytes */
	TLS_PEER_NEW_KEYS,   /* echo, with new keys asked for at each turn */
	TLS_PEER_SENDS_JUNK, /* after the first bytes inside TLS, in clear */
	TLS_PEER_ENDS,	     /* after the first bytes inside TLS, with a goodbye */
};

struct tls_peer {
	enum tls_peer_mode mode;
	int listener, port;
	SSL_CTX *ctx;
	pthread_t thread;
	atomic_uint accepted, refused, resumed, goodbyes;
	char name[64];	 /* SNI of the last connection */
	char client[64]; /* the client certificate's name */
};

static inline void tls_peer_greet(struct tls_peer *p, int fd)
{
	char text[512];

	if (p->mode == TLS_PEER_NO_TLS)
		(void)!write(fd, "AMQP\0\0\11\1", 8);
	(void)!read(fd, text, sizeof(text));
	while (p->mode == TLS_PEER_SILENT && read(fd, text, sizeof(text)) > 0)
		;
}

static inline void tls_peer_note(struct tls_peer *p, SSL *ssl)
{
	X509 *cert = SSL_get1_peer_certificate(ssl);
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	snprintf(p->name, sizeof(p->name), "%s", name ? name : "");
	p->client[0] = '\0';
	if (cert)
		X509_NAME_get_text_by_NID(X509_get_subject_name(cert), NID_commonName, p->client,
					  sizeof(p->client));
	X509_free(cert);
	p->resumed += SSL_session_reused(ssl) != 0;
	p->accepted++;
}

static inline void tls_peer_serve(struct tls_peer *p, int fd)
{
	static char data[65536];
	SSL *ssl = SSL_new(p->ctx);
	int got;

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) != 1) {
		p->refused++;
		SSL_free(ssl);
		return;
	}
	tls_peer_note(p, ssl);
	while ((got = SSL_read(ssl, data, sizeof(data))) > 0) {
		if (p->mode == TLS_PEER_NEW_KEYS)
			SSL_key_update(ssl, SSL_KEY_UPDATE_REQUESTED);
		if (p->mode == TLS_PEER_SENDS_JUNK)
			(void)!write(fd, "-ERR this is no record", 22);
		else if (p->mode == TLS_PEER_ENDS)
			break;
		else if (SSL_write(ssl, data, got) <= 0)
			break;
	}
	p->goodbyes += SSL_get_error(ssl, got) == SSL_ERROR_ZERO_RETURN;
	if (p->mode == TLS_PEER_ENDS)
		SSL_shutdown(ssl);
	SSL_free(ssl);
}

static inline void *tls_peer_run(void *arg)
{
	struct tls_peer *p = arg;
	int fd;

	while ((fd = accept(p->listener, NULL, NULL)) >= 0) {
		if (p->mode == TLS_PEER_NO_TLS || p->mode == TLS_PEER_SILENT ||
		    p->mode == TLS_PEER_CLOSES)
			tls_peer_greet(p, fd);
		else
			tls_peer_serve(p, fd);
		close(fd);
	}
	return NULL;
}

/* With FOLDER/NAME.pem and .key; p->ctx may be changed before tls_peer_start. */
static inline void tls_peer_init(struct tls_peer *p, const char *folder, const char *name)
{
	char path[128];

	memset(p, 0, sizeof(*p));
	p->ctx = SSL_CTX_new(TLS_server_method());
	tls_path(path, folder, name, "pem");
	ck_assert_int_eq(SSL_CTX_use_certificate_chain_file(p->ctx, path), 1);
	tls_path(path, folder, name, "key");
	ck_assert_int_eq(SSL_CTX_use_PrivateKey_file(p->ctx, path, SSL_FILETYPE_PEM), 1);
	SSL_CTX_set_session_id_context(p->ctx, (const unsigned char *)"test", 4);
}

static inline void tls_peer_want_certificate(struct tls_peer *p, const char *folder,
					     const char *ca_name)
{
	char path[128];

	tls_path(path, folder, ca_name, "pem");
	SSL_CTX_set_verify(p->ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
	ck_assert_int_eq(SSL_CTX_load_verify_file(p->ctx, path), 1);
}

static inline void tls_peer_start(struct tls_peer *p)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	p->listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(p->listener, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(p->listener, 4), 0);
	ck_assert_int_eq(getsockname(p->listener, (struct sockaddr *)&address, &len), 0);
	p->port = ntohs(address.sin_port);
	ck_assert_int_eq(pthread_create(&p->thread, NULL, tls_peer_run, p), 0);
}

/* After the last connection was closed. */
static inline void tls_peer_stop(struct tls_peer *p)
{
	shutdown(p->listener, SHUT_RDWR);
	pthread_join(p->thread, NULL);
	close(p->listener);
	SSL_CTX_free(p->ctx);
}

#endif

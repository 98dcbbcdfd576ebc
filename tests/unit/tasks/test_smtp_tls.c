/* STARTTLS and implicit TLS with both SMTP engines, against an encrypted peer with a certificate
 * made here. */
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <auth-client.h>

#include "tasks/email/buf.c"
#include "tasks/email/smtp.c"
#include "tasks/email/smtp_curl.c"
#define kept	kept_link
#define begins	esmtp_begins
#define explain esmtp_explain
#define on_read esmtp_on_read
#include "tasks/email/smtp_esmtp.c"
#include "tasks/email/smtp_esmtp_session.c"
#include "tasks/email/smtp_esmtp_tls.c"
#include "tasks/email/smtp_pipeline.c"

#include <arpa/inet.h>
#include <check.h>

static const char *const engines[] = {"auto", "esmtp", "curl"};
#define EACH_ENGINE(engine) for (size_t e_ = 0; e_ < 3 && ((engine) = engines[e_]); e_++)

/* The encrypted peer: takes one connection after the other until it is stopped. */
static struct {
	SSL_CTX *ctx;
	bool is_implicit, must_inject;
	_Atomic int mails, batches; /* MAILs with more behind them in the same record */
	const char *certified;	    /* names in the certificate */
	char name[100];		    /* the server name a client asked for */
	char port[8], ca_file[40], key_file[40];
	bool wants_certificate;
	int listener;
	pthread_t thread;
} peer;

static int on_name(SSL *ssl, int *alert, void *arg)
{
	const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

	(void)alert, (void)arg;
	snprintf(peer.name, sizeof(peer.name), "%s", name ? name : "");
	return SSL_TLSEXT_ERR_OK;
}

/* A self-signed certificate for localhost and 127.0.0.1, which is also the CA file. */
static void make_certificate(void)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	X509 *cert = X509_new();
	X509_EXTENSION *names =
		X509V3_EXT_conf_nid(NULL, NULL, NID_subject_alt_name,
				    peer.certified ? peer.certified : "DNS:localhost,IP:127.0.0.1");
	FILE *file;
	int fd;

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), 1);
	X509_gmtime_adj(X509_getm_notBefore(cert), -60);
	X509_gmtime_adj(X509_getm_notAfter(cert), 3600);
	X509_set_pubkey(cert, key);
	X509_NAME_add_entry_by_txt(X509_get_subject_name(cert), "CN", MBSTRING_ASC,
				   (const unsigned char *)"peer", -1, -1, 0);
	X509_set_issuer_name(cert, X509_get_subject_name(cert));
	X509_add_ext(cert, names, -1);
	X509_sign(cert, key, EVP_sha256());
	peer.ctx = SSL_CTX_new(TLS_server_method());
	SSL_CTX_use_certificate(peer.ctx, cert);
	SSL_CTX_use_PrivateKey(peer.ctx, key);
	SSL_CTX_set_tlsext_servername_callback(peer.ctx, on_name);
	snprintf(peer.ca_file, sizeof(peer.ca_file), "/tmp/smtp-ca-XXXXXX");
	fd = mkstemp(peer.ca_file);
	file = fdopen(fd, "w");
	PEM_write_X509(file, cert);
	fclose(file);
	snprintf(peer.key_file, sizeof(peer.key_file), "/tmp/smtp-key-XXXXXX");
	fd = mkstemp(peer.key_file);
	file = fdopen(fd, "w");
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
	if (peer.wants_certificate) { /* it takes its own */
		SSL_CTX_set_verify(peer.ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT,
				   NULL);
		SSL_CTX_load_verify_file(peer.ctx, peer.ca_file);
	}
	X509_EXTENSION_free(names);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static void say(int fd, SSL *ssl, const char *text)
{
	if (ssl)
		SSL_write(ssl, text, (int)strlen(text));
	else
		(void)!write(fd, text, strlen(text));
}

/* One line without its end; false when the connection is over. */
static bool hear(int fd, SSL *ssl, char *line, size_t size)
{
	size_t len = 0;
	char c;

	while ((ssl ? SSL_read(ssl, &c, 1) : (int)read(fd, &c, 1)) == 1) {
		if (c == '\n')
			break;
		if (c != '\r' && len + 1 < size)
			line[len++] = c;
		else if (c != '\r')
			return false;
		line[len] = '\0';
	}
	line[len] = '\0';
	return len > 0 || c == '\n';
}

static SSL *encrypt(int fd)
{
	SSL *ssl = SSL_new(peer.ctx);

	SSL_set_fd(ssl, fd);
	if (SSL_accept(ssl) == 1)
		return ssl;
	SSL_free(ssl);
	return NULL;
}

static void take_mail(int fd, SSL *ssl)
{
	char line[1000];

	say(fd, ssl, "354 go on\r\n");
	while (hear(fd, ssl, line, sizeof(line)) && strcmp(line, ".") != 0)
		;
	peer.mails++;
	say(fd, ssl, "250 taken\r\n");
}

static void serve(int fd)
{
	SSL *ssl = peer.is_implicit ? encrypt(fd) : NULL;
	char line[1000];

	if (peer.is_implicit && !ssl)
		return;
	say(fd, ssl, "220 peer\r\n");
	while (hear(fd, ssl, line, sizeof(line))) {
		if (strncmp(line, "EHLO", 4) == 0) {
			say(fd, ssl,
			    ssl ? "250-peer\r\n250 PIPELINING\r\n"
				: "250-peer\r\n250 STARTTLS\r\n");
		} else if (strcmp(line, "STARTTLS") == 0) {
			say(fd, ssl,
			    peer.must_inject ? "220 go\r\n250 injected\r\n" : "220 go\r\n");
			ssl = encrypt(fd);
			if (!ssl)
				return;
		} else if (strncmp(line, "MAIL", 4) == 0) {
			peer.batches += ssl && SSL_pending(ssl) > 0;
			say(fd, ssl, "250 ok\r\n");
		} else if (strcmp(line, "DATA") == 0) {
			take_mail(fd, ssl);
		} else {
			say(fd, ssl, "250 ok\r\n");
		}
		if (strcmp(line, "QUIT") == 0)
			break;
	}
	SSL_free(ssl);
}

static void *peer_run(void *arg)
{
	int fd;

	(void)arg;
	while ((fd = accept(peer.listener, NULL, NULL)) >= 0) {
		serve(fd);
		close(fd);
	}
	return NULL;
}

static void peer_start(void)
{
	struct sockaddr_in sin = {.sin_family = AF_INET};
	socklen_t len = sizeof(sin);

	peer.mails = peer.batches = 0;
	peer.name[0] = '\0';
	make_certificate();
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	peer.listener = socket(AF_INET, SOCK_STREAM, 0);
	ck_assert_int_eq(bind(peer.listener, (struct sockaddr *)&sin, sizeof(sin)), 0);
	ck_assert_int_eq(listen(peer.listener, 10), 0);
	getsockname(peer.listener, (struct sockaddr *)&sin, &len);
	snprintf(peer.port, sizeof(peer.port), "%d", ntohs(sin.sin_port));
	pthread_create(&peer.thread, NULL, peer_run, NULL);
}

static void peer_stop(void)
{
	shutdown(peer.listener, SHUT_RDWR);
	pthread_join(peer.thread, NULL);
	close(peer.listener);
	SSL_CTX_free(peer.ctx);
	unlink(peer.ca_file);
	unlink(peer.key_file);
}

static bool never(void *arg)
{
	(void)arg;
	return false;
}

/* Sends `count` mails and returns how the last one ended. */
static enum smtp_end send_with(const char *engine, const char *host, enum smtp_tls tls,
			       bool has_verify, bool has_ca, int count, const char *cert,
			       const char *key)
{
	static const char *const recipients[] = {"a@b.c"};
	struct smtp_mail mail = {"s@b.c", recipients, 1, "Subject: x\r\n\r\nx\r\n", 17};
	struct smtp_server to = {.host = host,
				 .port = peer.port,
				 .tls = tls,
				 .has_verify = has_verify,
				 .ca_file = has_ca ? peer.ca_file : NULL,
				 .cert_file = cert,
				 .key_file = key,
				 .timeout_ms = 5000,
				 .idle_ms = 5000};
	struct smtp_reply reply;
	struct smtp_result ret = {.recipients = &reply};
	struct smtp_patience patience = {never, NULL};

	signal(SIGPIPE, SIG_IGN); /* the peer's */
	for (int i = 0; i < count; i++)
		smtp_send(engine, &to, &mail, &patience, &ret);
	smtp_close();
	return ret.end;
}

static enum smtp_end send_mails(const char *engine, const char *host, enum smtp_tls tls,
				bool has_verify, bool has_ca, int count)
{
	return send_with(engine, host, tls, has_verify, has_ca, count, NULL, NULL);
}

START_TEST(a_server_that_wants_a_certificate_is_shown_ours)
{
	const char *engine;

	peer.wants_certificate = true;
	EACH_ENGINE(engine)
	{
		peer_start();
		ck_assert_int_ne(send_mails(engine, "localhost", SMTP_TLS_REQUIRED, true, true, 1),
				 SMTP_SENT);
		ck_assert_int_eq(send_with(engine, "localhost", SMTP_TLS_REQUIRED, true, true, 2,
					   peer.ca_file, peer.key_file),
				 SMTP_SENT);
		ck_assert_int_eq(send_with(engine, "localhost", SMTP_TLS_REQUIRED, true, true, 1,
					   "/nowhere/cert.pem", NULL),
				 SMTP_TLS_FAILED);
		peer_stop();
		ck_assert_int_eq(peer.mails, 2);
	}
	peer.wants_certificate = false;
}
END_TEST

START_TEST(mails_go_encrypted_over_one_connection)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		peer_start();
		ck_assert_int_eq(send_mails(engine, "localhost", SMTP_TLS_REQUIRED, true, true, 3),
				 SMTP_SENT);
		peer_stop();
		ck_assert_int_eq(peer.mails, 3);
		ck_assert_int_eq(peer.batches, strcmp(engine, "auto") == 0 ? 2 : 0);
		ck_assert_str_eq(peer.name, "localhost");
	}
}
END_TEST

/* libesmtp's cached context was used after being freed, from the second session on. */
START_TEST(many_sessions_one_after_the_other) /* timeout 30 */
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		peer_start();
		for (int i = 0; i < 30; i++)
			ck_assert_int_eq(
				send_mails(engine, "127.0.0.1", SMTP_TLS_AUTO, true, true, 1),
				SMTP_SENT);
		peer_stop();
		ck_assert_int_eq(peer.mails, 30);
	}
}
END_TEST

START_TEST(a_certificate_nobody_signed_is_refused)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		peer_start();
		ck_assert_int_eq(send_mails(engine, "localhost", SMTP_TLS_AUTO, true, false, 1),
				 SMTP_TLS_FAILED);
		ck_assert_int_eq(peer.mails, 0);
		ck_assert_int_eq(send_mails(engine, "localhost", SMTP_TLS_AUTO, false, false, 1),
				 SMTP_SENT);
		peer_stop();
	}
}
END_TEST

START_TEST(a_certificate_of_another_name_is_refused)
{
	const char *engine;

	peer.certified = "DNS:other.example,IP:127.0.0.2";
	EACH_ENGINE(engine)
	{
		peer_start();
		ck_assert_int_eq(send_mails(engine, "localhost", SMTP_TLS_REQUIRED, true, true, 1),
				 SMTP_TLS_FAILED);
		ck_assert_int_eq(send_mails(engine, "127.0.0.1", SMTP_TLS_REQUIRED, true, true, 1),
				 SMTP_TLS_FAILED);
		peer_stop();
		ck_assert_int_eq(peer.mails, 0);
	}
	peer.certified = NULL;
}
END_TEST

START_TEST(without_a_readable_ca_file_nothing_is_sent)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		peer_start();
		unlink(peer.ca_file);
		ck_assert_int_eq(send_mails(engine, "localhost", SMTP_TLS_AUTO, true, true, 1),
				 SMTP_TLS_FAILED);
		peer_stop();
		ck_assert_int_eq(peer.mails, 0);
	}
}
END_TEST

START_TEST(answers_slipped_in_before_the_encryption_are_refused)
{
	const char *engine;

	peer.must_inject = true;
	EACH_ENGINE(engine)
	{
		peer_start();
		ck_assert_int_ne(send_mails(engine, "localhost", SMTP_TLS_REQUIRED, true, true, 1),
				 SMTP_SENT);
		peer_stop();
		ck_assert_int_eq(peer.mails, 0);
	}
	peer.must_inject = false;
}
END_TEST

START_TEST(implicit_tls_goes_by_libcurl)
{
	peer.is_implicit = true;
	peer_start();
	ck_assert_int_eq(send_mails("auto", "localhost", SMTP_TLS_IMPLICIT, true, true, 2),
			 SMTP_SENT);
	peer_stop();
	ck_assert_int_eq(peer.mails, 2);
	peer.is_implicit = false;
}
END_TEST

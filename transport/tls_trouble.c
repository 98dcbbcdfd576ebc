#include "transport/tls_trouble.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/str.h"

#define NAMES_MAX  8 /* of a certificate that are shown */
#define RECORD_MIN 0x14
#define RECORD_MAX 0x17

bool tls_is_address(const char *host)
{
	unsigned char address[sizeof(struct in6_addr)];

	return inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1;
}

void tls_trouble_init(struct tls_trouble *t, SSL *ssl, const struct tls_options *options,
		      const char *host)
{
	t->ssl = ssl;
	t->options = options;
	t->host = mem_strdup(host);
	SSL_set_app_data(ssl, (char *)t);
}

void tls_trouble_clear(struct tls_trouble *t)
{
	free(t->host);
}

void tls_trouble_look(struct tls_trouble *t, const char *data, size_t len)
{
	if (t->has_looked || len == 0)
		return;
	t->has_looked = true;
	t->is_no_tls = data[0] < RECORD_MIN || data[0] > RECORD_MAX;
}

int tls_trouble_certificate_wanted(SSL *ssl, X509 **ret_cert, EVP_PKEY **ret_key)
{
	struct tls_trouble *t = (struct tls_trouble *)SSL_get_app_data(ssl);

	(void)ret_cert;
	(void)ret_key;
	t->is_certificate_wanted = true;
	return 0; /* we have none, go on without */
}

/* The server's certificate */

/* What comes from a stranger goes to a log: printable characters only. */
static void add_printable(struct str *out, const char *text, size_t len)
{
	for (size_t i = 0; i < len && len < 256; i++)
		str_addc(out, text[i] > ' ' && text[i] < 0x7f ? text[i] : '?');
}

static void add_name(struct str *out, const X509_NAME *name)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	if (!bio)
		return;
	X509_NAME_print_ex(bio, name, 0, XN_FLAG_RFC2253 & ~ASN1_STRFLGS_ESC_QUOTE);
	len = BIO_get_mem_data(bio, &text);
	str_add(out, text, len > 0 && len < 120 ? (size_t)len : 0);
	BIO_free(bio);
}

static void add_time(struct str *out, const ASN1_TIME *time)
{
	BIO *bio = BIO_new(BIO_s_mem());
	char *text;
	long len;

	if (!bio)
		return;
	ASN1_TIME_print(bio, time);
	len = BIO_get_mem_data(bio, &text);
	str_add(out, text, len > 0 ? (size_t)len : 0);
	BIO_free(bio);
}

static void add_address(struct str *out, const ASN1_OCTET_STRING *address)
{
	char text[INET6_ADDRSTRLEN] = "?";
	int len = ASN1_STRING_length(address);

	if (len == 4 || len == 16)
		inet_ntop(len == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(address), text,
			  sizeof(text));
	str_puts(out, text);
}

/* Who the certificate is for. */
static void add_holders(struct str *out, const X509 *cert)
{
	GENERAL_NAMES *names = X509_get_ext_d2i(cert, NID_subject_alt_name, NULL, NULL);
	int shown = 0;

	for (int i = 0; i < sk_GENERAL_NAME_num(names) && shown < NAMES_MAX; i++) {
		const GENERAL_NAME *name = sk_GENERAL_NAME_value(names, i);

		if (name->type != GEN_DNS && name->type != GEN_IPADD)
			continue;
		str_puts(out, shown++ > 0 ? ", " : "");
		if (name->type == GEN_IPADD)
			add_address(out, name->d.iPAddress);
		else
			add_printable(out, (const char *)ASN1_STRING_get0_data(name->d.dNSName),
				      (size_t)ASN1_STRING_length(name->d.dNSName));
	}
	if (shown == 0)
		add_name(out, X509_get_subject_name(cert));
	GENERAL_NAMES_free(names);
}

static void add_trust(struct str *out, const struct tls_options *o)
{
	if (o->ca_file || o->ca_dir)
		str_addf(out, "the CAs in %s", o->ca_file ? o->ca_file : o->ca_dir);
	else
		str_puts(out, o->ca_text ? "ca_data"
					 : "the system's CAs (give its CA's file as ca_certs)");
}

static void describe(const struct tls_trouble *t, int code, const X509 *cert, struct str *out)
{
	switch (code) {
	case X509_V_ERR_CERT_HAS_EXPIRED:
		str_puts(out, "the certificate ");
		add_name(out, X509_get_subject_name(cert));
		str_puts(out, " expired on ");
		add_time(out, X509_get0_notAfter(cert));
		return;
	case X509_V_ERR_CERT_NOT_YET_VALID:
		str_puts(out, "the certificate ");
		add_name(out, X509_get_subject_name(cert));
		str_puts(out, " is not valid before ");
		add_time(out, X509_get0_notBefore(cert));
		str_puts(out, " (is this machine's clock right?)");
		return;
	case X509_V_ERR_HOSTNAME_MISMATCH:
	case X509_V_ERR_IP_ADDRESS_MISMATCH:
		str_puts(out, "wrong host: the certificate is for ");
		add_holders(out, cert);
		str_addf(out,
			 ", not for %s (server_hostname says whom to expect; "
			 "ssl_check_hostname=false takes any)",
			 t->host);
		return;
	case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
	case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
	case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
	case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
		str_puts(out, "unknown CA: the certificate's issuer ");
		add_name(out, X509_get_issuer_name(cert));
		str_puts(out, " is not among ");
		add_trust(out, t->options);
		return;
	default:
		str_addf(out, "the certificate is refused: %s",
			 X509_verify_cert_error_string(code));
	}
}

int tls_trouble_verify(int is_ok, X509_STORE_CTX *store)
{
	const SSL *ssl = X509_STORE_CTX_get_ex_data(store, SSL_get_ex_data_X509_STORE_CTX_idx());
	struct tls_trouble *t = (struct tls_trouble *)SSL_get_app_data(ssl);
	const X509 *cert = X509_STORE_CTX_get_current_cert(store);
	auto_str text = STR_INIT(sizeof(t->verify) - 1);

	if (is_ok || t->verify[0])
		return is_ok;
	if (cert)
		describe(t, X509_STORE_CTX_get_error(store), cert, &text);
	snprintf(t->verify, sizeof(t->verify), "%s",
		 text.data ? text.data : "the server has no certificate");
	return 0;
}

/* The end of it all */

static bool is_about_our_certificate(int reason)
{
	static const int reasons[] = {
		SSL_R_TLSV1_ALERT_UNKNOWN_CA,	       SSL_R_SSLV3_ALERT_BAD_CERTIFICATE,
		SSL_R_SSLV3_ALERT_CERTIFICATE_UNKNOWN, SSL_R_SSLV3_ALERT_CERTIFICATE_EXPIRED,
		SSL_R_SSLV3_ALERT_CERTIFICATE_REVOKED, SSL_R_SSLV3_ALERT_UNSUPPORTED_CERTIFICATE,
	};

	for (size_t i = 0; i < sizeof(reasons) / sizeof(reasons[0]); i++)
		if (reasons[i] == reason)
			return true;
	return false;
}

static int want_certificate(struct err *err)
{
	return err_set(err, ERR_REFUSED,
		       "TLS: the server wants a client certificate: give certfile and keyfile");
}

static int explain_reason(const struct tls_trouble *t, unsigned long code, struct err *err)
{
	const char *text = ERR_reason_error_string(code);
	int reason = ERR_GET_REASON(code);

	if (reason == SSL_R_TLSV13_ALERT_CERTIFICATE_REQUIRED ||
	    (t->is_certificate_wanted &&
	     (reason == SSL_R_SSLV3_ALERT_HANDSHAKE_FAILURE || is_about_our_certificate(reason))))
		return want_certificate(err);
	if (is_about_our_certificate(reason))
		return err_set(err, ERR_REFUSED, "TLS: the server refused our certificate%s%s: %s",
			       t->options->cert_file ? " " : "",
			       t->options->cert_file ? t->options->cert_file : "",
			       text ? text : "no reason given");
	if (reason == SSL_R_TLSV1_ALERT_PROTOCOL_VERSION || reason == SSL_R_UNSUPPORTED_PROTOCOL ||
	    reason == SSL_R_NO_PROTOCOLS_AVAILABLE)
		return err_set(err, ERR_REFUSED, "TLS: no version that both sides allow (ours: %s)",
			       t->options->min_version == TLS1_3_VERSION   ? "1.3"
			       : t->options->max_version == TLS1_2_VERSION ? "1.2"
									   : "1.2 and 1.3");
	return err_set(err, ERR_IO, "TLS: %s", text ? text : "the connection failed");
}

void tls_trouble_explain(const struct tls_trouble *t, int ssl_error, struct err *err)
{
	if (t->verify[0])
		err_set(err, ERR_REFUSED, "TLS: %s", t->verify);
	else if (t->is_no_tls)
		err_set(err, ERR_PROTOCOL, "the server speaks no TLS on this port");
	else if (ssl_error == SSL_ERROR_ZERO_RETURN)
		tls_trouble_explain_end(t, 0, err);
	else
		explain_reason(t, ERR_peek_error(), err);
}

void tls_trouble_explain_end(const struct tls_trouble *t, int code, struct err *err)
{
	if (!t->has_data && t->is_certificate_wanted)
		err_set(err, ERR_REFUSED,
			"TLS: the server ended the connection; it had asked for a client "
			"certificate: give certfile and keyfile");
	else if (!SSL_is_init_finished(t->ssl))
		err_set(err, ERR_IO,
			"TLS: the server ended the connection%s (does it speak TLS on this port?)",
			t->has_looked ? " in the handshake" : " before it answered");
	else if (code == 0)
		err_set(err, ERR_IO, "connection lost: ended by the server");
}

/* A signer of its own: a key and a certificate as PEM texts. */
#ifndef TESTS_UNIT_PROTOCOL_AUTH_SIGNER_H
#define TESTS_UNIT_PROTOCOL_AUTH_SIGNER_H

#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>

#include "base/str.h"

struct signer {
	struct str key, certificate;
};

static inline void signer_take(struct str *out, BIO *bio)
{
	char *data;
	long len = BIO_get_mem_data(bio, &data);

	str_init(out, 1 << 16);
	str_add(out, data, (size_t)len);
	BIO_free(bio);
}

static inline void signer_certify(struct signer *s, EVP_PKEY *key, const char *name, long serial,
				  long seconds)
{
	X509 *x509 = X509_new();
	BIO *bio = BIO_new(BIO_s_mem());

	X509_set_version(x509, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(x509), serial);
	X509_gmtime_adj(X509_getm_notBefore(x509), -3600);
	X509_gmtime_adj(X509_getm_notAfter(x509), seconds);
	X509_set_pubkey(x509, key);
	X509_NAME_add_entry_by_txt(X509_get_issuer_name(x509), "CN", MBSTRING_UTF8,
				   (const unsigned char *)name, -1, -1, 0);
	X509_sign(x509, key, EVP_sha256());
	PEM_write_bio_X509(bio, x509);
	X509_free(x509);
	signer_take(&s->certificate, bio);
}

static inline void signer_make(struct signer *s, const char *name, long serial, long seconds)
{
	EVP_PKEY *key = EVP_RSA_gen(2048);
	BIO *bio = BIO_new(BIO_s_mem());

	PEM_write_bio_PrivateKey(bio, key, NULL, NULL, 0, NULL, NULL);
	signer_take(&s->key, bio);
	signer_certify(s, key, name, serial, seconds);
	EVP_PKEY_free(key);
}

static inline void signer_clear(struct signer *s)
{
	str_clear(&s->key);
	str_clear(&s->certificate);
}

#endif

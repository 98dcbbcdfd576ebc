/* Certificates of one test: a CA of its own and what it signs, as PEM files in a folder. */
#ifndef TESTS_UNIT_SUPPORT_TLS_FILES_H
#define TESTS_UNIT_SUPPORT_TLS_FILES_H

#include <check.h>
#include <openssl/ec.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <stdio.h>

#include "tests/unit/support/temp_folder.h"

#define TLS_DAY 86400L

struct tls_ca {
	X509 *cert;
	EVP_PKEY *key;
};

static inline void tls_path(char path[128], const char *folder, const char *name, const char *end)
{
	snprintf(path, 128, "%s/%s.%s", folder, name, end);
}

static inline void tls_extend(X509 *cert, X509 *issuer, int what, const char *value)
{
	X509V3_CTX ctx;
	X509_EXTENSION *extension;

	X509V3_set_ctx(&ctx, issuer, cert, NULL, NULL, 0);
	extension = X509V3_EXT_conf_nid(NULL, &ctx, what, value);
	ck_assert_msg(extension != NULL, "bad extension %s", value);
	X509_add_ext(cert, extension, -1);
	X509_EXTENSION_free(extension);
}

/* Valid from and to so many seconds from now; `ca` NULL = signed by itself. */
static inline X509 *tls_sign(const struct tls_ca *ca, EVP_PKEY *key, const char *name,
			     const char *holders, long from_s, long to_s)
{
	static long serial = 1;
	X509 *cert = X509_new();
	X509_NAME *subject = X509_get_subject_name(cert);

	X509_set_version(cert, 2);
	ASN1_INTEGER_set(X509_get_serialNumber(cert), serial++);
	X509_gmtime_adj(X509_getm_notBefore(cert), from_s);
	X509_gmtime_adj(X509_getm_notAfter(cert), to_s);
	X509_NAME_add_entry_by_txt(subject, "CN", MBSTRING_ASC, (const unsigned char *)name, -1, -1,
				   0);
	X509_set_issuer_name(cert, ca ? X509_get_subject_name(ca->cert) : subject);
	X509_set_pubkey(cert, key);
	tls_extend(cert, ca ? ca->cert : cert, NID_basic_constraints,
		   holders ? "critical,CA:FALSE" : "critical,CA:TRUE");
	if (holders && holders[0])
		tls_extend(cert, ca ? ca->cert : cert, NID_subject_alt_name, holders);
	ck_assert_int_gt(X509_sign(cert, ca ? ca->key : key, EVP_sha256()), 0);
	return cert;
}

static inline void tls_write(const char *folder, const char *name, X509 *cert, EVP_PKEY *key)
{
	char path[128];
	FILE *file;

	tls_path(path, folder, name, "pem");
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	PEM_write_X509(file, cert);
	fclose(file);
	tls_path(path, folder, name, "key");
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	PEM_write_PrivateKey(file, key, NULL, NULL, 0, NULL, NULL);
	fclose(file);
}

/* Writes NAME.pem and NAME.key. */
static inline void tls_ca_make(struct tls_ca *ca, const char *folder, const char *name)
{
	ca->key = EVP_EC_gen("P-256");
	ca->cert = tls_sign(NULL, ca->key, name, NULL, -TLS_DAY, TLS_DAY);
	tls_write(folder, name, ca->cert, ca->key);
}

static inline void tls_ca_clear(struct tls_ca *ca)
{
	X509_free(ca->cert);
	EVP_PKEY_free(ca->key);
}

/* Writes NAME.pem and NAME.key; `holders` as in "DNS:localhost,IP:127.0.0.1", "" = none. */
static inline void tls_issue_for(const struct tls_ca *ca, const char *folder, const char *name,
				 const char *holders, long from_s, long to_s)
{
	EVP_PKEY *key = EVP_EC_gen("P-256");
	X509 *cert = tls_sign(ca, key, name, holders, from_s, to_s);

	tls_write(folder, name, cert, key);
	X509_free(cert);
	EVP_PKEY_free(key);
}

static inline void tls_issue(const struct tls_ca *ca, const char *folder, const char *name,
			     const char *holders)
{
	tls_issue_for(ca, folder, name, holders, -TLS_DAY, TLS_DAY);
}

#endif

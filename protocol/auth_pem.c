#include <limits.h>
#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/auth_impl.h"

#define ID_MAX 2048

static BIO *open_text(const struct str *pem)
{
	return pem->len > 0 && pem->len <= INT_MAX ? BIO_new_mem_buf(pem->data, (int)pem->len)
						   : NULL;
}

X509 *auth_read_certificate(const struct str *pem, struct err *err)
{
	BIO *text = open_text(pem);
	X509 *x509 = text ? PEM_read_bio_X509(text, NULL, NULL, NULL) : NULL;
	EVP_PKEY *key = x509 ? X509_get0_pubkey(x509) : NULL;

	BIO_free(text);
	ERR_clear_error();
	if (!x509) {
		err_set(err, ERR_INVALID, "Invalid certificate: no PEM form");
	} else if (!key || EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
		err_set(err, ERR_INVALID, "Non-RSA certificates are not supported.");
		X509_free(x509);
		x509 = NULL;
	}
	return x509;
}

/* Without one nobody is asked at the terminal. */
static int give_password(char *buf, int size, int is_writing, void *ctx)
{
	const char *password = ctx;
	size_t len = password ? strlen(password) : 0;

	(void)is_writing;
	if (!password || len >= (size_t)size)
		return -1;
	snprintf(buf, (size_t)size, "%s", password);
	return (int)len;
}

EVP_PKEY *auth_read_key(const struct str *pem, const char *password, struct err *err)
{
	BIO *text = open_text(pem);
	EVP_PKEY *key = text ? PEM_read_bio_PrivateKey(text, NULL, give_password,
						       (void *)(uintptr_t)password)
			     : NULL;

	BIO_free(text);
	ERR_clear_error();
	if (!key) {
		err_set(err, ERR_INVALID,
			"Invalid private key: no PEM form, or another password is needed");
	} else if (EVP_PKEY_get_base_id(key) != EVP_PKEY_RSA) {
		err_set(err, ERR_INVALID, "Non-RSA keys are not supported.");
		EVP_PKEY_free(key);
		key = NULL;
	}
	return key;
}

static void add_issuer(struct str *out, const X509 *x509)
{
	const X509_NAME *issuer = X509_get_issuer_name(x509);

	for (int i = 0; i < X509_NAME_entry_count(issuer); i++) {
		const X509_NAME_ENTRY *entry = X509_NAME_get_entry(issuer, i);
		unsigned char *utf8 = NULL;
		int len = ASN1_STRING_to_UTF8(&utf8, X509_NAME_ENTRY_get_data(entry));

		if (i)
			str_addc(out, ' ');
		if (len > 0)
			str_add(out, utf8, (size_t)len);
		OPENSSL_free(utf8);
	}
}

char *auth_certificate_id(const X509 *x509, struct err *err)
{
	auto_str id = STR_INIT(ID_MAX);
	BIGNUM *number = ASN1_INTEGER_to_BN(X509_get0_serialNumber(x509), NULL);
	char *serial = number ? BN_bn2dec(number) : NULL;

	add_issuer(&id, x509);
	str_addc(&id, ' ');
	str_puts(&id, serial ? serial : "");
	OPENSSL_free(serial);
	BN_free(number);
	if (id.is_full || strlen(id.data) != id.len) {
		err_set(err, ERR_INVALID, "the certificate's issuer cannot be a signer's name");
		return NULL;
	}
	return mem_dup(id.data, id.len);
}

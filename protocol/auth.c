#include "protocol/auth.h"

#include <openssl/bn.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rsa.h>
#include <openssl/x509.h>
#include <stdlib.h>
#include <string.h>

#include "base/map.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/auth_impl.h"
#include "protocol/pyjson_impl.h"

static const char separator[] = {0, 1};

struct auth {
	const EVP_MD *digest;
	EVP_PKEY *key;
	char *signer;	     /* its certificate's id */
	struct map *trusted; /* of X509, by id */
};

struct auth *auth_new(const char *digest, struct err *err)
{
	auto_free char *name = mem_strdup(digest);
	struct auth *auth;
	const EVP_MD *md;

	/* Python says sha3_256 and sha512_256 */
	for (char *p = strchr(name, '_'); p; p = strchr(p, '_'))
		*p = '-';
	md = EVP_get_digestbyname(name);
	if (!md) {
		err_set(err, ERR_INVALID, "'%.60s' is no digest; the usual one is sha256", digest);
		return NULL;
	}
	auth = mem_calloc(1, sizeof(*auth));
	auth->digest = md;
	auth->trusted = map_new();
	return auth;
}

void auth_free(struct auth *auth)
{
	if (!auth)
		return;
	for (struct map_entry *e = map_first(auth->trusted); e; e = map_next(e))
		X509_free(map_value(e));
	map_free(auth->trusted);
	EVP_PKEY_free(auth->key);
	free(auth->signer);
	free(auth);
}

int auth_set_signer(struct auth *auth, const struct str *key, const char *password,
		    const struct str *certificate, struct err *err)
{
	X509 *x509 = auth_read_certificate(certificate, err);
	bool fits = false;

	if (!x509)
		return -1;
	auth->signer = auth_certificate_id(x509, err);
	auth->key = auth->signer ? auth_read_key(key, password, err) : NULL;
	fits = auth->key && X509_check_private_key(x509, auth->key) == 1;
	if (auth->key && !fits)
		err_set(err, ERR_INVALID, "the key is not that of the certificate");
	X509_free(x509);
	ERR_clear_error();
	return fits ? 0 : -1;
}

static bool has_expired(const X509 *x509)
{
	return X509_cmp_current_time(X509_get0_notAfter(x509)) <= 0;
}

int auth_trust(struct auth *auth, const struct str *certificate, struct err *err)
{
	X509 *x509 = auth_read_certificate(certificate, err);
	auto_free char *id = x509 ? auth_certificate_id(x509, err) : NULL;
	int result = -1;

	if (!id)
		result = -1;
	else if (has_expired(x509))
		pyjson_fail(err, ERR_INVALID, "Expired certificate: '%.200s'", id);
	else if (map_has(auth->trusted, id))
		pyjson_fail(err, ERR_INVALID, "Duplicate certificate: '%.200s'", id);
	else
		result = 0;
	if (result == 0)
		map_put(auth->trusted, id, x509);
	else
		X509_free(x509);
	return result;
}

/* Signatures */

/* The padding of both ways: PSS, as long a salt as fits, the digest for everything. */
static int set_padding(EVP_PKEY_CTX *context, const EVP_MD *digest)
{
	return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1 &&
			       EVP_PKEY_CTX_set_rsa_mgf1_md(context, digest) == 1 &&
			       EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_MAX) == 1
		       ? 0
		       : -1;
}

static int verify(const struct auth *auth, const struct span *signer, const struct span *signature,
		  const struct span *body, struct err *err)
{
	auto_free char *id = mem_dup(signer->data, signer->len);
	X509 *x509 = strlen(id) == signer->len ? map_get(auth->trusted, id) : NULL;
	EVP_PKEY_CTX *context;
	EVP_MD_CTX *md;
	bool is_good;

	if (!x509)
		return pyjson_fail(err, ERR_REFUSED, "Unknown certificate: '%.200s'", id);
	if (has_expired(x509))
		return pyjson_fail(err, ERR_REFUSED, "Expired certificate: '%.200s'", id);
	md = EVP_MD_CTX_new();
	is_good = md &&
		  EVP_DigestVerifyInit(md, &context, auth->digest, NULL, X509_get0_pubkey(x509)) ==
			  1 &&
		  set_padding(context, auth->digest) == 0 &&
		  EVP_DigestVerify(md, (const unsigned char *)signature->data, signature->len,
				   (const unsigned char *)body->data, body->len) == 1;
	EVP_MD_CTX_free(md);
	ERR_clear_error();
	return is_good ? 0 : pyjson_fail(err, ERR_REFUSED, "Bad signature of '%.200s'", id);
}

/* The bytes before the next separator, of which there must be one. */
static int cut(struct span *rest, struct span *ret)
{
	const char *at = memmem(rest->data, rest->len, separator, sizeof(separator));

	if (!at)
		return -1;
	*ret = (struct span){rest->data, (size_t)(at - rest->data)};
	rest->len -= ret->len + sizeof(separator);
	rest->data = at + sizeof(separator);
	return 0;
}

int auth_open(const struct auth *auth, struct str *raw, struct auth_content *ret, const char *data,
	      size_t len, struct err *err)
{
	auto_str signer = STR_INIT(4096);
	auto_str signature = STR_INIT(65536);
	struct err why = {0};
	struct span rest;

	if (base64_decode(raw, data, len, &why) < 0)
		return err_set(err, why.code, "auth: %s", why.text);
	rest = (struct span){raw->len ? raw->data : "", raw->len};
	if (cut(&rest, &ret->signer) < 0 || cut(&rest, &ret->signature) < 0 ||
	    cut(&rest, &ret->type) < 0 || cut(&rest, &ret->encoding) < 0)
		return err_set(err, ERR_INVALID, "auth: the body is not signed");
	ret->body = rest;
	if (!auth)
		return 0;
	if (base64_decode(&signer, ret->signer.data, ret->signer.len, &why) < 0 ||
	    base64_decode(&signature, ret->signature.data, ret->signature.len, &why) < 0)
		return err_set(err, why.code, "auth: %s", why.text);
	const struct span id = {signer.len ? signer.data : "", signer.len};
	const struct span bytes = {signature.len ? signature.data : "", signature.len};

	return verify(auth, &id, &bytes, &ret->body, err) < 0 ? err_prefix(err, "auth: ") : 0;
}

static int sign(const struct auth *auth, struct str *signature, const struct str *body,
		struct err *err)
{
	size_t len = (size_t)EVP_PKEY_get_size(auth->key);
	char *to = str_reserve(signature, len);
	EVP_MD_CTX *md = EVP_MD_CTX_new();
	EVP_PKEY_CTX *context;
	bool is_good = to && md &&
		       EVP_DigestSignInit(md, &context, auth->digest, NULL, auth->key) == 1 &&
		       set_padding(context, auth->digest) == 0 &&
		       EVP_DigestSign(md, (unsigned char *)to, &len,
				      (const unsigned char *)(body->len ? body->data : ""),
				      body->len) == 1;

	EVP_MD_CTX_free(md);
	ERR_clear_error();
	if (!is_good)
		return err_set(err, ERR_INTERNAL, "auth: cannot sign");
	str_commit(signature, len);
	return 0;
}

int auth_seal(const struct auth *auth, struct str *out, const char *type, const char *encoding,
	      const struct str *body, struct err *err)
{
	auto_str signature = STR_INIT(65536);
	auto_str fields = STR_INIT(STR_MAX_DEFAULT);

	if (sign(auth, &signature, body, err) < 0)
		return -1;
	base64_encode(&fields, auth->signer, strlen(auth->signer));
	str_add(&fields, separator, sizeof(separator));
	base64_encode(&fields, signature.data, signature.len);
	str_add(&fields, separator, sizeof(separator));
	str_puts(&fields, type);
	str_add(&fields, separator, sizeof(separator));
	str_puts(&fields, encoding);
	str_add(&fields, separator, sizeof(separator));
	str_add(&fields, body->data, body->len);
	if (fields.is_full || base64_encode(out, fields.data, fields.len) < 0)
		return err_set(err, ERR_LIMIT, "auth: the body is too large");
	return 0;
}

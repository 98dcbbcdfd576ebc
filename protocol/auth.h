/*
 * Signed bodies (serializer `auth`): base64 of signer, signature, inner type, inner encoding and
 * inner body. RSA with PSS padding over the inner body. Sources: celery/security/serialization.py,
 * certificate.py, key.py. contract: tasks.md 2.4.
 *
 * The one thing in protocol/ that asks the clock: a certificate is good until it expires.
 */
#ifndef PROTOCOL_AUTH_H
#define PROTOCOL_AUTH_H

#include "base/err.h"
#include "base/str.h"
#include "protocol/value.h"

struct auth;

/* `digest` is one of Python's names: "sha256". */
struct auth *auth_new(const char *digest, struct err *err);
void auth_free(struct auth *auth); /* NULL is allowed */
/* Who we are: a private key (PEM, with a password or NULL) and its certificate. */
int auth_set_signer(struct auth *auth, const struct str *key, const char *password,
		    const struct str *certificate, struct err *err);
/* Whom we believe. An expired certificate, and one that is there already, are errors. */
int auth_trust(struct auth *auth, const struct str *certificate, struct err *err);

/* What is inside of a body; the spans point into `raw`. */
struct auth_content {
	struct span signer, signature, type, encoding, body;
};
/* Takes a body apart; `raw` gets its bytes. With `auth` its signature must be good. */
int auth_open(const struct auth *auth, struct str *raw, struct auth_content *ret, const char *data,
	      size_t len, struct err *err);
/* Appends the signed form of a body. */
int auth_seal(const struct auth *auth, struct str *out, const char *type, const char *encoding,
	      const struct str *body, struct err *err);

#endif

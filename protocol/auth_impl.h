/* Certificates and keys out of PEM texts. Inside protocol/ only. */
#ifndef PROTOCOL_AUTH_IMPL_H
#define PROTOCOL_AUTH_IMPL_H

#include <openssl/evp.h>
#include <openssl/x509.h>

#include "base/err.h"
#include "base/str.h"

/* RSA only, as Celery. NULL with `err` set. */
X509 *auth_read_certificate(const struct str *pem, struct err *err);
EVP_PKEY *auth_read_key(const struct str *pem, const char *password, struct err *err);
/* Values of the issuer's attributes and the serial number, with spaces between. To be freed. */
char *auth_certificate_id(const X509 *x509, struct err *err);

#endif

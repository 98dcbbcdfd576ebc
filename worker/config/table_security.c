/* Settings of signed messages. */
#include "worker/config/config.h"
#include "worker/config/table_rows.h"

const struct config_row config_rows_security[] = {
	{.name = "security_key",
	 .type = CONFIG_TEXT,
	 .field = FIELD(security_key),
	 .old = {"CELERY_SECURITY_KEY"},
	 .help = "File of the private key (PEM, RSA) that signs what is sent, with task_serializer "
		 "and accept_content both auth."},
	{.name = "security_key_password",
	 .type = CONFIG_TEXT,
	 .field = FIELD(security_key_password),
	 .flags = CONFIG_SECRET,
	 .help = "Password of that key."},
	{.name = "security_certificate",
	 .type = CONFIG_TEXT,
	 .field = FIELD(security_certificate),
	 .old = {"CELERY_SECURITY_CERTIFICATE"},
	 .help = "File of its certificate (PEM)."},
	{.name = "security_cert_store",
	 .type = CONFIG_TEXT,
	 .field = FIELD(security_cert_store),
	 .old = {"CELERY_SECURITY_CERT_STORE"},
	 .help = "Folder or pattern (/etc/celery/*.pem) of the certificates whose messages are "
		 "run."},
	{.name = "security_digest",
	 .type = CONFIG_TEXT,
	 .field = FIELD(security_digest),
	 .fallback = "sha256",
	 .help = "Digest of signatures; the same everywhere."},
};
const size_t config_rows_security_count =
	sizeof(config_rows_security) / sizeof(config_rows_security[0]);

#include "tasks/email/settings.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

const struct sm_setting_def email_settings[] = {
	{"email_enabled", "EMAIL_ENABLED", "False",
	 "send mails; when off, tasks succeed with the status \"suppressed\"", false},
	{"email_host", "EMAIL_HOST", "localhost", "SMTP server", false},
	{"email_port", "EMAIL_PORT", "587", "its port", false},
	{"email_host_user", "EMAIL_HOST_USER", "", "user name for AUTH; empty = none", false},
	{"email_host_password", "EMAIL_HOST_PASSWORD", "", "password for AUTH", true},
	{"email_from_address", "EMAIL_FROM_ADDRESS", "", "sender when a task names none", false},
	{"email_from_name", "EMAIL_FROM_NAME", "",
	 "display name of the sender; also app_name in templates", false},
	{"email_use_tls", "EMAIL_USE_TLS", "auto",
	 "STARTTLS: true, false, or auto (when offered; always when a user is set)", false},
	{"email_use_ssl", "EMAIL_USE_SSL", "auto",
	 "TLS from the first byte: true, false, or auto (on port 465)", false},
	{"email_verify", "EMAIL_VERIFY", "true", "check the server's certificate and name", false},
	{"email_ca_file", "EMAIL_CA_FILE", "", "PEM file of trusted CAs instead of the system's",
	 false},
	{"email_ssl_certfile", "EMAIL_SSL_CERTFILE", "",
	 "PEM file of our certificate, for servers that want one", false},
	{"email_ssl_keyfile", "EMAIL_SSL_KEYFILE", "", "its key; empty = in the same file", false},
	{"email_timeout", "EMAIL_TIMEOUT", "30", "seconds for each step of an SMTP session", false},
	{"email_idle_seconds", "EMAIL_IDLE_SECONDS", "30",
	 "how long an unused SMTP connection is kept", false},
	{"email_engine", "EMAIL_ENGINE", "auto", "SMTP client library: auto, esmtp, curl", false},
	{"email_max_retries", "EMAIL_MAX_RETRIES", "5",
	 "how often a mail is tried again after a temporary failure", false},
	{"email_retry_delay", "EMAIL_RETRY_DELAY", "10",
	 "seconds before the first retry; doubled for each further one, at most 600", false},
	{"email_base_url", "EMAIL_BASE_URL", "http://localhost:8000",
	 "what links in mails begin with", false},
	{"email_reset_path", "EMAIL_RESET_PATH",
	 "/reset-password?token=", "link of the password reset mail; the token is appended", false},
	{"email_verify_path", "EMAIL_VERIFY_PATH",
	 "/verify-email?token=", "link of the verification mail; the token is appended", false},
	{"email_ip_confirm_path", "EMAIL_IP_CONFIRM_PATH", "/security/ip/confirm?token=",
	 "\"it was me\" link of the new address mail; w_token is appended", false},
	{"email_ip_block_path", "EMAIL_IP_BLOCK_PATH", "/security/ip/block?token=",
	 "\"it was not me\" link of the new address mail; b_token is appended", false},
	{NULL, NULL, NULL, NULL, false},
};

static const char *get_from_job(const void *arg, const char *name)
{
	return sm_setting(arg, name);
}

struct setting_source settings_of_job(const struct sm_job *job)
{
	return (struct setting_source){get_from_job, job};
}

static bool is_true(const char *value)
{
	return strcasecmp(value, "true") == 0 || strcasecmp(value, "yes") == 0 ||
	       strcasecmp(value, "on") == 0 || strcmp(value, "1") == 0;
}

static bool is_auto(const char *value)
{
	return value[0] == '\0' || strcasecmp(value, "auto") == 0;
}

bool setting_bool(const struct setting_source *from, const char *name)
{
	return is_true(from->get(from->arg, name));
}

double setting_number(const struct setting_source *from, const char *name, double least)
{
	double value = strtod(from->get(from->arg, name), NULL);

	return value >= least && value < 1e7 ? value : least;
}

static const char *text_or_null(const struct setting_source *from, const char *name)
{
	const char *value = from->get(from->arg, name);

	return value[0] ? value : NULL;
}

static enum smtp_tls choose_tls(const struct setting_source *from, const struct smtp_server *server)
{
	const char *ssl = from->get(from->arg, "email_use_ssl");
	const char *tls = from->get(from->arg, "email_use_tls");

	if (is_true(ssl) || (is_auto(ssl) && strcmp(server->port, "465") == 0))
		return SMTP_TLS_IMPLICIT;
	if (is_true(tls))
		return SMTP_TLS_REQUIRED;
	if (!is_auto(tls))
		return SMTP_TLS_NEVER;
	/* A password goes over an encrypted connection unless somebody says otherwise. */
	return server->user ? SMTP_TLS_REQUIRED : SMTP_TLS_AUTO;
}

void settings_server(const struct setting_source *from, struct smtp_server *ret)
{
	*ret = (struct smtp_server){
		.host = from->get(from->arg, "email_host"),
		.port = from->get(from->arg, "email_port"),
		.user = text_or_null(from, "email_host_user"),
		.password = from->get(from->arg, "email_host_password"),
		.ca_file = text_or_null(from, "email_ca_file"),
		.cert_file = text_or_null(from, "email_ssl_certfile"),
		.key_file = text_or_null(from, "email_ssl_keyfile"),
		.has_verify = setting_bool(from, "email_verify"),
		.timeout_ms = (int)(setting_number(from, "email_timeout", 0.1) * 1000),
		.idle_ms = (int)(setting_number(from, "email_idle_seconds", 0) * 1000),
	};
	ret->tls = choose_tls(from, ret);
}

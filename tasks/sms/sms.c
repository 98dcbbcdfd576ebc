/* The plug-in's face, and its one task. */
#include <smallage/task.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/random.h>

#include "tasks/sms/provider.h"

#define TEXT_MAX_CHARACTERS 1600 /* Twilio's limit for Body */
#define RETRY_DELAY_MAX_S   600

static const struct sms_provider *const providers[] = {&provider_log, &provider_twilio};
#define PROVIDER_COUNT (sizeof(providers) / sizeof(providers[0]))

static const struct sm_setting_def settings[] = {
	{"sms_enabled", "SMS_ENABLED", "True",
	 "send text messages; when off, tasks succeed with the status \"suppressed\"", false},
	{"sms_provider", "SMS_PROVIDER", "log", "who carries text messages: log, twilio", false},
	{"sms_max_retries", "SMS_MAX_RETRIES", "5",
	 "how often a message is tried again after a temporary failure", false},
	{"sms_retry_delay", "SMS_RETRY_DELAY", "10",
	 "seconds before the first retry; doubled for each further one, at most 600", false},
	{"sms_verify", "SMS_VERIFY", "true", "check the provider's certificate and name", false},
	{"sms_ca_file", "SMS_CA_FILE", "", "PEM file of trusted CAs instead of the system's",
	 false},
	{"sms_ssl_certfile", "SMS_SSL_CERTFILE", "",
	 "PEM file of our certificate, for a gateway that wants one", false},
	{"sms_ssl_keyfile", "SMS_SSL_KEYFILE", "", "its key; empty = in the same file", false},
	{"twilio_account_sid", "TWILIO_ACCOUNT_SID", "", "Twilio account", false},
	{"twilio_auth_token", "TWILIO_AUTH_TOKEN", "", "its token", true},
	{"twilio_from_number", "TWILIO_FROM_NUMBER", "", "sender when a task names none", false},
	{"twilio_messaging_service_sid", "TWILIO_MESSAGING_SERVICE_SID", "",
	 "messaging service that chooses the sender; goes before twilio_from_number", false},
	{"twilio_api_base", "TWILIO_API_BASE", "https://api.twilio.com", "where Twilio's API is",
	 false},
	{NULL, NULL, NULL, NULL, false},
};

static const struct sms_provider *provider_find(const char *name)
{
	for (size_t i = 0; i < PROVIDER_COUNT; i++)
		if (strcasecmp(providers[i]->name, name) == 0)
			return providers[i];
	return NULL;
}

bool sms_is_last_try(const struct sm_job *job)
{
	return sm_retries(job) >= strtol(sm_setting(job, "sms_max_retries"), NULL, 10);
}

double sms_countdown(const struct sm_job *job, double hint_s)
{
	double delay = strtod(sm_setting(job, "sms_retry_delay"), NULL);
	unsigned short dice = 0;

	if (!(delay >= 0))
		delay = 0;
	for (int i = 0; i < sm_retries(job) && delay < RETRY_DELAY_MAX_S; i++)
		delay *= 2;
	if (delay > RETRY_DELAY_MAX_S)
		delay = RETRY_DELAY_MAX_S;
	if (getrandom(&dice, sizeof(dice), GRND_NONBLOCK) < 0)
		dice = 0;
	delay = delay / 2 + delay / 2 * dice / 65535;
	return delay > hint_s ? delay : hint_s;
}

/* +, then 2 to 15 digits of which the first is not 0. */
static bool is_e164(const char *number)
{
	size_t digits;

	if (number[0] != '+' || number[1] < '1' || number[1] > '9')
		return false;
	digits = strspn(number + 1, "0123456789");
	return digits >= 2 && digits <= 15 && number[1 + digits] == '\0';
}

/* A number, or an alphanumeric sender of up to 11 characters. */
static bool is_sender(const char *sender)
{
	size_t len = strspn(sender, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
				    "0123456789 +-_&.");

	return is_e164(sender) || (len > 0 && len <= 11 && sender[len] == '\0');
}

static json_t *send_sms(struct sm_job *job)
{
	const struct sms_provider *provider = provider_find(sm_setting(job, "sms_provider"));
	const char *enabled = sm_setting(job, "sms_enabled");
	const json_t *message = sm_json(job, "message");
	struct sms sms = {.to = sm_str(job, "to"),
			  .sender = sm_str(job, "sender"),
			  .text = sm_str(job, "message")};

	if (!is_e164(sms.to))
		return sm_raise(job, "ValueError",
				"to: '%.40s' is no E.164 number (+ and up to 15 digits)", sms.to);
	if (sms.sender && !is_sender(sms.sender))
		return sm_raise(job, "ValueError",
				"sender: '%.40s' is neither a number nor a "
				"short name",
				sms.sender);
	if (json_is_string(message) && strlen(sms.text) != json_string_length(message))
		return sm_raise(job, "ValueError", "message: NUL is not allowed");
	segments_count(sms.text, &sms.segments);
	if (sms.segments.characters == 0 || sms.segments.characters > TEXT_MAX_CHARACTERS)
		return sm_raise(job, "ValueError", "message: must have 1 to %d characters",
				TEXT_MAX_CHARACTERS);
	if (!provider)
		return sm_raise(job, "ValueError", "sms_provider: unknown provider '%.40s'",
				sm_setting(job, "sms_provider"));
	if (strcasecmp(enabled, "false") == 0 || strcmp(enabled, "0") == 0 ||
	    strcasecmp(enabled, "no") == 0 || strcasecmp(enabled, "off") == 0)
		return json_pack("{s:s, s:s, s:I, s:s, s:i}", "status", "suppressed", "to", sms.to,
				 "segments", (json_int_t)sms.segments.count, "encoding",
				 sms.segments.encoding, "attempts", sm_retries(job) + 1);
	return provider->send(job, &sms);
}

static const struct sm_task send_sms_task = {
	.name = "send_sms_task",
	.signature = "to: str, message: str, sender: str | None = None, tenant_id: any = None, "
		     "**extra",
	.doc = "Sends a text message.",
	.run = send_sms,
	.max_retries = SM_UNLIMITED, /* the setting sms_max_retries decides */
};

static void stop(void)
{
	for (size_t i = 0; i < PROVIDER_COUNT; i++)
		if (providers[i]->stop)
			providers[i]->stop();
}

static int check(const char *(*setting)(const char *name), char *text, size_t size)
{
	const struct sms_provider *provider = provider_find(setting("sms_provider"));

	if (!provider) {
		snprintf(text, size, "sms_provider: unknown provider '%s'",
			 setting("sms_provider"));
		return -1;
	}
	if (provider->check)
		return provider->check(setting, text, size);
	snprintf(text, size, "text messages go to the provider \"%s\"", provider->name);
	return 0;
}

SM_PLUGIN(.name = "sms", .version = "1.0", .tasks = SM_TASKS(&send_sms_task), .settings = settings,
	  .stop = stop, .check = check);

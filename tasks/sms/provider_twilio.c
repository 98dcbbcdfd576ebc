/* Twilio's REST API, POST /2010-04-01/Accounts/{Sid}/Messages.json. */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "tasks/sms/provider.h"

#define ANSWER_MAX ((size_t)256 << 10)
#define TIMEOUT_MS 30000L
#define CONNECT_MS 10000L

/* The calling thread's handle: libcurl keeps the connection in it. */
static _Thread_local CURL *kept;

struct answer {
	char *data;
	size_t len;
};

struct request {
	struct sm_job *job;
	const char *url, *path;
	char *form;
	struct answer answer;
	long status;
	curl_off_t retry_after_s;
	char error[CURL_ERROR_SIZE];
};

static size_t on_data(char *p, size_t size, size_t count, void *arg)
{
	struct answer *answer = arg;
	size_t len = size * count;

	if (answer->len + len > ANSWER_MAX)
		return 0;
	answer->data = realloc(answer->data, answer->len + len + 1);
	if (!answer->data)
		abort();
	memcpy(answer->data + answer->len, p, len);
	answer->len += len;
	answer->data[answer->len] = '\0';
	return len;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	(void)a, (void)b, (void)c, (void)d;
	return sm_expired(arg);
}

static CURL *handle(void)
{
	if (!kept)
		kept = curl_easy_init();
	if (!kept)
		abort();
	curl_easy_reset(kept);
	return kept;
}

/* Reads a setting: of a job, or of `smallage check`. */
struct source {
	const struct sm_job *job;
	const char *(*setting)(const char *name);
};

static const char *source_get(const struct source *from, const char *name)
{
	return from->job ? sm_setting(from->job, name) : from->setting(name);
}

static void set_tls(CURL *curl, const struct source *from)
{
	static const char *const no[] = {"false", "no", "off", "0", "n"};
	const char *verify = source_get(from, "sms_verify");
	const char *ca = source_get(from, "sms_ca_file");
	const char *cert = source_get(from, "sms_ssl_certfile");
	const char *key = source_get(from, "sms_ssl_keyfile");
	bool is_verified = true;

	for (size_t i = 0; i < sizeof(no) / sizeof(no[0]); i++)
		is_verified = is_verified && strcasecmp(verify, no[i]) != 0;
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, (long)is_verified);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, is_verified ? 2L : 0L);
	if (ca[0])
		curl_easy_setopt(curl, CURLOPT_CAINFO, ca);
	if (cert[0]) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, cert);
		curl_easy_setopt(curl, CURLOPT_SSLKEY, key[0] ? key : cert);
	}
}

static void set_common(CURL *curl, const struct source *from)
{
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "https,http");
	curl_easy_setopt(curl, CURLOPT_FOLLOWLOCATION, 0L);
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, CONNECT_MS);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, TIMEOUT_MS);
	curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L);
	set_tls(curl, from);
	curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
	curl_easy_setopt(curl, CURLOPT_USERNAME, source_get(from, "twilio_account_sid"));
	curl_easy_setopt(curl, CURLOPT_PASSWORD, source_get(from, "twilio_auth_token"));
	curl_easy_setopt(curl, CURLOPT_USERAGENT, "smallage/" SMALLAGE_VERSION);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_data);
}

static void form_add(CURL *curl, char **form, const char *name, const char *value)
{
	char *escaped = curl_easy_escape(curl, value, 0), *longer;

	if (!escaped ||
	    asprintf(&longer, "%s%s%s=%s", *form ? *form : "", *form ? "&" : "", name, escaped) < 0)
		abort();
	curl_free(escaped);
	free(*form);
	*form = longer;
}

static CURLcode perform(struct request *r)
{
	CURL *curl = handle();
	struct curl_slist *headers = curl_slist_append(NULL, "Accept: application/json");
	CURLcode code;

	set_common(curl, &(struct source){.job = r->job});
	curl_easy_setopt(curl, CURLOPT_URL, r->url);
	curl_easy_setopt(curl, CURLOPT_POSTFIELDS, r->form);
	curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &r->answer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, r->error);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, r->job);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &r->status);
	curl_easy_getinfo(curl, CURLINFO_RETRY_AFTER, &r->retry_after_s);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	curl_slist_free_all(headers);
	if (code != CURLE_OK && !r->error[0])
		snprintf(r->error, sizeof(r->error), "%s", curl_easy_strerror(code));
	return code;
}

/* No answer: whether the message went out is unknown when the connection broke late; Twilio has no
 * way to ask, so it is tried again. */
static json_t *raise_network(struct sm_job *job, const struct request *r, CURLcode code)
{
	const char *type = code == CURLE_OPERATION_TIMEDOUT ? "TimeoutError"
			   : code == CURLE_COULDNT_CONNECT  ? "ConnectionRefusedError"
							    : "ConnectionError";

	if (code == CURLE_ABORTED_BY_CALLBACK)
		return sm_raise(job, "SoftTimeLimitExceeded", "%s", "");
	if (sms_is_last_try(job))
		return sm_raise(job, type, "twilio: %s", r->error);
	return sm_retry_raise(job, sms_countdown(job, 0), type, "twilio: %s", r->error);
}

/* Error answers are {"code": 21211, "message": "...", "more_info": "...", "status": 400}. */
static json_t *raise_status(struct sm_job *job, const struct request *r, const json_t *answer)
{
	const char *message = json_string_value(json_object_get(answer, "message"));
	json_int_t code = json_integer_value(json_object_get(answer, "code"));
	bool is_temporary = r->status == 429 || r->status >= 500;

	if (!message)
		message = "no error text";
	if (is_temporary && !sms_is_last_try(job))
		return sm_retry_raise(job, sms_countdown(job, (double)r->retry_after_s),
				      "twilio.base.exceptions:TwilioException",
				      "HTTP %ld error: %s (code %lld)", r->status, message,
				      (long long)code);
	return sm_raise_args(job, "twilio.base.exceptions:TwilioRestException",
			     json_pack("[i, s, s, I]", (int)r->status, r->path, message, code));
}

static const char *text_of(const json_t *answer, const char *key, const char *otherwise)
{
	const char *text = json_string_value(json_object_get(answer, key));

	return text ? text : otherwise;
}

static json_t *result_of(struct sm_job *job, const struct sms *sms, const json_t *answer)
{
	/* Twilio counts the segments itself ("1", a string; "0" for a messaging service that
	 * has not chosen yet). */
	long segments = strtol(text_of(answer, "num_segments", "0"), NULL, 10);

	return json_pack("{s:s, s:s, s:s, s:s, s:I, s:s, s:i}", "status",
			 text_of(answer, "status", "accepted"), "to", sms->to, "provider", "twilio",
			 "sid", text_of(answer, "sid", ""), "segments",
			 (json_int_t)(segments > 0 ? segments : (long)sms->segments.count),
			 "encoding", sms->segments.encoding, "attempts", sm_retries(job) + 1);
}

static json_t *finish(struct sm_job *job, const struct sms *sms, const struct request *r)
{
	json_t *answer = r->answer.data ? json_loadb(r->answer.data, r->answer.len, 0, NULL) : NULL;
	json_t *result;

	if (r->status / 100 != 2)
		result = raise_status(job, r, answer);
	else if (!json_is_string(json_object_get(answer, "sid")))
		/* Accepted, but not by what we know as Twilio: not worth sending it twice. */
		result = sm_raise(job, "twilio.base.exceptions:TwilioException",
				  "HTTP %ld without a message sid", r->status);
	else
		result = result_of(job, sms, answer);
	json_decref(answer);
	return result;
}

/* Sender: the task's, else the messaging service, else the number. */
static int add_sender(struct sm_job *job, CURL *curl, const struct sms *sms, char **form)
{
	const char *service = sm_setting(job, "twilio_messaging_service_sid");
	const char *number = sm_setting(job, "twilio_from_number");

	if (sms->sender)
		form_add(curl, form, "From", sms->sender);
	else if (service[0])
		form_add(curl, form, "MessagingServiceSid", service);
	else if (number[0])
		form_add(curl, form, "From", number);
	else
		return -1;
	return 0;
}

/* For the metrics. */
static const char *answer_of(const struct request *r, CURLcode code)
{
	if (code == CURLE_OK && r->status / 100 == 2)
		return "accepted";
	if (code == CURLE_OK)
		return r->status == 429 || r->status >= 500 ? "deferred" : "refused";
	if (code == CURLE_OPERATION_TIMEDOUT)
		return "timeout";
	return code == CURLE_ABORTED_BY_CALLBACK ? "unknown" : "unreachable";
}

static json_t *twilio_send(struct sm_job *job, const struct sms *sms)
{
	const char *base = sm_setting(job, "twilio_api_base");
	const char *sid = sm_setting(job, "twilio_account_sid");
	int len = (int)strlen(base);
	struct request r = {.job = job};
	CURLcode code;
	json_t *result;

	if (!sid[0] || !sm_setting(job, "twilio_auth_token")[0])
		return sm_raise(job, "twilio.base.exceptions:TwilioException",
				"Credentials are required: set twilio_account_sid and "
				"twilio_auth_token");
	while (len && base[len - 1] == '/')
		len--;
	r.path = sm_printf(job, "/2010-04-01/Accounts/%s/Messages.json", sid);
	r.url = sm_printf(job, "%.*s%s", len, base, r.path);
	form_add(handle(), &r.form, "To", sms->to);
	if (add_sender(job, kept, sms, &r.form) < 0) {
		free(r.form);
		return sm_raise(job, "ValueError",
				"sender: none given; set twilio_from_number or "
				"twilio_messaging_service_sid");
	}
	form_add(kept, &r.form, "Body", sms->text);
	code = perform(&r);
	sm_answered(job, "sms", "twilio", answer_of(&r, code));
	result = code == CURLE_OK ? finish(job, sms, &r) : raise_network(job, &r, code);
	free(r.form);
	free(r.answer.data);
	return result;
}

/* Asks for the account, which sends nothing. */
static int twilio_check(const char *(*setting)(const char *name), char *text, size_t size)
{
	struct answer answer = {0};
	char url[400], error[CURL_ERROR_SIZE] = "";
	const char *base = setting("twilio_api_base"), *sid = setting("twilio_account_sid");
	long status = 0;
	CURL *curl = handle();
	CURLcode code;

	snprintf(url, sizeof(url), "%s/2010-04-01/Accounts/%s.json", base, sid);
	set_common(curl, &(struct source){.setting = setting});
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_WRITEDATA, &answer);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, error);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	free(answer.data);
	if (code != CURLE_OK)
		snprintf(text, size, "twilio: %s", error[0] ? error : curl_easy_strerror(code));
	else if (status != 200)
		snprintf(text, size, "twilio: HTTP %ld for the account", status);
	else
		snprintf(text, size, "twilio answers and knows the account");
	return code == CURLE_OK && status == 200 ? 0 : -1;
}

static void twilio_stop(void)
{
	if (kept)
		curl_easy_cleanup(kept);
	kept = NULL;
}

const struct sms_provider provider_twilio = {"twilio", twilio_send, twilio_check, twilio_stop};

/* The libcurl engine: implicit TLS, TLS 1.3, more ways to authenticate. */
#include <curl/curl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tasks/email/smtp.h"

/* The command whose answer comes next, as seen in libcurl's trace. */
enum step { STEP_GREETING, STEP_EHLO, STEP_STARTTLS, STEP_AUTH, STEP_MAIL, STEP_RCPT, STEP_DATA };

/* One transfer. */
struct transfer {
	const struct smtp_mail *mail;
	const struct smtp_patience *patience;
	struct smtp_result *result;
	enum step step;
	struct smtp_reply last;
	size_t sent, recipients;
	bool needs_auth;
	bool is_mail_accepted, is_data_accepted, is_leaving;
};

/* The calling thread's handle: libcurl keeps the connection in it. */
static _Thread_local CURL *kept;
static _Thread_local unsigned mails;
static _Thread_local bool is_authenticated; /* its connection */

static bool begins(const char *p, size_t len, const char *word)
{
	size_t n = strlen(word);

	return len >= n && memcmp(p, word, n) == 0;
}

static void begin_ehlo(struct transfer *t)
{
	t->step = STEP_EHLO;
	is_authenticated = false;
}

static void on_command(struct transfer *t, const char *p, size_t len)
{
	if (begins(p, len, "EHLO") || begins(p, len, "HELO"))
		begin_ehlo(t);
	else if (begins(p, len, "STARTTLS"))
		t->step = STEP_STARTTLS;
	else if (begins(p, len, "AUTH"))
		t->step = STEP_AUTH;
	else if (begins(p, len, "MAIL FROM:"))
		t->step = STEP_MAIL;
	else if (begins(p, len, "RCPT TO:"))
		t->step = STEP_RCPT;
	else if (begins(p, len, "DATA"))
		t->step = STEP_DATA;
	else if (begins(p, len, "QUIT"))
		t->is_leaving = true; /* what is answered now is not about the mail */
}

static void on_reply(struct transfer *t, const char *p, size_t len)
{
	if ((len >= 4 && p[3] == '-') || t->is_leaving)
		return;
	smtp_reply_set(&t->last, p, len);
	if (t->step == STEP_AUTH && t->last.code == 235)
		is_authenticated = true;
	else if (t->step == STEP_MAIL)
		t->is_mail_accepted = t->last.code / 100 == 2;
	else if (t->step == STEP_RCPT && t->recipients < t->mail->count)
		t->result->recipients[t->recipients++] = t->last;
	else if (t->step == STEP_DATA && t->last.code == 354)
		t->is_data_accepted = true;
}

static int on_trace(CURL *curl, curl_infotype type, char *p, size_t len, void *arg)
{
	(void)curl;
	if (type == CURLINFO_HEADER_OUT)
		on_command(arg, p, len);
	else if (type == CURLINFO_HEADER_IN)
		on_reply(arg, p, len);
	return 0;
}

static size_t on_read(char *out, size_t size, size_t count, void *arg)
{
	struct transfer *t = arg;
	size_t len = t->mail->len - t->sent;

	/* libcurl goes on without AUTH when the server offers none. */
	if (t->needs_auth && !is_authenticated)
		return CURL_READFUNC_ABORT;
	if (len > size * count)
		len = size * count;
	memcpy(out, t->mail->data + t->sent, len);
	t->sent += len;
	return len;
}

static size_t on_answer(char *p, size_t size, size_t count, void *arg)
{
	(void)p;
	(void)arg;
	return size * count;
}

static int on_progress(void *arg, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d)
{
	const struct transfer *t = arg;

	(void)a, (void)b, (void)c, (void)d;
	return t->patience && t->patience->is_over(t->patience->arg);
}

static void set_server(CURL *curl, const struct smtp_server *server)
{
	char url[400];
	bool is_ipv6 = strchr(server->host, ':') != NULL;

	snprintf(url, sizeof(url), "%s://%s%s%s:%s",
		 server->tls == SMTP_TLS_IMPLICIT ? "smtps" : "smtp", is_ipv6 ? "[" : "",
		 server->host, is_ipv6 ? "]" : "", server->port);
	curl_easy_setopt(curl, CURLOPT_URL, url);
	curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "smtp,smtps");
	curl_easy_setopt(curl, CURLOPT_PROXY, "");
	curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
	curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, (long)server->timeout_ms);
	curl_easy_setopt(curl, CURLOPT_SERVER_RESPONSE_TIMEOUT,
			 (long)(server->timeout_ms + 999) / 1000);
	curl_easy_setopt(curl, CURLOPT_MAXAGE_CONN, (long)(server->idle_ms + 999) / 1000);
	curl_easy_setopt(curl, CURLOPT_MAXCONNECTS, 1L);
	curl_easy_setopt(curl, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
	curl_easy_setopt(curl, CURLOPT_USE_SSL,
			 server->tls == SMTP_TLS_AUTO	    ? (long)CURLUSESSL_TRY
			 : server->tls == SMTP_TLS_REQUIRED ? (long)CURLUSESSL_ALL
							    : (long)CURLUSESSL_NONE);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, (long)server->has_verify);
	curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, server->has_verify ? 2L : 0L);
	if (server->ca_file)
		curl_easy_setopt(curl, CURLOPT_CAINFO, server->ca_file);
	if (server->cert_file) {
		curl_easy_setopt(curl, CURLOPT_SSLCERT, server->cert_file);
		curl_easy_setopt(curl, CURLOPT_SSLKEY,
				 server->key_file ? server->key_file : server->cert_file);
	}
	if (server->user) {
		curl_easy_setopt(curl, CURLOPT_USERNAME, server->user);
		curl_easy_setopt(curl, CURLOPT_PASSWORD, server->password);
	}
}

static void set_transfer(CURL *curl, struct transfer *t)
{
	curl_easy_setopt(curl, CURLOPT_VERBOSE, 1L);
	curl_easy_setopt(curl, CURLOPT_DEBUGFUNCTION, on_trace);
	curl_easy_setopt(curl, CURLOPT_DEBUGDATA, t);
	curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, on_answer);
	curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, on_progress);
	curl_easy_setopt(curl, CURLOPT_XFERINFODATA, t);
	curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
}

static struct curl_slist *set_mail(CURL *curl, struct transfer *t)
{
	struct curl_slist *recipients = NULL;
	char address[300];

	for (size_t i = 0; i < t->mail->count; i++) {
		snprintf(address, sizeof(address), "<%s>", t->mail->recipients[i]);
		recipients = curl_slist_append(recipients, address);
	}
	snprintf(address, sizeof(address), "<%s>", t->mail->sender);
	curl_easy_setopt(curl, CURLOPT_MAIL_FROM, address);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT, recipients);
	curl_easy_setopt(curl, CURLOPT_MAIL_RCPT_ALLLOWFAILS, 1L);
	curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
	curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE, (curl_off_t)t->mail->len);
	curl_easy_setopt(curl, CURLOPT_READFUNCTION, on_read);
	curl_easy_setopt(curl, CURLOPT_READDATA, t);
	return recipients;
}

static void explain_lost(const struct transfer *t, struct smtp_result *ret, const char *text)
{
	if (t->is_data_accepted && t->sent == t->mail->len)
		smtp_result_text(ret, SMTP_UNKNOWN,
				 "%s after the mail was sent: it may have been taken", text);
	else
		smtp_result_text(ret, SMTP_LOST, "%s", text);
}

/* An answer of 4xx or 5xx ended the transfer: says who refused. */
static void explain_refused(const struct transfer *t, struct smtp_result *ret)
{
	static const enum smtp_end ends[] = {
		[STEP_GREETING] = SMTP_REFUSED_CONNECT, [STEP_EHLO] = SMTP_REFUSED_CONNECT,
		[STEP_STARTTLS] = SMTP_TLS_FAILED,	[STEP_AUTH] = SMTP_REFUSED_AUTH,
		[STEP_MAIL] = SMTP_REFUSED_SENDER,	[STEP_RCPT] = SMTP_REFUSED_RECIPIENTS,
		[STEP_DATA] = SMTP_REFUSED_DATA,
	};

	ret->reply = t->last;
	smtp_result_text(ret, ends[t->step], "%s", t->last.text);
}

static void explain(CURL *curl, const struct transfer *t, CURLcode code, const char *text)
{
	struct smtp_result *ret = t->result;
	long os_errno = 0;

	switch ((int)code) {
	case CURLE_ABORTED_BY_CALLBACK:
		ret->end =
			t->needs_auth && !is_authenticated ? SMTP_NO_AUTH_MECHANISM : SMTP_EXPIRED;
		return;
	case CURLE_COULDNT_RESOLVE_HOST:
		smtp_result_text(ret, SMTP_RESOLVE_FAILED, "%s", text);
		return;
	case CURLE_COULDNT_CONNECT:
		curl_easy_getinfo(curl, CURLINFO_OS_ERRNO, &os_errno);
		ret->is_connection_refused = os_errno == 111;
		smtp_result_text(ret, SMTP_CONNECT_FAILED, "%s", text);
		return;
	case CURLE_OPERATION_TIMEDOUT:
		explain_lost(t, ret, text);
		if (ret->end == SMTP_LOST)
			ret->end = SMTP_TIMEOUT;
		return;
	case CURLE_USE_SSL_FAILED:
		ret->end = SMTP_NO_STARTTLS;
		return;
	case CURLE_SSL_CONNECT_ERROR:
	case CURLE_PEER_FAILED_VERIFICATION:
	case CURLE_SSL_CACERT_BADFILE:
	case CURLE_SSL_CERTPROBLEM:
		smtp_result_text(ret, SMTP_TLS_FAILED, "%s", text);
		return;
	default:
		break;
	}
	if (code == CURLE_LOGIN_DENIED && t->step != STEP_AUTH)
		ret->end = SMTP_NO_AUTH_MECHANISM;
	else if (t->last.code >= 400)
		explain_refused(t, ret);
	else
		explain_lost(t, ret, text);
}

static void curl_close(void)
{
	if (kept)
		curl_easy_cleanup(kept); /* says QUIT */
	kept = NULL;
	mails = 0;
	is_authenticated = false;
}

/* The thread's handle with nothing set; a used-up connection is closed first. */
static CURL *handle(void)
{
	if (mails >= SMTP_MAILS_PER_CONNECTION)
		curl_close();
	if (!kept)
		kept = curl_easy_init();
	if (!kept)
		abort();
	curl_easy_reset(kept);
	return kept;
}

/* One try. True when it is worth another on a new connection: the kept one was dead. */
static bool transfer_run(const struct smtp_server *server, const struct smtp_mail *mail,
			 const struct smtp_patience *patience, struct smtp_result *ret)
{
	struct transfer t = {.mail = mail,
			     .patience = patience,
			     .result = ret,
			     .needs_auth = server->user != NULL};
	char text[CURL_ERROR_SIZE] = "";
	struct curl_slist *recipients;
	long connects = 0;
	CURLcode code;
	CURL *curl = handle();

	set_server(curl, server);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, smtp_time_limit_ms(server, mail->len));
	set_transfer(curl, &t);
	recipients = set_mail(curl, &t);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
	code = curl_easy_perform(curl);
	curl_easy_getinfo(curl, CURLINFO_NUM_CONNECTS, &connects);
	mails = connects ? 1 : mails + 1;
	curl_slist_free_all(recipients);
	if (code == CURLE_OK) {
		ret->reply = t.last;
		smtp_result_settle(ret, mail->count);
	} else {
		explain(curl, &t, code, text[0] ? text : curl_easy_strerror(code));
	}
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	return ret->end == SMTP_LOST && connects == 0 && !t.is_mail_accepted;
}

static void curl_send(const struct smtp_server *server, const struct smtp_mail *mail,
		      const struct smtp_patience *patience, struct smtp_result *ret)
{
	if (!transfer_run(server, mail, patience, ret))
		return;
	curl_close();
	memset(ret->recipients, 0, mail->count * sizeof(*ret->recipients));
	ret->reply = (struct smtp_reply){0};
	transfer_run(server, mail, patience, ret);
}

/* Without a mail libcurl sends the command it is told to, after AUTH. */
static void curl_probe(const struct smtp_server *server, struct smtp_result *ret)
{
	struct smtp_mail mail = {0};
	struct transfer t = {.mail = &mail, .result = ret};
	char text[CURL_ERROR_SIZE] = "";
	CURL *curl = handle();
	CURLcode code;

	set_server(curl, server);
	curl_easy_setopt(curl, CURLOPT_TIMEOUT_MS, smtp_time_limit_ms(server, 0));
	set_transfer(curl, &t);
	curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, "NOOP");
	curl_easy_setopt(curl, CURLOPT_NOBODY, 1L);
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, text);
	code = curl_easy_perform(curl);
	if (code == CURLE_OK)
		ret->end = server->user && !is_authenticated ? SMTP_NO_AUTH_MECHANISM : SMTP_SENT;
	else
		explain(curl, &t, code, text[0] ? text : curl_easy_strerror(code));
	curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, NULL);
	ret->reply = t.last;
}

const struct smtp_engine smtp_curl = {"curl", curl_send, curl_probe, curl_close};

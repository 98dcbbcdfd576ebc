#include "tasks/email/send.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "tasks/email/settings.h"

#define RETRY_DELAY_MAX_S 600

static bool is_over(void *job)
{
	return sm_expired(job);
}

static json_t *reply_args(const struct smtp_reply *reply)
{
	return json_pack("[i, s]", reply->code, reply->text);
}

/* {"a@b.c": [550, "no such user"]}, as smtplib names refused recipients. */
static json_t *refused_dict(const struct smtp_mail *mail, const struct smtp_result *result)
{
	json_t *dict = json_object();

	for (size_t i = 0; i < mail->count; i++)
		if (result->recipients[i].code / 100 != 2)
			json_object_set_new(dict, mail->recipients[i],
					    reply_args(&result->recipients[i]));
	return dict;
}

/* Half to all of the delay, so that mails that failed together do not come back together. */
static double retry_countdown(const struct setting_source *from, int retries)
{
	double delay = setting_number(from, "email_retry_delay", 0);
	unsigned short dice = 0;

	for (int i = 0; i < retries && delay < RETRY_DELAY_MAX_S; i++)
		delay *= 2;
	if (delay > RETRY_DELAY_MAX_S)
		delay = RETRY_DELAY_MAX_S;
	if (getrandom(&dice, sizeof(dice), GRND_NONBLOCK) < 0)
		dice = 0;
	return delay / 2 + delay / 2 * dice / 65535;
}

/* A failure: its exception, and whether trying again may help. */
struct failure {
	const char *type;
	json_t *args;	  /* of the exception */
	const char *text; /* one line for people */
	bool is_temporary;
};

static bool is_temporary_reply(const struct smtp_reply *reply)
{
	return reply->code / 100 != 5;
}

static struct failure refused(const char *type, json_t *args, const struct smtp_reply *reply)
{
	return (struct failure){type, args, reply->text, is_temporary_reply(reply)};
}

/* Every recipient was refused: worth a retry when one of them only for now. */
static struct failure recipients_failure(const struct smtp_mail *mail,
					 const struct smtp_result *result)
{
	const struct smtp_reply *chosen = &result->recipients[0];

	for (size_t i = 0; i < mail->count; i++)
		if (is_temporary_reply(&result->recipients[i]))
			chosen = &result->recipients[i];
	return refused("smtplib:SMTPRecipientsRefused",
		       json_pack("[o]", refused_dict(mail, result)), chosen);
}

static struct failure trouble(const char *type, const char *text)
{
	return (struct failure){type, json_pack("[s]", text), text, true};
}

static struct failure failure_of(const struct smtp_mail *mail, const struct smtp_result *result)
{
	const struct smtp_reply *reply = &result->reply;

	switch (result->end) {
	case SMTP_REFUSED_CONNECT:
		return refused("smtplib:SMTPConnectError", reply_args(reply), reply);
	case SMTP_REFUSED_AUTH:
		return refused("smtplib:SMTPAuthenticationError", reply_args(reply), reply);
	case SMTP_REFUSED_SENDER:
		return refused("smtplib:SMTPSenderRefused",
			       json_pack("[i, s, s]", reply->code, reply->text, mail->sender),
			       reply);
	case SMTP_REFUSED_RECIPIENTS:
		return recipients_failure(mail, result);
	case SMTP_REFUSED_DATA:
		return refused("smtplib:SMTPDataError", reply_args(reply), reply);
	case SMTP_NO_STARTTLS:
		return trouble("smtplib:SMTPNotSupportedError",
			       "STARTTLS extension not supported by server.");
	case SMTP_NO_AUTH_MECHANISM:
		return (struct failure){
			"smtplib:SMTPNotSupportedError",
			json_pack("[s]", "No suitable authentication method found."),
			"No suitable authentication method found.", false};
	case SMTP_TLS_FAILED:
		return trouble("ssl:SSLError", result->text);
	case SMTP_RESOLVE_FAILED:
		return trouble("socket:gaierror", result->text);
	case SMTP_CONNECT_FAILED:
		return trouble(result->is_connection_refused ? "ConnectionRefusedError" : "OSError",
			       result->text);
	case SMTP_TIMEOUT:
		return trouble("TimeoutError", result->text);
	case SMTP_SENT:
	case SMTP_EXPIRED:
	case SMTP_UNKNOWN:
	case SMTP_LOST:
		break;
	}
	return trouble("smtplib:SMTPServerDisconnected", result->text);
}

static json_t *fail(struct sm_job *job, const struct smtp_mail *mail,
		    const struct smtp_result *result)
{
	struct setting_source from = settings_of_job(job);
	struct failure f;
	int limit = (int)setting_number(&from, "email_max_retries", 0);
	char text[600];

	if (result->end == SMTP_EXPIRED)
		return sm_raise(job, "SoftTimeLimitExceeded", "%s", "");
	f = failure_of(mail, result);
	if (!f.is_temporary || sm_retries(job) >= limit)
		return sm_raise_args(job, f.type, f.args);
	if (json_array_size(f.args) == 1 && json_is_string(json_array_get(f.args, 0)))
		snprintf(text, sizeof(text), "%s", f.text);
	else
		snprintf(text, sizeof(text), "%s: %d %s", strchr(f.type, ':') + 1,
			 result->end == SMTP_REFUSED_RECIPIENTS ? result->recipients[0].code
								: result->reply.code,
			 f.text);
	/* A pending retry carries one text; the exception with smtplib's own arguments comes when
	 * the last try has failed. */
	json_decref(f.args);
	return sm_retry_raise(job, retry_countdown(&from, sm_retries(job)),
			      strncmp(f.type, "smtplib:", 8) == 0 &&
					      strcmp(f.type, "smtplib:SMTPServerDisconnected") != 0
				      ? "smtplib:SMTPException"
				      : f.type,
			      "%s", text);
}

static json_t *address_array(const struct address_list *list)
{
	json_t *array = json_array();

	for (size_t i = 0; i < list->count; i++)
		json_array_append_new(array, json_string(list->items[i].spec));
	return array;
}

static json_t *sent(struct sm_job *job, const struct mail_message *m, const char *id,
		    const struct smtp_mail *mail, const struct smtp_result *result)
{
	char response[520];
	json_t *value, *dict = refused_dict(mail, result);

	snprintf(response, sizeof(response), "%d %s", result->reply.code, result->reply.text);
	value = json_pack("{s:s, s:o, s:s, s:i, s:s, s:s}", "status", "sent", "to",
			  address_array(&m->to), "message_id", id, "attempts", sm_retries(job) + 1,
			  "provider", "smtp", "response", response);
	if (json_object_size(dict) > 0) {
		sm_log_warning(job, "mail %s: %zu of %zu recipients were refused", id,
			       json_object_size(dict), mail->count);
		json_object_set(value, "refused", dict);
	}
	json_decref(dict);
	return value;
}

static size_t collect(const char **out, size_t n, const struct address_list *list)
{
	for (size_t i = 0; i < list->count; i++)
		out[n++] = list->items[i].spec;
	return n;
}

/* For the metrics. */
static const char *answer_of(const struct smtp_mail *mail, const struct smtp_result *result)
{
	switch (result->end) {
	case SMTP_SENT:
		return "accepted";
	case SMTP_REFUSED_RECIPIENTS:
		for (size_t i = 0; i < mail->count; i++)
			if (is_temporary_reply(&result->recipients[i]))
				return "deferred";
		return "refused";
	case SMTP_REFUSED_CONNECT:
	case SMTP_REFUSED_AUTH:
	case SMTP_REFUSED_SENDER:
	case SMTP_REFUSED_DATA:
		return is_temporary_reply(&result->reply) ? "deferred" : "refused";
	case SMTP_NO_STARTTLS:
	case SMTP_NO_AUTH_MECHANISM:
		return "refused";
	case SMTP_TIMEOUT:
		return "timeout";
	case SMTP_CONNECT_FAILED:
	case SMTP_RESOLVE_FAILED:
	case SMTP_TLS_FAILED:
	case SMTP_LOST:
		return "unreachable";
	case SMTP_UNKNOWN:
	case SMTP_EXPIRED:
		break;
	}
	return "unknown";
}

static json_t *deliver(struct sm_job *job, const struct mail_message *m, const struct buf *data,
		       const char *id)
{
	struct setting_source from = settings_of_job(job);
	size_t count = m->to.count + m->cc.count + m->bcc.count, n = 0;
	const char **recipients = sm_alloc(job, count * sizeof(*recipients));
	struct smtp_result result = {.recipients =
					     sm_alloc(job, count * sizeof(*result.recipients))};
	struct smtp_mail mail = {.sender = m->from.items[0].spec,
				 .recipients = recipients,
				 .count = count,
				 .data = data->data,
				 .len = data->len};
	struct smtp_patience patience = {is_over, job};
	struct smtp_server server;

	n = collect(recipients, n, &m->to);
	n = collect(recipients, n, &m->cc);
	collect(recipients, n, &m->bcc);
	settings_server(&from, &server);
	smtp_send(sm_setting(job, "email_engine"), &server, &mail, &patience, &result);
	sm_answered(job, "mail", "smtp", answer_of(&mail, &result));
	if (result.end != SMTP_SENT)
		return fail(job, &mail, &result);
	return sent(job, m, id, &mail, &result);
}

static int set_sender(struct sm_job *job, struct mail_message *m, struct fault *fault)
{
	struct setting_source from = settings_of_job(job);
	const char *address = sm_setting(job, "email_from_address");
	const char *name = sm_setting(job, "email_from_name");

	if (m->from.count)
		return 0;
	/* Whoever has switched mail off need not name a sender. */
	if (!address[0] && !setting_bool(&from, "email_enabled"))
		address = "noreply@localhost";
	if (!address[0])
		return fault_set(fault, "from: no sender; set email_from_address "
					"(EMAIL_FROM_ADDRESS)");
	if (strchr(address, '<'))
		return address_list_add(&m->from, "email_from_address", address, fault);
	return address_list_add_named(&m->from, "email_from_address", name, address, fault);
}

json_t *mail_refuse(struct sm_job *job, struct mail_message *m, const struct fault *fault)
{
	mail_message_clear(m);
	return sm_raise(job, "ValueError", "%s", fault->text);
}

json_t *mail_send(struct sm_job *job, struct mail_message *m)
{
	struct setting_source from = settings_of_job(job);
	struct fault fault;
	auto_buf data = {0};
	char *id;
	json_t *result;

	m->task_id = sm_id(job);
	m->date = time(NULL);
	if (set_sender(job, m, &fault) < 0 || mail_message_build(&data, m, &id, &fault) < 0)
		return mail_refuse(job, m, &fault);
	if (setting_bool(&from, "email_enabled"))
		result = deliver(job, m, &data, id);
	else
		result = json_pack("{s:s, s:o, s:s, s:I, s:i}", "status", "suppressed", "to",
				   address_array(&m->to), "message_id", id, "size",
				   (json_int_t)data.len, "attempts", sm_retries(job) + 1);
	free(id);
	mail_message_clear(m);
	return result;
}

const char *mail_render(struct sm_job *job, const char *template, const char *file,
			const json_t *context)
{
	const char *name = sm_printf(job, "%s/%s", template, file);
	const char *text = sm_render(job, name, context);
	char *line;

	/* A text file ends with a line end; a subject has none. */
	if (text && strncmp(file, "subject", 7) == 0) {
		line = sm_printf(job, "%s", text);
		for (size_t len = strlen(line); len && (line[len - 1] == '\n'); len--)
			line[len - 1] = '\0';
		return line;
	}
	return text;
}

static void add_common(struct sm_job *job, const char *email, const char *name, json_t *context)
{
	const char *app = sm_setting(job, "email_from_name");

	json_object_set_new(context, "app_name", json_string(app[0] ? app : "our service"));
	json_object_set_new(context, "base_url", json_string(sm_setting(job, "email_base_url")));
	json_object_set_new(context, "user_email", json_string(email));
	json_object_set_new(context, "user_name", json_string(name && *name ? name : email));
}

json_t *mail_send_template(struct sm_job *job, const char *template, const char *email,
			   const char *name, json_t *context)
{
	struct mail_message m = {0};
	struct fault fault;

	add_common(job, email, name, context);
	m.subject = mail_render(job, template, "subject.txt", context);
	m.text = m.subject ? mail_render(job, template, "body.txt", context) : NULL;
	m.html = m.text ? mail_render(job, template, "body.html", context) : NULL;
	json_decref(context);
	if (!m.html)
		return NULL;
	if (address_list_add_named(&m.to, "user_email", name, email, &fault) < 0)
		return mail_refuse(job, &m, &fault);
	return mail_send(job, &m);
}

const char *mail_link(struct sm_job *job, const char *path_setting, const char *token)
{
	static const char hex[] = "0123456789ABCDEF";
	const char *base = sm_setting(job, "email_base_url");
	char *escaped = sm_alloc(job, strlen(token) * 3 + 1), *out = escaped;
	int len = (int)strlen(base);

	for (const unsigned char *p = (const unsigned char *)token; *p; p++) {
		bool is_plain = (*p >= '0' && *p <= '9') || (*p >= 'A' && *p <= 'Z') ||
				(*p >= 'a' && *p <= 'z') || strchr("-._~", *p);

		if (!is_plain) {
			*out++ = '%';
			*out++ = hex[*p >> 4];
			*out++ = hex[*p & 15];
		} else {
			*out++ = (char)*p;
		}
	}
	*out = '\0';
	while (len && base[len - 1] == '/')
		len--;
	return sm_printf(job, "%.*s%s%s", len, base, sm_setting(job, path_setting), escaped);
}

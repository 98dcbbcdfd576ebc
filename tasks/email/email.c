/* The plug-in's face, and the task that sends any mail. */
#include <smallage/task.h>

#include <stdio.h>
#include <string.h>

#include "tasks/email/send.h"
#include "tasks/email/settings.h"
#include "tasks/email/tasks.h"

static bool ends_with(const char *text, const char *end)
{
	size_t a = strlen(text), b = strlen(end);

	return a >= b && strcmp(text + a - b, end) == 0;
}

/* "welcome" is a folder with subject.txt, body.txt, body.html; "x.html" and "x.txt" are single
 * files that take the place of one part. Returns -1 after raising. */
static int render(struct sm_job *job, struct mail_message *m, const char *template)
{
	const json_t *context = sm_json(job, "context");

	if (ends_with(template, ".html"))
		return (m->html = sm_render(job, template, context)) ? 0 : -1;
	if (ends_with(template, ".txt"))
		return (m->text = sm_render(job, template, context)) ? 0 : -1;
	if (!m->subject[0])
		m->subject = mail_render(job, template, "subject.txt", context);
	m->text = m->subject ? mail_render(job, template, "body.txt", context) : NULL;
	m->html = m->text ? mail_render(job, template, "body.html", context) : NULL;
	return m->html ? 0 : -1;
}

static int add_addresses(struct sm_job *job, struct mail_message *m, struct fault *fault)
{
	if (address_list_add_json(&m->to, "to", sm_json(job, "to"), fault) < 0 ||
	    address_list_add_json(&m->cc, "cc", sm_json(job, "cc"), fault) < 0 ||
	    address_list_add_json(&m->bcc, "bcc", sm_json(job, "bcc"), fault) < 0 ||
	    address_list_add_json(&m->reply_to, "reply_to", sm_json(job, "reply_to"), fault) < 0 ||
	    address_list_add_json(&m->from, "from_email", sm_json(job, "from_email"), fault) < 0)
		return -1;
	return 0;
}

/* A C string would end at a NUL that JSON may hold. */
static int check_nul(struct sm_job *job, const char *name, struct fault *fault)
{
	const json_t *value = sm_json(job, name);

	if (json_is_string(value) && strlen(json_string_value(value)) != json_string_length(value))
		return fault_set(fault, "%s: control character 0x00 is not allowed", name);
	return 0;
}

static json_t *send_email(struct sm_job *job)
{
	const char *template = sm_str(job, "template");
	const char *subject = sm_str(job, "subject");
	struct mail_message m = {.subject = subject ? subject : "",
				 .text = sm_str(job, "body"),
				 .html = sm_str(job, "html"),
				 .headers = sm_json(job, "headers")};
	struct fault fault;

	if (json_is_null(m.headers))
		m.headers = NULL;
	if (check_nul(job, "subject", &fault) < 0 || check_nul(job, "body", &fault) < 0 ||
	    check_nul(job, "html", &fault) < 0 || add_addresses(job, &m, &fault) < 0)
		return mail_refuse(job, &m, &fault);
	if (template && template[0] && render(job, &m, template) < 0) {
		mail_message_clear(&m);
		return NULL;
	}
	/* An empty text beside HTML would be shown instead of it by some readers. */
	if (m.html && m.text && !m.text[0])
		m.text = NULL;
	return mail_send(job, &m);
}

const struct sm_task send_email_task = {
	.name = "send_email_task",
	.signature = "to: any, subject: str | None, body: str | None, html: str | None = None, "
		     "from_email: str | None = None, reply_to: any = None, cc: any = None, "
		     "bcc: any = None, headers: dict | None = None, template: str | None = None, "
		     "context: dict | None = None, tenant_id: any = None, **extra",
	.doc = "Sends a mail with a text part, an HTML part, or both.",
	.run = send_email,
	.max_retries = SM_UNLIMITED, /* the setting email_max_retries decides */
	.secrets = SM_NAMES("context"),
};

static const char *get_from_hook(const void *arg, const char *name)
{
	const char *(*const *hook)(const char *) = arg;

	return (*hook)(name);
}

static void stop(void)
{
	smtp_close();
}

static const char *describe(const struct smtp_result *result)
{
	switch (result->end) {
	case SMTP_NO_STARTTLS:
		return "STARTTLS is required, but the server does not offer it";
	case SMTP_NO_AUTH_MECHANISM:
		return "the server offers no way to authenticate that is known here";
	case SMTP_SENT:
	case SMTP_REFUSED_CONNECT:
	case SMTP_REFUSED_AUTH:
	case SMTP_REFUSED_SENDER:
	case SMTP_REFUSED_RECIPIENTS:
	case SMTP_REFUSED_DATA:
	case SMTP_TLS_FAILED:
	case SMTP_CONNECT_FAILED:
	case SMTP_RESOLVE_FAILED:
	case SMTP_LOST:
	case SMTP_UNKNOWN:
	case SMTP_TIMEOUT:
	case SMTP_EXPIRED:
		break;
	}
	return result->text[0] ? result->text : result->reply.text;
}

static int check(const char *(*setting)(const char *name), char *text, size_t size)
{
	struct setting_source from = {get_from_hook, &setting};
	struct smtp_result result = {0};
	struct smtp_server server;

	settings_server(&from, &server);
	if (!setting_bool(&from, "email_enabled")) {
		snprintf(text, size, "mail is switched off (EMAIL_ENABLED)");
		return 0;
	}
	smtp_probe(setting("email_engine"), &server, &result);
	smtp_close();
	if (result.end != SMTP_SENT) {
		snprintf(text, size, "mail server %s:%s: %s", server.host, server.port,
			 describe(&result));
		return -1;
	}
	snprintf(text, size, "mail server %s:%s answers%s%s", server.host, server.port,
		 server.user ? " and takes the password" : "",
		 setting("email_from_address")[0]
			 ? ""
			 : "; email_from_address is not set: tasks must name a sender");
	return 0;
}

SM_PLUGIN(.name = "email", .version = "1.0",
	  .tasks = SM_TASKS(&send_email_task, &send_order_confirmation_task,
			    &send_welcome_email_task, &send_password_reset_email_task,
			    &send_verification_email_task, &send_new_ip_notification_task),
	  .settings = email_settings, .stop = stop, .check = check);

/* Mails about a user's account. Their texts are the template folders of the same names. */
#include <smallage/task.h>

#include "tasks/email/send.h"
#include "tasks/email/tasks.h"

static json_t *send_welcome(struct sm_job *job)
{
	return mail_send_template(job, "welcome", sm_str(job, "user_email"),
				  sm_str(job, "user_name"),
				  json_pack("{s:O}", "tenant_id", sm_json(job, "tenant_id")));
}

/* A mail around one link with a token. */
static json_t *send_link(struct sm_job *job, const char *template, const char *path_setting)
{
	const char *token = sm_str(job, "token");
	json_t *context = json_pack("{s:O, s:s, s:s}", "tenant_id", sm_json(job, "tenant_id"),
				    "token", token, "link", mail_link(job, path_setting, token));

	return mail_send_template(job, template, sm_str(job, "user_email"),
				  sm_str(job, "user_name"), context);
}

static json_t *send_password_reset(struct sm_job *job)
{
	return send_link(job, "password_reset", "email_reset_path");
}

static json_t *send_verification(struct sm_job *job)
{
	return send_link(job, "verification", "email_verify_path");
}

static json_t *send_new_ip(struct sm_job *job)
{
	const char *w_token = sm_str(job, "w_token"), *b_token = sm_str(job, "b_token");
	json_t *context =
		json_pack("{s:O, s:s, s:s, s:s, s:s, s:s}", "tenant_id", sm_json(job, "tenant_id"),
			  "ip_address", sm_str(job, "ip_address"), "w_token", w_token, "b_token",
			  b_token, "confirm_link", mail_link(job, "email_ip_confirm_path", w_token),
			  "block_link", mail_link(job, "email_ip_block_path", b_token));

	return mail_send_template(job, "new_ip", sm_str(job, "user_email"),
				  sm_str(job, "user_name"), context);
}

const struct sm_task send_welcome_email_task = {
	.name = "send_welcome_email_task",
	.signature = "user_email: str, user_name: str | None, tenant_id: any = None",
	.doc = "Greets a new user.",
	.run = send_welcome,
	.max_retries = SM_UNLIMITED,
};

const struct sm_task send_password_reset_email_task = {
	.name = "send_password_reset_email_task",
	.signature = "user_email: str, user_name: str | None, token: str, tenant_id: any = None",
	.doc = "Sends the link that sets a new password.",
	.run = send_password_reset,
	.max_retries = SM_UNLIMITED,
	.secrets = SM_NAMES("token"),
};

const struct sm_task send_verification_email_task = {
	.name = "send_verification_email_task",
	.signature = "user_email: str, user_name: str | None, token: str, tenant_id: any = None",
	.doc = "Sends the link that confirms a mail address.",
	.run = send_verification,
	.max_retries = SM_UNLIMITED,
	.secrets = SM_NAMES("token"),
};

const struct sm_task send_new_ip_notification_task = {
	.name = "send_new_ip_notification_task",
	.signature = "user_email: str, user_name: str | None, ip_address: str, w_token: str, "
		     "b_token: str, tenant_id: any = None",
	.doc = "Tells a user of a login from a new address.",
	.run = send_new_ip,
	.max_retries = SM_UNLIMITED,
	.secrets = SM_NAMES("w_token", "b_token"),
};

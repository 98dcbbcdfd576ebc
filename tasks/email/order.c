/* Mails about orders. */
#include <smallage/task.h>

#include "tasks/email/money.h"
#include "tasks/email/send.h"
#include "tasks/email/tasks.h"

static json_t *send_order_confirmation(struct sm_job *job)
{
	const char *given = sm_text(job, "order_total");
	const char *id = sm_text(job, "order_id");
	char total[40];
	json_t *context;

	if (!id || !id[0])
		return sm_raise(job, "ValueError", "order_id: must not be empty");
	if (!given || money_format(given, total, sizeof(total)) < 0)
		return sm_raise(job, "ValueError", "order_total: '%.60s' is not a number",
				given ? given : "None");
	context = json_pack("{s:O, s:s, s:s, s:s}", "tenant_id", sm_json(job, "tenant_id"),
			    "order_id", id, "order_total", total, "currency",
			    sm_str(job, "currency"));
	return mail_send_template(job, "order_confirmation", sm_str(job, "customer_email"), NULL,
				  context);
}

const struct sm_task send_order_confirmation_task = {
	.name = "send_order_confirmation_task",
	.signature = "order_id: any, customer_email: str, order_total: any, currency: str, "
		     "tenant_id: any = None",
	.doc = "Confirms an order to the customer.",
	.run = send_order_confirmation,
	.max_retries = SM_UNLIMITED,
};

/* Sends nothing: says in the log that it would. For development and tests. */
#include "tasks/sms/provider.h"

static json_t *log_send(struct sm_job *job, const struct sms *sms)
{
	/* Not the text: it may hold a code. */
	sm_log_info(job, "SMS to %s: %zu characters, %zu segments (%s)", sms->to,
		    sms->segments.characters, sms->segments.count, sms->segments.encoding);
	sm_answered(job, "sms", "log", "accepted");
	return json_pack("{s:s, s:s, s:s, s:n, s:I, s:s, s:i}", "status", "logged", "to", sms->to,
			 "provider", "log", "sid", "segments", (json_int_t)sms->segments.count,
			 "encoding", sms->segments.encoding, "attempts", sm_retries(job) + 1);
}

const struct sms_provider provider_log = {.name = "log", .send = log_send};

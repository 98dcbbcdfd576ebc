/* Who carries a text message. A provider sends one checked message and returns the task's result,
 * or NULL after raising. */
#ifndef TASKS_SMS_PROVIDER_H
#define TASKS_SMS_PROVIDER_H

#include <smallage/task.h>

#include "tasks/sms/segments.h"

struct sms {
	const char *to;	    /* E.164 */
	const char *sender; /* NULL = the provider's own setting */
	const char *text;
	struct segments segments;
};

struct sms_provider {
	const char *name;
	json_t *(*send)(struct sm_job *job, const struct sms *sms);
	int (*check)(const char *(*setting)(const char *name), char *text, size_t size);
	void (*stop)(void); /* ends the calling thread's connections */
};

extern const struct sms_provider provider_log, provider_twilio;

/* Seconds until try number `retries` + 2: doubled each time, at most 600, at least `hint_s`. */
double sms_countdown(const struct sm_job *job, double hint_s);
/* True when the last allowed try has failed. */
bool sms_is_last_try(const struct sm_job *job);

#endif

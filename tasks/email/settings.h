/* The plug-in's settings, and what the SMTP engines need of them. */
#ifndef TASKS_EMAIL_SETTINGS_H
#define TASKS_EMAIL_SETTINGS_H

#include <smallage/task.h>

#include "tasks/email/smtp.h"

extern const struct sm_setting_def email_settings[];

/* Reads a setting by name; sm_setting with its job bound, or the hook given to `check`. */
struct setting_source {
	const char *(*get)(const void *arg, const char *name);
	const void *arg;
};

struct setting_source settings_of_job(const struct sm_job *job);
bool setting_bool(const struct setting_source *from, const char *name);
double setting_number(const struct setting_source *from, const char *name, double least);
/* Texts stay with the source. */
void settings_server(const struct setting_source *from, struct smtp_server *ret);

#endif

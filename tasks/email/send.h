/* From a task's arguments to a sent mail and the task's result: what all mail tasks share. */
#ifndef TASKS_EMAIL_SEND_H
#define TASKS_EMAIL_SEND_H

#include <smallage/task.h>

#include "tasks/email/message.h"
#include "tasks/email/smtp.h"

/* Fills in From (unless it is set), id and date, sends by the settings, clears the message.
 * Returns the task's result, or NULL after raising. */
json_t *mail_send(struct sm_job *job, struct mail_message *m);
/* Clears the message and raises ValueError with the fault's text. */
json_t *mail_refuse(struct sm_job *job, struct mail_message *m, const struct fault *fault);

/*
 * Sends the template folder `template` (subject.txt, body.txt, body.html) to one person; takes
 * `context`, to which the names every mail knows are added: app_name, base_url, user_email,
 * user_name.
 */
json_t *mail_send_template(struct sm_job *job, const char *template, const char *email,
			   const char *name, json_t *context);
/* Renders `file` of a template folder; NULL after raising. */
const char *mail_render(struct sm_job *job, const char *template, const char *file,
			const json_t *context);
/* base_url + the path in setting `path_setting` + the token, percent-encoded; ends with the job. */
const char *mail_link(struct sm_job *job, const char *path_setting, const char *token);

#endif

/* The tasks of this plug-in, by file. */
#ifndef TASKS_EMAIL_TASKS_H
#define TASKS_EMAIL_TASKS_H

#include <smallage/task.h>

extern const struct sm_task send_email_task;		  /* email.c */
extern const struct sm_task send_order_confirmation_task; /* order.c */
extern const struct sm_task send_welcome_email_task;	  /* account.c */
extern const struct sm_task send_password_reset_email_task;
extern const struct sm_task send_verification_email_task;
extern const struct sm_task send_new_ip_notification_task;

#endif

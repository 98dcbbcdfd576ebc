/* This worker's mailbox on the broker: listens, and posts what control.h answers. */
#ifndef WORKER_CONTROL_MAILBOX_H
#define WORKER_CONTROL_MAILBOX_H

#include "worker/control/control.h"

/* Before the broker is started. A broker that cannot broadcast is no error. */
int mailbox_listen(struct control *c, struct err *err);

#endif

/* What `smallage worker` prints on standard output when it starts, as `celery worker` does. */
#ifndef WORKER_BANNER_H
#define WORKER_BANNER_H

#include "worker/consume/consumer.h"

void banner_print(const struct consumer *c);

#endif

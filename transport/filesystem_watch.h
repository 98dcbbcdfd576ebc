/* inotify on one folder, on the loop: tells the names of files that were closed after writing or
 * renamed into it. (uv_fs_event cannot tell "closed" from "changed".) */
#ifndef TRANSPORT_FILESYSTEM_WATCH_H
#define TRANSPORT_FILESYSTEM_WATCH_H

#include <stdbool.h>
#include <uv.h>

#include "base/err.h"

struct filesystem_watch;

/* `name` NULL: events were lost, anything may have arrived. */
typedef void filesystem_watch_fn(void *ctx, const char *name);
/* After the names of one wake-up. `is_lost`: the folder itself was removed or moved. */
typedef void filesystem_watch_done_fn(void *ctx, bool is_lost);

struct filesystem_watch *filesystem_watch_open(uv_loop_t *loop, const char *folder,
					       filesystem_watch_fn *fn,
					       filesystem_watch_done_fn *done, void *ctx,
					       struct err *err);
/* NULL is allowed; may be called from the callbacks. */
void filesystem_watch_close(struct filesystem_watch *w);

#endif

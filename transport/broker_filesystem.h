/* The parts of the filesystem driver. Internal to transport/broker_filesystem*. */
#ifndef TRANSPORT_BROKER_FILESYSTEM_H
#define TRANSPORT_BROKER_FILESYSTEM_H

#include "base/map.h"
#include "transport/broker.h"
#include "transport/filesystem_inbox.h"
#include "transport/filesystem_options.h"
#include "transport/filesystem_outbox.h"
#include "transport/filesystem_slots.h"
#include "transport/filesystem_spool.h"
#include "transport/filesystem_watch.h"

#define SESSION 1    /* there is no connection to lose */
#define POLL_MS 1000 /* folders that inotify is blind for (network), as kombu */

struct broker_filesystem {
	struct broker base;
	uv_loop_t *loop;
	struct filesystem_options folders;
	char *node;
	size_t max_body, max_publish;
	struct map *queues;	    /* names that are consumed -> any value but NULL */
	struct map *exchange_types; /* exchange -> type (char *), as declared here */
	struct map *declared;	    /* queues whose binding is written */
	struct filesystem_inbox *inbox;
	struct filesystem_outbox *outbox;
	struct filesystem_spool *spool;
	struct filesystem_watch *watch; /* NULL while the folder cannot be watched */
	struct filesystem_slots slots;
	unsigned prefetch;
	uv_timer_t timer;
	int64_t wake_us, polled_us, close_by_us;
	unsigned polls;
	bool is_started, is_up, is_paused, is_closing, needs_scan, is_watch_lost, is_in_trouble,
		purges;
	uint64_t delivered, acked, rejected, published;
};

/* broker_filesystem.c */
void filesystem_notice(struct broker_filesystem *f, bool is_error, const char *text);
/* Once per trouble: a full disk must not fill the log. */
void filesystem_say_trouble(struct broker_filesystem *f, const struct err *err);

/* broker_filesystem_take.c */
bool filesystem_may_take(const struct broker_filesystem *f);
/* Reads it first, then takes it by a rename: a file that is not whole yet stays where its writer
 * and other workers expect it. */
void filesystem_take(struct broker_filesystem *f, struct filesystem_file *file);

#endif

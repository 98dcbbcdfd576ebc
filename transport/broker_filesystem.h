/* The parts of the filesystem driver. Internal to transport/broker_filesystem*. */
#ifndef TRANSPORT_BROKER_FILESYSTEM_H
#define TRANSPORT_BROKER_FILESYSTEM_H

#include "base/list.h"
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
	struct map *queues;		 /* names that are consumed -> any value but NULL */
	struct map *exchange_types;	 /* exchange -> type (char *), as declared here */
	struct map *declared;		 /* queues whose bindings are written */
	struct list_node private_queues; /* see broker_filesystem_queue.c */
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
	/* see broker_filesystem_mailbox.c */
	struct list_node mailboxes;
	struct map *mail_queues; /* of them, by queue */
	struct filesystem_inbox *mail_inbox;
	struct filesystem_outbox *post_outbox;
	bool needs_mail_scan;
	uint64_t mails, posts, posts_dropped;
};

/* broker_filesystem.c */
void filesystem_notice(struct broker_filesystem *f, bool is_error, const char *text);
/* Once per trouble: a full disk must not fill the log. */
void filesystem_say_trouble(struct broker_filesystem *f, const struct err *err);
/* Makes sure the pump runs within `ms`. */
void filesystem_wake_in(struct broker_filesystem *f, uint64_t ms);

/* broker_filesystem_queue.c */
/* How messages to this exchange are routed. */
void filesystem_note_exchange(struct broker_filesystem *f, const char *name, const char *type);
/* Writes a queue's bindings, once. */
int filesystem_declare(struct broker_filesystem *f, const struct queue_def *queue, struct err *err);
int filesystem_consume(struct broker *b, const struct queue_def *queue, struct err *err);
void filesystem_cancel(struct broker *b, const char *queue);
/* Removes a queue of this program's own, and what waits in it; NULL = all of them. */
void filesystem_private_leave(struct broker_filesystem *f, const char *queue);
void filesystem_private_clear(struct broker_filesystem *f);
/* Throws away what waits in a queue. */
void filesystem_throw_away(struct broker_filesystem *f, const char *queue);

/* broker_filesystem_take.c */
bool filesystem_may_take(const struct broker_filesystem *f);
typedef void filesystem_deliver_fn(struct broker_filesystem *f, const struct filesystem_file *file,
				   struct message *m);
filesystem_deliver_fn filesystem_deliver; /* to the broker's user, who acks it */
/* Reads it first, then takes it by a rename: a file that is not whole yet stays where its writer
 * and other workers expect it. */
void filesystem_take(struct broker_filesystem *f, struct filesystem_inbox *from,
		     struct filesystem_file *file, filesystem_deliver_fn *deliver);

/* broker_filesystem_mailbox.c: queues of this program's own, and what is sent at most once */
void filesystem_mail_init(struct broker_filesystem *f);
int filesystem_listen(struct broker *b, const struct mailbox_def *def, broker_mail_fn *on_mail,
		      void *ctx, struct err *err);
void filesystem_unlisten(struct broker *b, const char *queue);
void filesystem_post(struct broker *b, const struct publication *p);
/* Binds what is not bound. */
void filesystem_mail_bind(struct broker_filesystem *f);
/* Delivers what waits; false when there is more of it. */
bool filesystem_mail_pump(struct broker_filesystem *f);
void filesystem_mail_poll(struct broker_filesystem *f); /* each second */
void filesystem_post_flush(struct broker_filesystem *f);
void filesystem_mail_close(struct broker_filesystem *f);
void filesystem_mail_clear(struct broker_filesystem *f);

#endif

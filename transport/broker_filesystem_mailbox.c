/*
 * Mailboxes in a folder: a queue that is bound while this program runs, and whose messages are
 * taken whatever the tasks' prefetch says. What kombu does not do: messages from before it was
 * bound and those older than the queue's time to live are thrown away, so that no shutdown of
 * yesterday stops the worker of today, and the binding goes with the program, so that messages for
 * nobody do not pile up.
 */
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/mem.h"
#include "transport/broker_filesystem.h"
#include "transport/filesystem_binding.h"

#define TAKE_PER_TURN 64

struct filesystem_mailbox {
	struct list_node node;
	char *queue, *exchange, *type, *key;
	double ttl_s;
	bool is_durable;
	broker_mail_fn *on_mail;
	void *ctx;
	bool is_bound, was_bound;
	int64_t stamp; /* of the table, before it was bound */
};

static struct broker_filesystem *self(struct broker *b)
{
	return (struct broker_filesystem *)b;
}

static struct filesystem_mailbox *mailbox_of(struct list_node *node)
{
	return list_entry(node, struct filesystem_mailbox, node);
}

static void mailbox_free(struct broker_filesystem *f, struct filesystem_mailbox *m)
{
	map_del(f->mail_queues, m->queue);
	list_remove(&m->node);
	free(m->queue);
	free(m->exchange);
	free(m->type);
	free(m->key);
	free(m);
}

/* Binding */

static void mailbox_bind(struct broker_filesystem *f, struct filesystem_mailbox *m)
{
	struct binding_def binding = {
		.exchange = m->exchange,
		.exchange_type = m->type,
		.routing_key = m->key,
	};
	struct err err = {0};

	m->stamp = filesystem_table_stamp(f->folders.control, m->exchange);
	if (!m->was_bound && !m->is_durable)
		filesystem_throw_away(f, m->queue);
	if (filesystem_bind(f->folders.control, m->queue, &binding, &err) < 0) {
		filesystem_say_trouble(f, &err);
		return;
	}
	m->is_bound = m->was_bound = true;
}

void filesystem_mail_bind(struct broker_filesystem *f)
{
	struct list_node *pos;

	list_foreach (pos, &f->mailboxes) {
		if (!mailbox_of(pos)->is_bound)
			mailbox_bind(f, mailbox_of(pos));
	}
}

/* Its queue is deleted with its last consumer, as other brokers do. */
static void mailbox_leave(struct broker_filesystem *f, struct filesystem_mailbox *m)
{
	struct err err = {0};

	if (m->is_durable || !m->was_bound)
		return;
	/* What cannot be undone now costs a file per message later. */
	(void)filesystem_unbind(f->folders.control, m->exchange, m->queue, &err);
	filesystem_throw_away(f, m->queue);
}

/* Receiving */

static bool is_too_old(const struct broker_filesystem *f, const struct filesystem_mailbox *m,
		       const char *name)
{
	auto_free char *path = filesystem_spool_path(f->spool, name);
	struct stat st;

	if (m->ttl_s < 0 || stat(path, &st) < 0)
		return false;
	int64_t age_s = clock_wall_us() / 1000000 - st.st_mtim.tv_sec;
	return (double)age_s > m->ttl_s;
}

static void deliver_mail(struct broker_filesystem *f, const struct filesystem_file *file,
			 struct message *message)
{
	struct filesystem_mailbox *m = map_get(f->mail_queues, file->queue);
	bool is_wanted = m && !is_too_old(f, m, file->name);

	filesystem_spool_release(f->spool, file->name);
	if (!is_wanted)
		return;
	f->mails++;
	m->on_mail(m->ctx, message); /* may leave the mailbox */
}

bool filesystem_mail_pump(struct broker_filesystem *f)
{
	if (!f->is_up || map_count(f->mail_queues) == 0)
		return true;
	filesystem_mail_bind(f);
	for (int i = 0; i < TAKE_PER_TURN && !f->is_closing; i++) {
		if (f->needs_mail_scan || (filesystem_inbox_is_empty(f->mail_inbox) &&
					   filesystem_inbox_is_partial(f->mail_inbox))) {
			f->needs_mail_scan = false;
			if (filesystem_inbox_scan(f->mail_inbox, NULL) < 0)
				f->is_watch_lost = true;
		}
		struct filesystem_file *file = filesystem_inbox_pop(f->mail_inbox);
		if (file == NULL)
			return true;
		filesystem_take(f, f->mail_inbox, file, deliver_mail);
	}
	return false;
}

/* Another program of the same name that ended has removed our binding with its own. */
void filesystem_mail_poll(struct broker_filesystem *f)
{
	struct list_node *pos;

	f->needs_mail_scan = true;
	list_foreach (pos, &f->mailboxes) {
		struct filesystem_mailbox *m = mailbox_of(pos);

		if (filesystem_table_stamp(f->folders.control, m->exchange) != m->stamp)
			m->is_bound = false;
	}
}

/* Sending */

static void on_posted(void *ctx, const struct err *err)
{
	struct broker_filesystem *f = ctx;

	if (err)
		f->posts_dropped++;
	else
		f->posts++;
}

void filesystem_post(struct broker *b, const struct publication *p)
{
	struct broker_filesystem *f = self(b);

	if (f->is_closing || filesystem_outbox_add(f->post_outbox, p, on_posted, f, NULL) < 0) {
		f->posts_dropped++;
		return;
	}
	if (p->declare_exchange)
		filesystem_note_exchange(f, p->declare_exchange->name, p->declare_exchange->type);
	filesystem_wake_in(f, 0);
}

void filesystem_post_flush(struct broker_filesystem *f)
{
	struct err err = {0};

	if (filesystem_outbox_flush(f->post_outbox, &err) < 0) {
		filesystem_say_trouble(f, &err);
		filesystem_outbox_fail(f->post_outbox, &err);
	}
}

/* All of them */

void filesystem_mail_init(struct broker_filesystem *f)
{
	list_init(&f->mailboxes);
	f->mail_queues = map_new();
	f->mail_inbox = filesystem_inbox_new(f->folders.in, f->mail_queues);
	f->post_outbox = filesystem_outbox_new(f->folders.out, f->folders.control,
					       f->exchange_types, BROKER_POSTS_MAX);
}

int filesystem_listen(struct broker *b, const struct mailbox_def *def, broker_mail_fn *on_mail,
		      void *ctx, struct err *err)
{
	struct broker_filesystem *f = self(b);

	if (f->is_closing)
		return err_set(err, ERR_REFUSED, "the broker connection is closing");
	if (!*def->queue || strchr(def->queue, '/') != NULL)
		return err_set(err, ERR_INVALID, "queue name '%.200s' cannot be a file name",
			       def->queue);
	if (map_get(f->mail_queues, def->queue) || map_get(f->queues, def->queue))
		return err_set(err, ERR_INVALID, "mailbox '%.255s' is there already", def->queue);
	if (filesystem_check_exchange(def->exchange, err) < 0)
		return -1;
	struct filesystem_mailbox *m = mem_calloc(1, sizeof(*m));
	m->queue = mem_strdup(def->queue);
	m->exchange = mem_strdup(def->exchange);
	m->type = mem_strdup(def->exchange_type ? def->exchange_type : "direct");
	m->key = mem_strdup(def->binding_key ? def->binding_key : "");
	m->ttl_s = def->ttl_s;
	m->is_durable = def->is_durable;
	m->on_mail = on_mail;
	m->ctx = ctx;
	filesystem_note_exchange(f, m->exchange, m->type);
	list_append(&f->mailboxes, &m->node);
	map_put(f->mail_queues, m->queue, m);
	f->needs_mail_scan = true;
	if (f->is_started)
		filesystem_wake_in(f, 0);
	return 0;
}

void filesystem_unlisten(struct broker *b, const char *queue)
{
	struct broker_filesystem *f = self(b);
	struct filesystem_mailbox *m = map_get(f->mail_queues, queue);

	if (!m)
		return;
	mailbox_leave(f, m);
	mailbox_free(f, m);
	f->needs_mail_scan = true; /* drops the names that are held */
}

void filesystem_mail_close(struct broker_filesystem *f)
{
	struct list_node *pos;

	list_foreach (pos, &f->mailboxes)
		mailbox_leave(f, mailbox_of(pos));
}

void filesystem_mail_clear(struct broker_filesystem *f)
{
	if (!f->mail_queues)
		return;
	while (!list_is_empty(&f->mailboxes))
		mailbox_free(f, mailbox_of(f->mailboxes.next));
	filesystem_inbox_free(f->mail_inbox);
	filesystem_outbox_free(f->post_outbox);
	map_free(f->mail_queues);
}

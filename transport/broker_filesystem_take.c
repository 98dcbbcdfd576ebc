/* From a message file to a message in somebody's hands. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/mem.h"
#include "transport/broker_filesystem.h"
#include "transport/envelope.h"

#define BAD_US	     2000000 /* a file that cannot be read for so long is poison */
#define BAD_FIRST_US 10000
#define BAD_MAX_US   500000

bool filesystem_may_take(const struct broker_filesystem *f)
{
	return f->is_up && !f->is_paused && !f->is_closing &&
	       (f->prefetch == 0 || f->slots.used < f->prefetch) &&
	       f->slots.used < FILESYSTEM_MAX_SLOTS;
}

/* Nothing is thrown away: what cannot be a message is kept where people can look at it. */
static void move_aside(struct broker_filesystem *f, struct filesystem_file *file,
		       const struct err *why)
{
	auto_free char *text = NULL;
	struct err err = {0};
	int rc = filesystem_spool_set_aside(f->spool, file->name, &err);

	if (rc == 0) {
		text = mem_printf("Message file '%s' moved to '%s/rejected': %s", file->name,
				  f->folders.in, why->text);
		filesystem_notice(f, true, text);
	} else if (rc < 0) {
		filesystem_say_trouble(f, &err);
	}
	filesystem_file_free(file);
}

/* kombu's writers hold a lock from the time the name is there until the content is. */
static bool is_being_written(const struct broker_filesystem *f, const char *name)
{
	auto_free char *path = mem_printf("%s/%s", f->folders.in, name);
	auto_fd fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

	return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static void file_is_bad(struct broker_filesystem *f, struct filesystem_inbox *from,
			struct filesystem_file *file, const struct err *why)
{
	int64_t now = clock_mono_us();
	int64_t delay = (int64_t)BAD_FIRST_US << (file->bad_count < 6 ? file->bad_count : 6);

	if (file->bad_since_us == 0 || is_being_written(f, file->name))
		file->bad_since_us = now;
	if (now - file->bad_since_us >= BAD_US) {
		move_aside(f, file, why);
		return;
	}
	file->bad_count++;
	filesystem_inbox_defer(from, file, delay < BAD_MAX_US ? delay : BAD_MAX_US);
}

void filesystem_deliver(struct broker_filesystem *f, const struct filesystem_file *file,
			struct message *m)
{
	f->delivered++;
	f->base.events->on_delivery(f->base.ctx, m, SESSION,
				    filesystem_slots_put(&f->slots, file->name));
}

void filesystem_take(struct broker_filesystem *f, struct filesystem_inbox *from,
		     struct filesystem_file *file, filesystem_deliver_fn *deliver)
{
	auto_free char *path = mem_printf("%s/%s", f->folders.in, file->name);
	auto_str text;
	struct message m;
	struct err err = {0};
	int rc;

	str_init(&text, envelope_max_bytes(f->max_body));
	rc = file_read(&text, path, &err);
	if (rc == 0) {
		filesystem_file_free(file); /* somebody else was quicker */
		return;
	}
	message_init(&m);
	if (rc > 0)
		rc = envelope_decode(&m, text.data ? text.data : "", text.len, f->max_body, &err);
	str_clear(&text);
	if (rc == 0)
		rc = filesystem_spool_claim(f->spool, file->name, &err);
	if (rc == 0) {
		m.exchange = m.exchange ? m.exchange : "";
		m.routing_key = m.routing_key ? m.routing_key : file->queue;
		deliver(f, file, &m);
	}
	message_clear(&m);
	if (rc >= 0) {
		filesystem_file_free(file);
	} else if (err.code == ERR_INVALID) {
		file_is_bad(f, from, file, &err);
	} else if (err.code == ERR_LIMIT) {
		move_aside(f, file, &err);
	} else {
		filesystem_say_trouble(f, &err);
		filesystem_inbox_defer(from, file, POLL_MS * 1000);
	}
}

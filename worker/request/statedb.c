#include "worker/request/statedb.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/log.h"
#include "base/mem.h"
#include "protocol/pyjson.h"

#define FORMAT	    "smallage-state"
#define VERSION	    1
#define LOOK_MS	    3000
#define ADVICE	    "; move it away, or name another file with --statedb"
#define ENTRIES_MAX ((size_t)10000000)

struct statedb {
	char *path;
	struct revoked *revoked;
	uint64_t *clock;
	uv_timer_t timer;
	uv_work_t work;
	bool is_saving, has_failed;
	uint64_t saved; /* revoked->changes of the last save */
	int lock_fd;	/* the file as it stands */
	/* Of the save under way; the thread's while is_saving. */
	struct str text;
	struct err err;
};

/* --- the text --- */

static void put_id(void *ctx, const char *id, int64_t age_us)
{
	struct str *out = ctx;

	str_puts(out, out->data[out->len - 1] == '[' ? "\n[" : ",\n[");
	pyjson_dump_str(out, id, strlen(id));
	str_addf(out, ", %" PRId64 "]", age_us / 1000000);
}

static void put_stamp(void *ctx, const char *header, const char *value, size_t len)
{
	struct str *out = ctx;

	str_puts(out, out->data[out->len - 1] == '[' ? "\n[" : ",\n[");
	pyjson_dump_str(out, header, strlen(header));
	str_puts(out, ", ");
	str_add(out, value, len);
	str_addc(out, ']');
}

void statedb_encode(struct str *out, const struct revoked *revoked, uint64_t clock, int64_t now_us)
{
	str_addf(out,
		 "{\"format\": \"" FORMAT "\", \"version\": %d, \"saved_at\": %" PRId64
		 ", \"clock\": %" PRIu64 ",\n\"revoked\": [",
		 VERSION, now_us / 1000000, clock);
	revoked_each(revoked, put_id, out);
	str_puts(out, "],\n\"stamps\": [");
	revoked_each_stamp(revoked, put_stamp, out);
	str_puts(out, "]}\n");
}

static int damaged(const char *what, struct err *err)
{
	return err_set(err, ERR_INVALID, "it is damaged (%s)" ADVICE, what);
}

static bool is_count(const json_t *value)
{
	return json_is_integer(value) && json_integer_value(value) >= 0;
}

static bool is_pair(const json_t *pair)
{
	return json_array_size(pair) == 2 && json_is_string(json_array_get(pair, 0));
}

static int check_entries(const json_t *ids, const json_t *stamps, struct err *err)
{
	if (!json_is_array(ids) || !json_is_array(stamps) || json_array_size(ids) > ENTRIES_MAX)
		return damaged("no list of revoked ids or stamps", err);
	for (size_t i = 0; i < json_array_size(ids); i++) {
		const json_t *pair = json_array_get(ids, i);

		if (!is_pair(pair) || !is_count(json_array_get(pair, 1)))
			return damaged("a revoked id", err);
	}
	for (size_t i = 0; i < json_array_size(stamps); i++)
		if (!is_pair(json_array_get(stamps, i)))
			return damaged("a revoked stamp", err);
	return 0;
}

/* A clock that was set back makes nobody younger. */
static int64_t aged_us(const json_t *age, int64_t since_s)
{
	double seconds = (double)json_integer_value(age) + (since_s > 0 ? (double)since_s : 0);

	return (int64_t)(fmin(seconds, 1e9) * 1e6);
}

int statedb_decode(struct revoked *revoked, uint64_t *ret_clock, const char *data, size_t len,
		   int64_t now_us, struct err *err)
{
	struct err why = {0};
	json_auto_t *root = data[0] == '{' ? pyjson_load(data, len, &why) : NULL;
	const json_t *ids = json_object_get(root, "revoked");
	const json_t *stamps = json_object_get(root, "stamps");
	const json_t *saved_at = json_object_get(root, "saved_at");
	const json_t *clock = json_object_get(root, "clock");
	const char *format = json_string_value(json_object_get(root, "format"));
	static const char start[] = "{\"format\": \"" FORMAT "\"";
	bool begins_well = len >= sizeof(start) && memcmp(data, start, sizeof(start) - 1) == 0;

	if (!root && begins_well)
		return damaged(why.text, err);
	if (!format || strcmp(format, FORMAT) != 0)
		return err_set(err, ERR_UNSUPPORTED,
			       "it is no state file of smallage (a Python worker's cannot be "
			       "read)" ADVICE);
	if (json_integer_value(json_object_get(root, "version")) != VERSION)
		return err_set(err, ERR_UNSUPPORTED,
			       "it was written by another version of smallage" ADVICE);
	if (!is_count(saved_at) || !is_count(clock))
		return damaged("no time or no clock", err);
	if (check_entries(ids, stamps, err) != 0)
		return -1;
	int64_t since_s = now_us / 1000000 - json_integer_value(saved_at);

	for (size_t i = 0; i < json_array_size(ids); i++) {
		const json_t *pair = json_array_get(ids, i);

		revoked_add_aged(revoked, json_string_value(json_array_get(pair, 0)),
				 aged_us(json_array_get(pair, 1), since_s));
	}
	for (size_t i = 0; i < json_array_size(stamps); i++) {
		const json_t *pair = json_array_get(stamps, i);

		revoked_add_stamp(revoked, json_string_value(json_array_get(pair, 0)),
				  json_array_get(pair, 1));
	}
	revoked_purge(revoked);
	*ret_clock = (uint64_t)json_integer_value(clock);
	return 0;
}

/* --- the file --- */

static int lock(int fd, const char *path, struct err *err)
{
	if (flock(fd, LOCK_EX | LOCK_NB) == 0)
		return 0;
	if (errno == EWOULDBLOCK)
		return err_set(err, ERR_REFUSED,
			       "'%.300s' is in use by another worker; each needs its own "
			       "(%%n in the name stands for the worker's)",
			       path);
	return err_errno(err, "lock '%.300s'", path);
}

static int write_synced(int fd, const struct str *text, const char *path, struct err *err)
{
	for (size_t done = 0; done < text->len;) {
		ssize_t n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno != EINTR)
			return err_errno(err, "write '%.300s'", path);
		done += n > 0 ? (size_t)n : 0;
	}
	return fsync(fd) == 0 ? 0 : err_errno(err, "write '%.300s'", path);
}

/* The new name must outlive a power failure too. */
static void sync_folder(const char *path)
{
	const char *slash = strrchr(path, '/');
	auto_free char *folder =
		slash ? mem_dup(path, (size_t)(slash - path) + 1) : mem_strdup(".");
	auto_fd fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd >= 0)
		(void)fsync(fd);
}

/* Puts a locked file with this text in the place of the one there. *lock_fd is that one's. */
static int replace_file(const char *path, const struct str *text, int *lock_fd, struct err *err)
{
	auto_free char *temp = mem_printf("%s.new", path);
	int fd = open(temp, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0644);

	if (fd < 0)
		return err_errno(err, "create '%.300s'", temp);
	if (lock(fd, path, err) < 0) {
		close(fd);
		return -1;
	}
	if (ftruncate(fd, 0) < 0 || write_synced(fd, text, temp, err) < 0 ||
	    rename(temp, path) < 0) {
		err_errno(err, "write '%.300s'", path);
		unlink(temp);
		close(fd);
		return -1;
	}
	sync_folder(path);
	if (*lock_fd >= 0)
		close(*lock_fd);
	*lock_fd = fd;
	return 0;
}

static void make_text(struct statedb *s)
{
	str_reset(&s->text);
	revoked_purge(s->revoked);
	s->saved = s->revoked->changes;
	statedb_encode(&s->text, s->revoked, *s->clock, clock_wall_us());
}

static void on_thread(uv_work_t *work)
{
	struct statedb *s = work->data;

	replace_file(s->path, &s->text, &s->lock_fd, &s->err);
}

static void on_saved(uv_work_t *work, int status)
{
	struct statedb *s = work->data;

	(void)status;
	s->is_saving = false;
	str_shrink(&s->text, 4096);
	if (s->err.code != ERR_NONE && !s->has_failed)
		log_warning("The state file cannot be written, revoked tasks are kept in memory "
			    "only: %s",
			    s->err.text);
	s->has_failed = s->err.code != ERR_NONE;
	if (s->has_failed)
		s->saved--; /* not the present one: tries again */
}

static void on_timer(uv_timer_t *timer)
{
	struct statedb *s = timer->data;

	if (s->is_saving || s->saved == s->revoked->changes)
		return;
	make_text(s);
	s->err = (struct err){0};
	s->is_saving = uv_queue_work(timer->loop, &s->work, on_thread, on_saved) == 0;
}

/* What is there, locked: another worker may have put a new file there in between. */
static int open_locked(struct statedb *s, struct err *err)
{
	struct stat here, there;

	for (int i = 0; i < 100; i++) {
		s->lock_fd = open(s->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
		if (s->lock_fd < 0)
			return errno == ENOENT ? 0 : err_errno(err, "open '%.300s'", s->path);
		if (lock(s->lock_fd, s->path, err) < 0)
			return -1;
		if (fstat(s->lock_fd, &here) == 0 && stat(s->path, &there) == 0 &&
		    here.st_ino == there.st_ino)
			return 1;
		close(s->lock_fd);
		s->lock_fd = -1;
	}
	return err_set(err, ERR_REFUSED, "'%.300s' keeps changing", s->path);
}

static int load(struct statedb *s, struct err *err)
{
	auto_str text = STR_INIT(STATEDB_MAX_BYTES);
	uint64_t clock = 0;
	int found = open_locked(s, err);

	if (found < 0 || (found > 0 && file_read(&text, s->path, err) < 0))
		return -1;
	/* An empty one is taken as new: somebody made it for us. */
	if (text.len > 0 &&
	    statedb_decode(s->revoked, &clock, text.data, text.len, clock_wall_us(), err) < 0)
		return err_prefix(err, "'%.300s': ", s->path);
	if (clock > *s->clock)
		*s->clock = clock;
	/* Tells now what would go wrong later. */
	make_text(s);
	return replace_file(s->path, &s->text, &s->lock_fd, err);
}

static void release(struct statedb *s)
{
	if (s->lock_fd >= 0)
		close(s->lock_fd);
	str_clear(&s->text);
	free(s->path);
	free(s);
}

struct statedb *statedb_open(uv_loop_t *loop, const char *path, struct revoked *revoked,
			     uint64_t *clock, struct err *err)
{
	struct statedb *s = mem_calloc(1, sizeof(*s));

	s->path = mem_strdup(path);
	s->revoked = revoked;
	s->clock = clock;
	s->lock_fd = -1;
	str_init(&s->text, STATEDB_MAX_BYTES);
	if (load(s, err) < 0) {
		err_prefix(err, "statedb: ");
		release(s);
		return NULL;
	}
	uv_timer_init(loop, &s->timer);
	s->timer.data = s->work.data = s;
	uv_timer_start(&s->timer, on_timer, LOOK_MS, LOOK_MS);
	return s;
}

void statedb_stop(struct statedb *s)
{
	if (s)
		uv_close((uv_handle_t *)&s->timer, NULL);
}

void statedb_close(struct statedb *s)
{
	if (!s)
		return;
	s->err = (struct err){0};
	make_text(s);
	if (replace_file(s->path, &s->text, &s->lock_fd, &s->err) < 0)
		log_error("The state file could not be written, revoked tasks are forgotten: %s",
			  s->err.text);
	release(s);
}

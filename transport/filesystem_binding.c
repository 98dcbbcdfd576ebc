#include "transport/filesystem_binding.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/file.h"
#include "base/mem.h"
#include "protocol/pyjson.h"
#include "transport/topic_pattern.h"

#define MAX_TABLE_BYTES	 ((size_t)4 << 20)
#define MAX_KEY_BYTES	 255 /* AMQP's limit for routing keys */
#define LOCK_TRIES	 50
#define LOCK_PAUSE_NS	 1000000
#define MAX_EXCHANGE_LEN 200

/* The same characters as kombu 5.7: no name leads out of the folder. */
static bool is_exchange_name(const char *name)
{
	size_t len = strlen(name);

	for (const char *p = name; *p != '\0'; p++)
		if (!isalnum((unsigned char)*p) && strchr("._-", *p) == NULL)
			return false;
	return len == 0 || (len <= MAX_EXCHANGE_LEN && strspn(name, ".") < len);
}

/* To be freed; NULL for a name that is not allowed. */
static char *table_path(const char *folder, const char *exchange, struct err *err)
{
	if (is_exchange_name(exchange))
		return mem_printf("%s/%s.exchange", folder, exchange);
	err_set(err, ERR_INVALID, "Invalid exchange name: '%.100s'", exchange);
	return NULL;
}

/* Who holds the lock only reads or writes one small file; if one stands still we do not. */
static int lock_table(int fd, int operation, const char *path, struct err *err)
{
	const struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

	for (int i = 0; i < LOCK_TRIES; i++) {
		if (flock(fd, operation | LOCK_NB) == 0)
			return 0;
		if (errno != EWOULDBLOCK && errno != EINTR)
			break;
		(void)nanosleep(&pause, NULL);
	}
	return err_errno(err, "lock '%.300s'", path);
}

/* A new array. An empty file is an empty table: its writer has created it, but not locked it yet.
 */
static json_t *read_table(const char *path, struct err *err)
{
	json_t *table;
	auto_str text;

	str_init(&text, MAX_TABLE_BYTES);
	if (file_read(&text, path, err) < 0)
		return NULL;
	if (text.len == 0)
		return json_array();
	table = pyjson_load(text.data, text.len, err);
	if (json_is_array(table))
		return table;
	json_decref(table);
	err_set(err, ERR_INVALID, "not a list");
	err_prefix(err, "'%.300s': ", path);
	return NULL;
}

static int write_table(int fd, const char *path, const json_t *table, struct err *err)
{
	auto_str text;

	str_init(&text, MAX_TABLE_BYTES);
	if (pyjson_dump(&text, table) < 0)
		return err_set(err, ERR_LIMIT, "'%.300s' is too large", path);
	/* In place: other programs hold their locks on this very file. */
	if (pwrite(fd, text.data, text.len, 0) != (ssize_t)text.len ||
	    ftruncate(fd, (off_t)text.len) < 0)
		return err_errno(err, "write '%.300s'", path);
	return 0;
}

static const char *column(const json_t *row, size_t index)
{
	const char *text = json_string_value(json_array_get(row, index));

	return text ? text : "";
}

static bool has_binding(const json_t *table, const char *key, const char *pattern,
			const char *queue)
{
	size_t i;
	json_t *row;

	json_array_foreach (table, i, row) {
		if (strcmp(column(row, 0), key) == 0 && strcmp(column(row, 1), pattern) == 0 &&
		    strcmp(column(row, 2), queue) == 0)
			return true;
	}
	return false;
}

int filesystem_bind(const char *control_folder, const char *queue,
		    const struct binding_def *binding, struct err *err)
{
	auto_free char *path = table_path(control_folder, binding->exchange, err);
	auto_str pattern;
	auto_fd fd = -1;
	json_auto_t *table = NULL;
	const char *key = binding->routing_key ? binding->routing_key : "";
	bool is_topic = binding->exchange_type && strcmp(binding->exchange_type, "topic") == 0;

	str_init(&pattern, 8 * MAX_KEY_BYTES);
	if (path == NULL)
		return -1;
	if (is_topic && topic_pattern_write(&pattern, key) < 0)
		return err_set(err, ERR_LIMIT, "binding key '%.40s...' is too long", key);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
	if (fd < 0)
		return err_errno(err, "open '%.300s'", path);
	if (lock_table(fd, LOCK_EX, path, err) < 0)
		return -1;
	table = read_table(path, err);
	if (table == NULL)
		return -1;
	if (has_binding(table, key, is_topic ? pattern.data : "", queue))
		return 0;
	json_array_insert_new(table, 0,
			      json_pack("[sss]", key, is_topic ? pattern.data : "", queue));
	return write_table(fd, path, table, err);
}

int filesystem_unbind(const char *control_folder, const char *exchange, const char *queue,
		      struct err *err)
{
	auto_free char *path = table_path(control_folder, exchange, err);
	auto_fd fd = -1;
	json_auto_t *table = NULL;

	if (path == NULL)
		return -1;
	fd = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0)
		return errno == ENOENT ? 0 : err_errno(err, "open '%.300s'", path);
	if (lock_table(fd, LOCK_EX, path, err) < 0)
		return -1;
	table = read_table(path, err);
	if (table == NULL)
		return -1;
	size_t before = json_array_size(table);
	for (size_t i = before; i-- > 0;)
		if (strcmp(column(json_array_get(table, i), 2), queue) == 0)
			json_array_remove(table, i);
	return json_array_size(table) < before ? write_table(fd, path, table, err) : 0;
}

int64_t filesystem_table_stamp(const char *control_folder, const char *exchange)
{
	auto_free char *path = table_path(control_folder, exchange, NULL);
	struct stat st;

	if (path == NULL || stat(path, &st) < 0)
		return -1;
	return ((int64_t)st.st_mtim.tv_sec << 30) + st.st_mtim.tv_nsec + st.st_size;
}

int filesystem_check_exchange(const char *name, struct err *err)
{
	auto_free char *path = table_path("", name, err);

	return path ? 0 : -1;
}

/* Fanout ignores keys. Exchanges that others declared are known by Celery's names for them; the
 * pattern in a row tells a topic binding. */
static bool row_matches(const json_t *row, const char *exchange, const char *type,
			const char *routing_key)
{
	static const char suffix[] = ".pidbox";
	size_t len = strlen(exchange);
	bool is_mailbox = len >= sizeof(suffix) - 1 &&
			  strcmp(exchange + len - (sizeof(suffix) - 1), suffix) == 0 &&
			  strncmp(exchange, "reply.", 6) != 0;

	if (type ? strcmp(type, "fanout") == 0 : is_mailbox)
		return true;
	if (type ? strcmp(type, "topic") == 0 : column(row, 1)[0] != '\0')
		return topic_key_matches(column(row, 0), strlen(column(row, 0)), routing_key);
	return strcmp(column(row, 0), routing_key) == 0;
}

static bool has_name(const json_t *names, const char *name)
{
	size_t i;
	json_t *known;

	json_array_foreach (names, i, known) {
		const char *text = json_string_value(known);

		if (text && strcmp(text, name) == 0)
			return true;
	}
	return false;
}

json_t *filesystem_route(const char *control_folder, const char *exchange,
			 const char *exchange_type, const char *routing_key, struct err *err)
{
	auto_free char *path = table_path(control_folder, exchange, err);
	auto_fd fd = -1;
	json_auto_t *table = NULL;
	json_t *names, *row;
	size_t i;

	if (path == NULL)
		return NULL;
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (fd < 0 && errno == ENOENT)
		return json_array();
	if (fd < 0) {
		err_errno(err, "open '%.300s'", path);
		return NULL;
	}
	if (lock_table(fd, LOCK_SH, path, err) < 0)
		return NULL;
	table = read_table(path, err);
	if (table == NULL)
		return NULL;
	names = json_array();
	json_array_foreach (table, i, row) {
		const char *queue = column(row, 2);

		if (queue[0] != '\0' && !has_name(names, queue) &&
		    row_matches(row, exchange, exchange_type, routing_key))
			json_array_append_new(names, json_string(queue));
	}
	return names;
}

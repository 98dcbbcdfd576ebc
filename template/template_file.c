/* Finds template files and keeps them parsed. */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "template/template.h"

enum { CACHE_SIZE = 64 };

struct cache_entry {
	char *path;
	struct template *tree;
	struct timespec mtime;
	off_t size;
	ino_t inode;
	uint64_t used; /* turn of the last use */
};

struct cache {
	struct cache_entry entries[CACHE_SIZE];
	uint64_t turn;
};

/* The calling thread's cache lives in thread-specific data, so that it goes with the thread. */
static pthread_key_t cache_key;
static pthread_once_t cache_once = PTHREAD_ONCE_INIT;

static void entry_clear(struct cache_entry *entry)
{
	free(entry->path);
	template_free(entry->tree);
	*entry = (struct cache_entry){0};
}

static void cache_free(void *arg)
{
	struct cache *cache = arg;

	for (size_t i = 0; i < CACHE_SIZE; i++)
		entry_clear(&cache->entries[i]);
	free(cache);
}

static void cache_key_make(void)
{
	if (pthread_key_create(&cache_key, cache_free) != 0)
		abort();
}

static struct cache *cache_get(void)
{
	struct cache *cache;

	pthread_once(&cache_once, cache_key_make);
	cache = pthread_getspecific(cache_key);
	if (!cache) {
		cache = mem_calloc(1, sizeof(*cache));
		pthread_setspecific(cache_key, cache);
	}
	return cache;
}

/* The entry of the path, or the one unused for longest, emptied. */
static struct cache_entry *cache_slot(struct cache *cache, const char *path)
{
	struct cache_entry *oldest = &cache->entries[0];

	for (size_t i = 0; i < CACHE_SIZE; i++) {
		struct cache_entry *entry = &cache->entries[i];

		if (entry->path && strcmp(entry->path, path) == 0)
			return entry;
		if (entry->used < oldest->used)
			oldest = entry;
	}
	entry_clear(oldest);
	return oldest;
}

static bool is_current(const struct cache_entry *entry, const struct stat *st)
{
	return entry->tree && entry->size == st->st_size && entry->inode == st->st_ino &&
	       entry->mtime.tv_sec == st->st_mtim.tv_sec &&
	       entry->mtime.tv_nsec == st->st_mtim.tv_nsec;
}

static int read_all(int fd, const char *path, struct str *out, struct err *err)
{
	char chunk[8192];
	ssize_t n;

	while ((n = read(fd, chunk, sizeof(chunk))) != 0) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return err_errno(err, "template %s", path);
		if (str_add(out, chunk, (size_t)n) < 0)
			return err_set(err, ERR_LIMIT, "template %s is larger than %zu bytes", path,
				       TEMPLATE_MAX_FILE);
	}
	return 0;
}

/* Reads and parses anew; `st` becomes that of the file which was read. */
static struct template *load(const char *path, const char *name, struct stat *st, struct err *err)
{
	struct template *tree = NULL;
	auto_str text;
	int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);

	str_init(&text, TEMPLATE_MAX_FILE);
	if (fd < 0 || fstat(fd, st) < 0)
		err_errno(err, "template %s", path);
	else if (read_all(fd, path, &text, err) == 0)
		tree = template_parse(name, text.data ? text.data : "", text.len, err);
	if (fd >= 0)
		close(fd);
	return tree;
}

static const struct template *get(const char *path, const char *name, struct stat *st,
				  struct err *err)
{
	struct cache *cache = cache_get();
	struct cache_entry *entry = cache_slot(cache, path);

	if (!is_current(entry, st)) {
		entry_clear(entry);
		entry->tree = load(path, name, st, err);
		if (!entry->tree)
			return NULL;
		entry->path = mem_strdup(path);
		entry->mtime = st->st_mtim;
		entry->size = st->st_size;
		entry->inode = st->st_ino;
	}
	entry->used = ++cache->turn;
	return entry->tree;
}

/* Relative, no empty part, no "." or "..": the name stays inside the folder. */
static bool is_inside(const char *name)
{
	if (!name[0] || strlen(name) > 255)
		return false;
	for (const char *p = name; *p || p > name;) {
		size_t len = strcspn(p, "/");

		if (len == 0 || (len <= 2 && strspn(p, ".") >= len))
			return false;
		for (size_t i = 0; i < len; i++)
			if ((unsigned char)p[i] < 0x20 || p[i] == '\\' || p[i] == 0x7f)
				return false;
		p += len;
		if (!*p)
			return true;
		p++;
	}
	return false;
}

int template_render(const char *const *dirs, const char *name, const json_t *context,
		    struct str *out, struct err *err)
{
	struct stat st;

	if (!is_inside(name))
		return err_set(err, ERR_INVALID, "'%.100s' is not a template name", name);
	for (; dirs && *dirs; dirs++) {
		auto_free char *path = mem_printf("%s/%s", *dirs, name);
		const struct template *tree;

		if (stat(path, &st) < 0 || !S_ISREG(st.st_mode))
			continue;
		tree = get(path, name, &st, err);
		if (!tree)
			return -1;
		return template_eval(tree, context, template_is_markup(name), out, err);
	}
	return err_set(err, ERR_NOT_FOUND, "%s", name);
}

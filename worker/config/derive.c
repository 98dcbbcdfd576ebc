#include "worker/config/derive.h"

#include <errno.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/config/cpus.h"
#include "worker/config/derive_tls.h"
#include "worker/config/nodename.h"
#include "worker/config/value.h"

#define DATA_FOLDER "smallage-data"

static bool is_set(const struct config_store *s, const char *name)
{
	const char *text = config_store_text(s, name);

	return text && text[0];
}

static bool is_true(const struct config_store *s, const char *name)
{
	bool value = false;

	return is_set(s, name) &&
	       config_value_bool(config_store_text(s, name), &value, NULL) == 0 && value;
}

static bool has_scheme(const char *url, const char *scheme)
{
	size_t len = strlen(scheme);

	return url && strncasecmp(url, scheme, len) == 0 &&
	       (url[len] == '\0' || strncmp(url + len, "://", 3) == 0);
}

/* Percent-encodes what may not stand bare in a URL's user part. */
static void add_encoded(struct str *out, const char *text)
{
	for (; *text; text++) {
		if (strchr("-._~", *text) || (*text >= '0' && *text <= '9') ||
		    (*text >= 'A' && *text <= 'Z') || (*text >= 'a' && *text <= 'z'))
			str_addc(out, *text);
		else
			str_addf(out, "%%%02X", (unsigned char)*text);
	}
}

/* The URL that redis_url or its parts stand for, or NULL. Celery has no such variables, and wants
 * it said whether certificates are verified: they are, unless the URL says otherwise. */
static char *redis_url(const struct config_store *s)
{
	const char *url = config_store_text(s, "redis_url");
	const char *user = config_store_text(s, "redis_username");
	const char *password = config_store_text(s, "redis_password");
	auto_str out;

	str_init(&out, 4096);
	if (url && url[0] && has_scheme(url, "rediss") && !strstr(url, "ssl_cert_reqs="))
		return mem_printf("%s%sssl_cert_reqs=required", url, strchr(url, '?') ? "&" : "?");
	if (url && url[0])
		return mem_strdup(url);
	if (!is_set(s, "redis_host"))
		return NULL;
	str_puts(&out, is_true(s, "redis_tls") ? "rediss://" : "redis://");
	if (user || password) {
		add_encoded(&out, user ? user : "");
		str_addc(&out, ':');
		add_encoded(&out, password ? password : "");
		str_addc(&out, '@');
	}
	str_addf(&out, "%s:%s/%s%s", config_store_text(s, "redis_host"),
		 config_store_text(s, "redis_port"), config_store_text(s, "redis_db"),
		 is_true(s, "redis_tls") ? "?ssl_cert_reqs=required" : "");
	return str_detach(&out);
}

static char *files_options(const char *folder)
{
	auto_free char *queue = mem_printf("%s/queue", folder);
	auto_free char *control = mem_printf("%s/control", folder);
	json_t *options = json_pack("{s:s, s:s, s:s}", "data_folder_in", queue, "data_folder_out",
				    queue, "control_folder", control);
	char *text = json_dumps(options, 0);

	json_decref(options);
	return text;
}

/* No server configured: messages and results as files below the working directory, where a Python
 * producer finds them with the settings that the notice names. */
static int derive_files(struct config_store *s, const char *why, struct err *err)
{
	auto_free char *here = getcwd(NULL, 0);
	auto_free char *folder = NULL;
	auto_free char *options = NULL;
	auto_free char *results = NULL;
	const char *backend = config_store_text(s, "result_backend");
	bool is_ours;

	if (!here)
		return err_errno(err, "working directory");
	folder = mem_printf("%s/" DATA_FOLDER, strcmp(here, "/") == 0 ? "" : here);
	options = files_options(folder);
	results = mem_printf("file://%s/results", folder);
	config_store_derive(s, "broker_url", "filesystem://", why);
	if (!is_set(s, "broker_transport_options"))
		config_store_derive(s, "broker_transport_options", options, why);
	is_ours = !is_set(s, "result_backend") || has_scheme(backend, "cache+memory");
	if (is_ours)
		config_store_derive(s, "result_backend", results, why);
	config_store_notice(s,
			    "%s: no server is used, messages and results are files. Producers set "
			    "broker_url='filesystem://', broker_transport_options=%s%s%s%s",
			    why, config_store_text(s, "broker_transport_options"),
			    is_ours ? ", result_backend='" : "", is_ours ? results : "",
			    is_ours ? "'" : "");
	return 0;
}

/* A name alone: another setting says where. */
static bool derive_place(struct config_store *s, const char *backend)
{
	static const struct {
		const char *name, *setting, *lead;
	} places[] = {
		{"db", "database_url", "db+"},
		{"database", "database_url", "db+"},
		{"cache", "cache_backend", "cache+"},
	};

	for (size_t i = 0; backend && i < sizeof(places) / sizeof(places[0]); i++) {
		auto_free char *url = NULL;

		if (strcmp(backend, places[i].name) != 0 || !is_set(s, places[i].setting))
			continue;
		url = mem_printf("%s%s", places[i].lead, config_store_text(s, places[i].setting));
		config_store_derive(s, "result_backend", url,
				    config_store_get(s, places[i].setting)->where);
		return true;
	}
	return false;
}

static int derive_backend(struct config_store *s, const char *redis, const char *where,
			  struct err *err)
{
	const char *backend = config_store_text(s, "result_backend");

	if (derive_place(s, backend))
		return 0;
	if ((!backend || !backend[0]) && redis &&
	    config_store_get(s, "result_backend")->origin == CONFIG_FROM_DEFAULT)
		config_store_derive(s, "result_backend", redis, where);
	if (has_scheme(backend, "cache+memory"))
		return err_set(err, ERR_UNSUPPORTED,
			       "result_backend cache+memory:// cannot be shared between processes; "
			       "use redis:// or file:///folder");
	return 0;
}

int derive_servers(struct config_store *s, struct err *err)
{
	const char *broker = config_store_text(s, "broker_url");
	auto_free char *redis = is_true(s, "debug") ? NULL : redis_url(s);
	const struct config_value *from =
		config_store_get(s, is_set(s, "redis_url") ? "redis_url" : "redis_host");

	if (is_set(s, "broker_read_url") && is_set(s, "broker_write_url")) {
		if (config_store_get(s, "broker_url")->origin == CONFIG_FROM_OPTION)
			config_store_notice(s, "option -b has no effect, because broker_read_url "
					       "and broker_write_url are set");
		return derive_backend(s, redis, from->where, err);
	}
	if (!is_set(s, "broker_url") && !redis &&
	    (is_set(s, "broker_read_url") || is_set(s, "broker_write_url")))
		return err_set(err, ERR_INVALID,
			       "one of broker_read_url and broker_write_url is set, but neither "
			       "the other nor broker_url");
	if (has_scheme(broker, "memory"))
		return derive_files(s, "memory:// cannot be shared between processes", err);
	if ((!broker || !broker[0]) && redis) {
		config_store_derive(s, "broker_url", redis, from->where);
		broker = redis;
	}
	if (!broker || !broker[0])
		return derive_files(s, is_true(s, "debug") ? "debug is on" : "no broker_url", err);
	return derive_backend(s, redis, from->where, err);
}

/* Offset of a zone now. The zone is entered and left again: the log keeps the machine's. */
static int zone_offset(const char *zone, int *ret_offset, struct err *err)
{
	const char *folder = getenv("TZDIR") ? getenv("TZDIR") : "/usr/share/zoneinfo";
	auto_free char *path = mem_printf("%s/%s", folder, zone);
	auto_free char *before = mem_strdup(getenv("TZ"));
	time_t now = time(NULL);
	struct stat info;
	struct tm local;

	*ret_offset = 0;
	if (strcasecmp(zone, "UTC") == 0 || strcasecmp(zone, "GMT") == 0)
		return 0;
	if (strstr(zone, "..") || zone[0] == '/' || stat(path, &info) != 0 ||
	    !S_ISREG(info.st_mode))
		return err_set(err, ERR_NOT_FOUND,
			       "timezone '%.60s' is not known here (zones come with the package "
			       "tzdata)",
			       zone);
	setenv("TZ", zone, 1);
	tzset();
	localtime_r(&now, &local);
	*ret_offset = (int)local.tm_gmtoff;
	if (before)
		setenv("TZ", before, 1);
	else
		unsetenv("TZ");
	tzset();
	return 0;
}

static void fill_with(char **member, const char *text)
{
	if (!*member)
		*member = mem_strdup(text);
}

static int expand_member(char **member, const char *node, const char *name, struct err *err)
{
	char *expanded;

	if (!*member)
		return 0;
	expanded = nodename_format(*member, node, err);
	if (!expanded)
		return err_prefix(err, "%s: ", name);
	free(*member);
	*member = expanded;
	return 0;
}

/* contract: control.md C-78 */
static void derive_concurrency(struct config *c)
{
	if (c->worker_concurrency == 0)
		c->worker_concurrency = cpus_budget(
			cpus_available(), c->worker_pool == CONFIG_PREFORK ? cpus_quota("") : 0);
}

/* A whole number at *at, which moves behind it; -1 when there is none. */
static long read_count(const char **at)
{
	char *end;
	long count = strtol(*at, &end, 10);

	if (end == *at)
		return -1;
	*at = end + strspn(end, " ");
	return count > 10000 ? 10001 : count;
}

/* "10,3", "3,10" or "10", as Celery reads it. */
static int derive_autoscale(struct config *c, struct err *err)
{
	const char *at = c->autoscale;
	long first, second = 0;

	if (!at)
		return 0;
	first = read_count(&at);
	if (*at == ',') {
		at++;
		second = read_count(&at);
	}
	if (*at != '\0' || first < 0 || second < 0)
		return err_set(err, ERR_INVALID,
			       "--autoscale: expected two comma separated integers or one integer, "
			       "got '%.60s'",
			       c->autoscale);
	c->autoscale_max = (unsigned)(first > second ? first : second);
	c->autoscale_min = (unsigned)(first > second ? second : first);
	if (c->autoscale_max < 1 || c->autoscale_max > 10000)
		return err_set(err, ERR_INVALID,
			       "--autoscale: the larger number must be from 1 to 10000");
	if (c->worker_pool != CONFIG_PREFORK)
		return err_set(err, ERR_UNSUPPORTED,
			       "--autoscale: only the prefork pool can change its size");
	return 0;
}

char *derive_socket_folder(void)
{
	const char *runtime = getenv("XDG_RUNTIME_DIR");

	if (runtime && runtime[0] == '/')
		return mem_printf("%s/smallage", runtime);
	if (access("/run/smallage", W_OK) == 0 ||
	    (access("/run/smallage", F_OK) != 0 && access("/run", W_OK) == 0))
		return mem_strdup("/run/smallage");
	return mem_printf("/tmp/smallage-%u", (unsigned)geteuid());
}

static void derive_socket(struct config *c)
{
	auto_free char *folder = NULL;
	auto_free char *file = NULL;

	if (c->status_socket)
		return;
	folder = derive_socket_folder();
	file = mem_strdup(c->node_name);
	for (char *at = file; *at; at++)
		if (*at == '/')
			*at = '_';
	c->status_socket = mem_printf("%s/%s.sock", folder, file);
}

/* kombu's own words. */
static int check_mailbox(const struct config *c, struct err *err)
{
	if (c->control_queue_exclusive && c->control_queue_durable)
		return err_set(err, ERR_INVALID,
			       "control_queue_exclusive and control_queue_durable cannot both be "
			       "True (exclusive queues are automatically deleted and cannot be "
			       "durable).");
	return 0;
}

/* Shows what was worked out to config_get and config_dump too. */
static void write_back(const struct config *c, struct config_store *s)
{
	const struct {
		const char *name, *text;
	} texts[] = {{"hostname", c->node_name},
		     {"status_socket", c->status_socket},
		     {"log_file", c->log_file},
		     {"pid_file", c->pid_file},
		     {"worker_state_db", c->worker_state_db},
		     {"task_default_exchange", c->task_default_exchange},
		     {"task_default_routing_key", c->task_default_routing_key}};
	auto_free char *concurrency = mem_printf("%u", c->worker_concurrency);

	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		config_store_derive(s, texts[i].name, texts[i].text, NULL);
	config_store_derive(s, "worker_concurrency", concurrency, NULL);
}

/* In Celery these are variables only, and its start error is this one. contract: control.md 2.6 */
static int bad_revokes(const char *variable, const char *type, const char *text, struct err *err)
{
	return err_set(err, ERR_INVALID, "Invalid value for %s: expected %s, got '%.60s'", variable,
		       type, text);
}

static int derive_revokes(struct config *c, const struct config_store *s, struct err *err)
{
	const char *max = config_store_text(s, "worker_revokes_max");
	const char *expires = config_store_text(s, "worker_revoke_expires");
	char *end;

	errno = 0;
	long long count = strtoll(max ? max : "", &end, 10);

	if (!max || end == max || *end || errno != 0 || count < 0)
		return bad_revokes("CELERY_WORKER_REVOKES_MAX", "int", max ? max : "", err);
	c->worker_revokes_max = (size_t)count;
	c->worker_revoke_expires = strtod(expires ? expires : "", &end);
	if (!expires || end == expires || *end || !(c->worker_revoke_expires >= 0) ||
	    strpbrk(expires, "xX"))
		return bad_revokes("CELERY_WORKER_REVOKE_EXPIRES", "float", expires ? expires : "",
				   err);
	return 0;
}

/* An error says where the setting stands. */
static int derive_routing(struct config *c, const struct config_store *s, struct err *err)
{
	fill_with(&c->task_default_queue, "celery");
	fill_with(&c->task_default_exchange, c->task_default_queue);
	fill_with(&c->task_default_routing_key, c->task_default_queue);
	const struct routing_options options = {
		.queues = c->task_queues,
		.routes = c->task_routes,
		.default_queue = c->task_default_queue,
		.default_exchange = c->task_default_exchange,
		.default_exchange_type = c->task_default_exchange_type,
		.default_routing_key = c->task_default_routing_key,
		.default_queue_type = c->task_default_queue_type,
		.missing_queue_type = c->task_create_missing_queue_type,
		.missing_exchange_type = c->task_create_missing_queue_exchange_type,
		.max_priority = c->task_queue_max_priority,
		.creates_missing = c->task_create_missing_queues,
	};
	struct err found = {0};

	c->routing = routing_new(&options, &found);
	if (c->routing)
		return 0;
	bool is_routes = strncmp(found.text, "task_routes", strlen("task_routes")) == 0;

	return err_set(err, found.code, "%s: %s",
		       config_store_get(s, is_routes ? "task_routes" : "task_queues")->where,
		       found.text);
}

int derive_rest(struct config *c, struct config_store *s, struct err *err)
{
	auto_free char *host = nodename_host();
	char *node = nodename_expand(c->node_name, host, err);

	if (!node)
		return err_prefix(err, "hostname: ");
	free(c->node_name);
	c->node_name = node;
	if (derive_revokes(c, s, err) != 0)
		return -1;
	derive_concurrency(c);
	if (derive_autoscale(c, err) != 0)
		return -1;
	derive_socket(c);
	fill_with(&c->broker_read_url, c->broker_url ? c->broker_url : "");
	fill_with(&c->broker_write_url, c->broker_url ? c->broker_url : "");
	if (derive_routing(c, s, err) != 0)
		return -1;
	if (config_store_get(s, "task_acks_on_failure")->origin == CONFIG_FROM_DEFAULT)
		c->task_acks_on_failure = is_true(s, "task_acks_on_failure_or_timeout");
	if (config_store_get(s, "task_acks_on_timeout")->origin == CONFIG_FROM_DEFAULT)
		c->task_acks_on_timeout = is_true(s, "task_acks_on_failure_or_timeout");
	if (expand_member(&c->log_file, node, "log_file", err) != 0 ||
	    expand_member(&c->pid_file, node, "pid_file", err) != 0 ||
	    expand_member(&c->worker_state_db, node, "worker_state_db", err) != 0 ||
	    derive_content(c, s, err) != 0 || check_mailbox(c, err) != 0)
		return -1;
	write_back(c, s);
	derive_tls_notices(c, s);
	return zone_offset(config_store_text(s, "timezone"), &c->timezone_offset_s, err);
}

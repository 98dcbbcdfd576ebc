#include "transport/redis_settings.h"

#include <errno.h>
#include <jansson.h>
#include <limits.h>
#include <math.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "protocol/pyjson.h"

/* Less would take a server that is busy for a moment for a dead one. */
#define ANSWER_TIMEOUT_MIN_S 1
#define TIMEOUT_MAX_S	     86400

void redis_settings_init(struct redis_settings *s)
{
	*s = (struct redis_settings){.answer_timeout_s = 15, .health_check_interval_s = 25};
}

/* A number, or a text of one as it comes from a URL. null says nothing. -1: neither. */
static int read_number(const json_t *value, double least, double *ret_number, struct err *err)
{
	const char *text = json_string_value(value);
	char *end = NULL;
	double number = json_number_value(value);

	if (json_is_null(value))
		return 0;
	if (text)
		number = strtod(text, &end);
	if ((text ? end == text || *end != '\0' : !json_is_number(value)) || !isfinite(number) ||
	    number < 0)
		return err_set(err, ERR_INVALID, "is no number of 0 or more");
	*ret_number = number < least ? least : number > TIMEOUT_MAX_S ? TIMEOUT_MAX_S : number;
	return 0;
}

static int read_answer_timeout(double *ret_s, const json_t *value, struct err *err)
{
	return read_number(value, ANSWER_TIMEOUT_MIN_S, ret_s, err);
}

static int read_seconds(double *ret_s, const json_t *value, struct err *err)
{
	return read_number(value, 0, ret_s, err);
}

static int read_text(char **ret_text, const json_t *value, struct err *err)
{
	if (json_is_null(value))
		return 0;
	if (!json_is_string(value))
		return err_set(err, ERR_INVALID, "is no text");
	free(*ret_text);
	*ret_text = mem_strdup(json_string_value(value));
	return 0;
}

static int read_keepalive(struct stream_keepalive *k, const json_t *value, struct err *err)
{
	const char *text = json_string_value(value);

	if (json_is_null(value))
		return 0;
	/* redis-py's words in a URL */
	if (text && (strchr("0nNfF", text[0]) != NULL))
		k->is_off = true;
	else if (json_is_boolean(value))
		k->is_off = json_is_false(value);
	else if (!text)
		return err_set(err, ERR_INVALID, "is neither true nor false");
	return 0;
}

/* Python's keys are the numbers of TCP_KEEPIDLE and so on; a settings file may write the names. */
static int *keepalive_member(struct stream_keepalive *k, const char *key)
{
	const struct {
		const char *name;
		int number, *member;
	} rows[] = {
		{"TCP_KEEPIDLE", TCP_KEEPIDLE, &k->idle_s},
		{"TCP_KEEPINTVL", TCP_KEEPINTVL, &k->interval_s},
		{"TCP_KEEPCNT", TCP_KEEPCNT, &k->count},
	};

	for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
		char *end;
		long number = strtol(key, &end, 10);

		if (strcmp(rows[i].name, key) == 0 ||
		    (end != key && *end == '\0' && number == rows[i].number))
			return rows[i].member;
	}
	return NULL;
}

static int read_keepalive_options(struct stream_keepalive *k, json_t *value, struct err *err)
{
	const char *key;
	json_t *item;

	if (!json_is_object(value) && !json_is_null(value))
		return err_set(err, ERR_INVALID, "is no mapping");
	json_object_foreach (value, key, item) {
		int *member = keepalive_member(k, key);
		json_int_t number = json_integer_value(item);

		if (member == NULL)
			return err_set(err, ERR_INVALID,
				       "knows TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT only");
		if (number < 1 || number > 32767)
			return err_set(err, ERR_INVALID, "%.20s is no number from 1 to 32767", key);
		*member = (int)number;
	}
	return 0;
}

static int refuse_provider(const json_t *value, struct err *err)
{
	if (json_is_null(value))
		return 0;
	return err_set(err, ERR_UNSUPPORTED,
		       "is a class of Python; write user and password into the URL");
}

/* One key of sentinel_kwargs. */
static int read_sentinel_key(struct redis_settings *s, const char *key, json_t *value,
			     struct err *err)
{
	if (strcmp(key, "username") == 0)
		return read_text(&s->sentinel_user, value, err);
	if (strcmp(key, "password") == 0)
		return read_text(&s->sentinel_password, value, err);
	if (strcmp(key, "socket_timeout") == 0)
		return read_answer_timeout(&s->sentinel_answer_timeout_s, value, err);
	if (strcmp(key, "socket_connect_timeout") == 0)
		return read_seconds(&s->sentinel_connect_timeout_s, value, err);
	if (strcmp(key, "credential_provider") == 0)
		return refuse_provider(value, err);
	return 0;
}

/* redis-py takes ssl=True and ssl_...; the latter mean nothing without the former. */
static void take_sentinel_tls(struct redis_settings *s, json_t *kwargs)
{
	json_auto_t *found = json_object();
	const char *key;
	json_t *item;

	if (!json_is_true(json_object_get(kwargs, "ssl")))
		return;
	json_object_foreach (kwargs, key, item)
		if (strncmp(key, "ssl_", 4) == 0)
			json_object_set(found, key, item);
	free(s->sentinel_tls);
	s->sentinel_tls = json_object_size(found) > 0 ? json_dumps(found, 0) : mem_strdup("true");
}

static int read_sentinel_kwargs(struct redis_settings *s, json_t *value, struct err *err)
{
	const char *key;
	json_t *item;

	if (!json_is_object(value) && !json_is_null(value))
		return err_set(err, ERR_INVALID, "is no mapping");
	json_object_foreach (value, key, item) {
		if (read_sentinel_key(s, key, item, err) < 0)
			return err_prefix(err, "%.40s ", key);
	}
	take_sentinel_tls(s, value);
	return 0;
}

static int read_min_others(struct redis_settings *s, const json_t *value, struct err *err)
{
	double number = s->min_other_sentinels;

	if (read_number(value, 0, &number, err) < 0)
		return -1;
	s->min_other_sentinels = (unsigned)number;
	return 0;
}

static int read_key(struct redis_settings *s, const char *key, json_t *value, struct err *err)
{
	if (strcmp(key, "socket_timeout") == 0)
		return read_answer_timeout(&s->answer_timeout_s, value, err);
	if (strcmp(key, "socket_connect_timeout") == 0)
		return read_seconds(&s->connect_timeout_s, value, err);
	if (strcmp(key, "health_check_interval") == 0)
		return read_seconds(&s->health_check_interval_s, value, err);
	if (strcmp(key, "socket_keepalive") == 0)
		return read_keepalive(&s->keepalive, value, err);
	if (strcmp(key, "socket_keepalive_options") == 0)
		return read_keepalive_options(&s->keepalive, value, err);
	if (strcmp(key, "client_name") == 0)
		return read_text(&s->client_name, value, err);
	if (strcmp(key, "master_name") == 0)
		return read_text(&s->master_name, value, err);
	if (strcmp(key, "min_other_sentinels") == 0)
		return read_min_others(s, value, err);
	if (strcmp(key, "sentinel_kwargs") == 0)
		return read_sentinel_kwargs(s, value, err);
	if (strcmp(key, "credential_provider") == 0)
		return refuse_provider(value, err);
	if (strcmp(key, "sentinel_fanout_compat") == 0 && json_is_true(value))
		return err_set(
			err, ERR_UNSUPPORTED,
			"is for peers with kombu before 5.4, which are not heard here behind "
			"Sentinels; upgrade them and leave it out");
	return 0;
}

int redis_settings_read(struct redis_settings *s, const char *json, struct err *err)
{
	json_auto_t *root = NULL;
	const char *key;
	json_t *value;

	if (json == NULL || json[0] == '\0')
		return 0;
	root = pyjson_load(json, strlen(json), err);
	if (root == NULL)
		return -1;
	json_object_foreach (root, key, value) {
		if (read_key(s, key, value, err) < 0)
			return err_prefix(err, "%.40s ", key);
	}
	return 0;
}

int redis_settings_read_query(struct redis_settings *s, const struct url *url, struct err *err)
{
	static const char *const keys[] = {"socket_timeout",   "socket_connect_timeout",
					   "socket_keepalive", "health_check_interval",
					   "client_name",      "credential_provider"};

	for (size_t i = 0; i < sizeof(keys) / sizeof(keys[0]); i++) {
		auto_free char *text = url_query(url, keys[i]);
		json_auto_t *value = text ? json_string(text) : NULL;

		if (text && value == NULL)
			return err_set(err, ERR_INVALID, "%s is no UTF-8", keys[i]);
		if (text && read_key(s, keys[i], value, err) < 0)
			return err_prefix(err, "%s ", keys[i]);
	}
	return 0;
}

void redis_settings_copy(struct redis_settings *to, const struct redis_settings *from)
{
	*to = *from;
	to->client_name = mem_strdup(from->client_name);
	to->master_name = mem_strdup(from->master_name);
	to->sentinel_user = mem_strdup(from->sentinel_user);
	to->sentinel_password = mem_strdup(from->sentinel_password);
	to->tls = mem_strdup(from->tls);
	to->sentinel_tls = mem_strdup(from->sentinel_tls);
}

static void secret_free(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

void redis_settings_clear(struct redis_settings *s)
{
	free(s->client_name);
	free(s->master_name);
	free(s->sentinel_user);
	secret_free(s->sentinel_password);
	secret_free(s->tls); /* may hold the password of a key */
	secret_free(s->sentinel_tls);
	redis_settings_init(s);
}

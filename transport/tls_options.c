#include "transport/tls_options.h"

#include <openssl/ssl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"

typedef int option_fn(struct tls_options *o, const json_t *value, struct err *err);

static int take_text(char **member, const json_t *value, struct err *err)
{
	if (!json_is_string(value) && !json_is_null(value))
		return err_set(err, ERR_INVALID, "a text is wanted");
	free(*member);
	*member = json_string_length(value) > 0 ? mem_strdup(json_string_value(value)) : NULL;
	return 0;
}

static bool is_one_of(const char *text, const char *const *words)
{
	for (; *words; words++)
		if (strcasecmp(text, *words) == 0)
			return true;
	return false;
}

static int read_cert_reqs(struct tls_options *o, const json_t *value, struct err *err)
{
	static const char *const none[] = {"none", "CERT_NONE", "ssl.CERT_NONE", "0", NULL};
	static const char *const required[] = {"required",
					       "optional",
					       "CERT_REQUIRED",
					       "CERT_OPTIONAL",
					       "ssl.CERT_REQUIRED",
					       "ssl.CERT_OPTIONAL",
					       "1",
					       "2",
					       NULL};
	json_int_t number = json_integer_value(value);

	if (json_is_integer(value) && number >= 0 && number <= 2)
		o->verify = number == 0 ? TLS_VERIFY_NONE : TLS_VERIFY_REQUIRED;
	else if (json_is_string(value) && is_one_of(json_string_value(value), none))
		o->verify = TLS_VERIFY_NONE;
	else if (json_is_string(value) && is_one_of(json_string_value(value), required))
		o->verify = TLS_VERIFY_REQUIRED;
	else
		return err_set(err, ERR_INVALID, "use required, optional or none");
	return 0;
}

/* In a URL everything but "false" is true, as in kombu. */
static int read_check_hostname(struct tls_options *o, const json_t *value, struct err *err)
{
	if (!json_is_boolean(value) && !json_is_string(value))
		return err_set(err, ERR_INVALID, "use true or false");
	o->is_any_name =
		json_is_false(value) ||
		(json_is_string(value) && strcasecmp(json_string_value(value), "false") == 0);
	return 0;
}

static int take_version(int *member, const json_t *value, struct err *err)
{
	static const char *const v12[] = {
		"TLSv1_2",	    "TLSv1.2", "1.2", "771", "ssl.TLSVersion.TLSv1_2",
		"PROTOCOL_TLSv1_2", NULL};
	static const char *const v13[] = {
		"TLSv1_3", "TLSv1.3", "1.3", "772", "ssl.TLSVersion.TLSv1_3", NULL};
	auto_free char *number = json_is_integer(value)
					 ? mem_printf("%d", (int)json_integer_value(value))
				 : json_is_real(value) ? mem_printf("%.1f", json_real_value(value))
						       : NULL;
	const char *text = number ? number : json_string_value(value);

	if (json_is_null(value))
		*member = 0;
	else if (text && is_one_of(text, v12))
		*member = TLS1_2_VERSION;
	else if (text && is_one_of(text, v13))
		*member = TLS1_3_VERSION;
	else
		return err_set(err, ERR_INVALID, "use TLSv1_2 or TLSv1_3 (older ones are unsafe)");
	return 0;
}

static int read_min_version(struct tls_options *o, const json_t *value, struct err *err)
{
	return take_version(&o->min_version, value, err);
}

static int read_max_version(struct tls_options *o, const json_t *value, struct err *err)
{
	return take_version(&o->max_version, value, err);
}

/* ssl.PROTOCOL_TLS and ssl.PROTOCOL_TLS_CLIENT, which let the two sides choose. */
static int read_protocol(struct tls_options *o, const json_t *value, struct err *err)
{
	static const char *const any[] = {"PROTOCOL_TLS",     "PROTOCOL_TLS_CLIENT",	 "2", "16",
					  "ssl.PROTOCOL_TLS", "ssl.PROTOCOL_TLS_CLIENT", NULL};
	auto_free char *number =
		json_is_integer(value) ? mem_printf("%d", (int)json_integer_value(value)) : NULL;
	const char *text = number ? number : json_string_value(value);

	(void)o;
	if (json_is_null(value) || (text && is_one_of(text, any)))
		return 0;
	return err_set(err, ERR_UNSUPPORTED,
		       "use tls_minimum_version and tls_maximum_version instead");
}

/* What a client cannot mean otherwise: given so, it changes nothing. */
static int read_false(struct tls_options *o, const json_t *value, struct err *err)
{
	(void)o;
	return json_is_false(value) || json_is_null(value)
		       ? 0
		       : err_set(err, ERR_UNSUPPORTED, "only false can be had here");
}

static int read_bool(struct tls_options *o, const json_t *value, struct err *err)
{
	(void)o;
	return json_is_boolean(value) ? 0 : err_set(err, ERR_INVALID, "use true or false");
}

static int read_context(struct tls_options *o, const json_t *value, struct err *err);

#define TEXT(member) offsetof(struct tls_options, member)

/* Names as in amqp/transport.py, _wrap_socket_sni, and redis/connection.py, SSLConnection (there
 * with "ssl_" in front, which may be written or left out everywhere). */
static const struct option {
	const char *name;
	option_fn *read; /* NULL: a text, which goes to `member` */
	size_t member;
} options[] = {
	{"cert_reqs", read_cert_reqs, 0},
	{"ca_certs", NULL, TEXT(ca_file)},
	{"ca_path", NULL, TEXT(ca_dir)},
	{"ca_data", NULL, TEXT(ca_text)},
	{"certfile", NULL, TEXT(cert_file)},
	{"keyfile", NULL, TEXT(key_file)},
	{"password", NULL, TEXT(key_password)},
	{"check_hostname", read_check_hostname, 0},
	{"server_hostname", NULL, TEXT(server_name)},
	{"ciphers", NULL, TEXT(ciphers)},
	{"min_version", read_min_version, 0},
	{"tls_minimum_version", read_min_version, 0},
	{"tls_maximum_version", read_max_version, 0},
	{"version", read_protocol, 0},
	{"validate_ocsp", read_false, 0},
	{"validate_ocsp_stapled", read_false, 0},
	{"server_side", read_false, 0},
	{"do_handshake_on_connect", read_bool, 0},
	{"suppress_ragged_eofs", read_bool, 0},
	{"context", read_context, 0},
};
/* Of py-amqp's `context`, which Python hands to ssl.create_default_context(). */
static const struct option context_options[] = {
	{"cafile", NULL, TEXT(ca_file)},
	{"capath", NULL, TEXT(ca_dir)},
	{"cadata", NULL, TEXT(ca_text)},
	{"check_hostname", read_check_hostname, 0},
};

static int read_option(struct tls_options *o, const struct option *rows, size_t count,
		       const char *name, const json_t *value, struct err *err)
{
	const char *bare = strncmp(name, "ssl_", 4) == 0 ? name + 4 : name;

	for (size_t i = 0; i < count; i++) {
		char *member = (char *)o + rows[i].member;

		if (strcmp(rows[i].name, bare) != 0)
			continue;
		int rc = rows[i].read ? rows[i].read(o, value, err)
				      : take_text((char **)(void *)member, value, err);
		return rc == 0 ? 0 : err_prefix(err, "%s: ", name);
	}
	return err_set(err, ERR_INVALID,
		       "%.60s is no option of TLS; known are cert_reqs, ca_certs, ca_path, "
		       "certfile, keyfile, password, check_hostname, server_hostname, ciphers, "
		       "tls_minimum_version and tls_maximum_version",
		       name);
}

static int read_context(struct tls_options *o, const json_t *value, struct err *err)
{
	json_t *object = (json_t *)(uintptr_t)value;
	const char *name;
	json_t *item;

	if (!json_is_object(value))
		return err_set(err, ERR_INVALID, "a mapping is wanted");
	json_object_foreach (object, name, item)
		if (read_option(o, context_options,
				sizeof(context_options) / sizeof(context_options[0]), name, item,
				err) != 0)
			return -1;
	return 0;
}

static int read_object(struct tls_options *o, json_t *object, struct err *err)
{
	const char *name;
	json_t *value;

	json_object_foreach (object, name, value)
		if (read_option(o, options, sizeof(options) / sizeof(options[0]), name, value,
				err) != 0)
			return -1;
	return 0;
}

json_t *tls_options_query(const struct url *url)
{
	json_t *object = NULL;

	for (size_t i = 0; url && i < sizeof(options) / sizeof(options[0]); i++) {
		auto_free char *key = mem_printf("ssl_%s", options[i].name);
		auto_free char *value = url_query(url, key);

		if (!value)
			continue;
		if (!object)
			object = json_object();
		json_object_set_new(object, key, json_string(value));
	}
	return object;
}

static int read_setting(struct tls_options *o, const char *setting, struct err *err)
{
	json_t *value;
	int rc;

	if (!setting || strcmp(setting, "false") == 0)
		return 0;
	o->is_wanted = o->is_bare = true;
	if (strcmp(setting, "true") == 0)
		return 0;
	value = json_loads(setting, JSON_REJECT_DUPLICATES, NULL);
	o->is_wanted = json_object_size(value) > 0; /* an empty one is false in Python */
	o->is_bare = false;
	rc = json_is_object(value) ? read_object(o, value, err)
				   : err_set(err, ERR_INVALID, "use true, false or a mapping");
	json_decref(value);
	return rc;
}

static int check(const struct tls_options *o, struct err *err)
{
	if (o->key_file && !o->cert_file)
		return err_set(err, ERR_INVALID, "a keyfile needs its certfile");
	if (o->min_version && o->max_version && o->min_version > o->max_version)
		return err_set(err, ERR_INVALID,
			       "tls_minimum_version is above tls_maximum_version");
	return 0;
}

int tls_options_read(struct tls_options *o, enum tls_use use, const char *setting,
		     const struct url *url, struct err *err)
{
	json_t *query = tls_options_query(url);
	int rc = 0;

	if (!query || use == TLS_FOR_REDIS_BACKEND)
		rc = read_setting(o, setting, err);
	if (query && rc == 0) {
		o->is_wanted = true;
		o->is_bare = false;
		rc = read_object(o, query, err);
	}
	json_decref(query);
	return rc == 0 ? check(o, err) : -1;
}

/* kombu/connection.py, _init_params; kombu/transport/redis.py, _connparams */
static int decide_redis_broker(struct tls_options *o, bool is_tls_scheme, struct err *err)
{
	if (o->is_bare && !is_tls_scheme)
		return err_set(err, ERR_INVALID,
			       "true says too little for redis:// (Celery would connect without "
			       "TLS): write rediss://, or a mapping with ssl_cert_reqs");
	if (!o->is_wanted && is_tls_scheme) {
		o->is_lax = true;
		o->verify = TLS_VERIFY_NONE;
	}
	return o->is_wanted || is_tls_scheme;
}

/* celery/backends/redis.py, __init__ and _params_from_url */
static int decide_redis_backend(struct tls_options *o, const struct url *url, bool is_tls_scheme,
				struct err *err)
{
	json_t *query = tls_options_query(url);
	bool has_query = query != NULL;

	json_decref(query);
	if (has_query && !is_tls_scheme)
		return err_set(err, ERR_INVALID,
			       "the URL has options of TLS but begins with redis://: write "
			       "rediss://");
	if (!o->is_wanted && !is_tls_scheme)
		return 0;
	if (o->verify == TLS_VERIFY_UNSAID)
		return err_set(err, ERR_INVALID,
			       "ssl_cert_reqs is missing (Celery asks for it too): add "
			       "?ssl_cert_reqs=required to a rediss:// URL, or say it in "
			       "redis_backend_use_ssl; none leaves the server's certificate "
			       "unverified");
	return 1;
}

int tls_options_decide(struct tls_options *o, enum tls_use use, const char *setting,
		       const struct url *url, struct err *err)
{
	bool is_tls_scheme =
		strcmp(url->scheme, "amqps") == 0 || strcmp(url->scheme, "rediss") == 0;
	int rc = tls_options_read(o, use, setting, url, err);

	if (rc == 0 && use == TLS_FOR_AMQP)
		rc = o->is_wanted || is_tls_scheme;
	else if (rc == 0 && use == TLS_FOR_REDIS_BROKER)
		rc = decide_redis_broker(o, is_tls_scheme, err);
	else if (rc == 0)
		rc = decide_redis_backend(o, url, is_tls_scheme, err);
	if (o->verify == TLS_VERIFY_UNSAID)
		o->verify = TLS_VERIFY_REQUIRED;
	return rc;
}

void tls_options_clear(struct tls_options *o)
{
	if (o->key_password)
		explicit_bzero(o->key_password, strlen(o->key_password));
	free(o->server_name);
	free(o->ca_file);
	free(o->ca_dir);
	free(o->ca_text);
	free(o->cert_file);
	free(o->key_file);
	free(o->key_password);
	free(o->ciphers);
	*o = (struct tls_options){0};
}

void tls_options_describe(const struct tls_options *o, struct str *out)
{
	const char *ca = o->ca_file   ? o->ca_file
			 : o->ca_dir  ? o->ca_dir
			 : o->ca_text ? "ca_data"
				      : "the system's CAs";

	if (o->verify == TLS_VERIFY_NONE)
		str_puts(out, "TLS, the server's certificate is not verified");
	else
		str_addf(out, "TLS, certificate verified by %s%s", ca,
			 o->is_any_name ? ", for any host" : "");
	if (o->cert_file)
		str_addf(out, ", client certificate %s", o->cert_file);
}

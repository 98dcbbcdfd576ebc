/* Settings of what messages and results are written in. */
#include <string.h>

#include "protocol/compression.h"
#include "worker/config/derive.h"

#define PICKLE_TEXT                                                                                \
	"%s: pickle is not read or written here, because unpickling runs what the sender wants; "  \
	"set task_serializer to json, msgpack or yaml where messages are sent"

static bool is_pickle(const char *name)
{
	return strcmp(name, "pickle") == 0 || strcmp(name, "application/x-python-serialize") == 0;
}

static int check_accepted(const char *setting, char **types, struct err *err)
{
	for (; types && *types; types++) {
		const char *type = content_type_of(*types);

		if (is_pickle(*types))
			return err_set(err, ERR_UNSUPPORTED, PICKLE_TEXT, setting);
		if (!type)
			return err_set(err, ERR_UNSUPPORTED,
				       "%s: '%.60s' is not supported; this version reads json, "
				       "msgpack, yaml and auth",
				       setting, *types);
	}
	return 0;
}

static int find_serializer(const char *setting, const char *name,
			   const struct serializer **ret_found, struct err *err)
{
	*ret_found = serializer_find(name);
	if (is_pickle(name))
		return err_set(err, ERR_UNSUPPORTED, PICKLE_TEXT, setting);
	if (!*ret_found)
		return err_set(err, ERR_UNSUPPORTED,
			       "%s: '%.60s' is not supported; this version writes json, msgpack, "
			       "yaml and auth",
			       setting, name);
	return 0;
}

static int find_compression(const char *setting, const char *name,
			    const struct compression **ret_found, struct err *err)
{
	*ret_found = name && *name ? compression_find(name, strlen(name)) : NULL;
	if (name && *name && !*ret_found)
		return err_set(err, ERR_INVALID, "%s: '%.60s' is no compression; there is %s",
			       setting, name, compression_names());
	return 0;
}

static int derive_result(struct config *c, struct err *err)
{
	if (check_accepted("result_accept_content", c->result_accept_content, err) < 0 ||
	    find_serializer("result_serializer", c->result_serializer, &c->result_form.serializer,
			    err) < 0)
		return -1;
	return find_compression("result_compression", c->result_compression,
				&c->result_form.compression, err);
}

/* Celery compresses records that are one value under a key in Redis or a file, and no others. */
static void drop_compression(struct config *c, struct config_store *s)
{
	static const char *const others[] = {"rpc", "db+", "database+", "cache+"};
	const char *url = c->result_backend;

	for (size_t i = 0; url && i < sizeof(others) / sizeof(others[0]); i++) {
		if (strncmp(url, others[i], strlen(others[i])) != 0)
			continue;
		if (c->result_form.compression)
			config_store_notice(s, "result_compression has no effect on %s", others[i]);
		c->result_form.compression = NULL;
	}
}

int derive_content(struct config *c, struct config_store *s, struct err *err)
{
	if (check_accepted("accept_content", c->accept_content, err) < 0 ||
	    find_serializer("task_serializer", c->task_serializer, &c->task_form.serializer, err) <
		    0)
		return -1;
	if (derive_result(c, err) < 0 || derive_auth(c, err) < 0)
		return -1;
	drop_compression(c, s);
	c->task_form.auth = c->result_form.auth = c->auth;
	c->mail_form = c->task_form;
	return find_compression("task_compression", c->task_compression, &c->task_form.compression,
				err);
}

struct content_options config_content(const struct config *c)
{
	return (struct content_options){
		.accept = (const char *const *)c->accept_content,
		.max_bytes = c->worker_max_message_bytes + 65536, /* as the broker's */
		.auth = c->auth,
	};
}

struct content_options config_result_content(const struct config *c)
{
	struct content_options options = config_content(c);

	if (c->result_accept_content)
		options.accept = (const char *const *)c->result_accept_content;
	options.max_bytes *= 4; /* a record holds more than the result */
	return options;
}

/*
 * `smallage ping`, `inspect` and `control`: what `celery inspect` and `control` do, without Python.
 * A request goes to all nodes by the exchange <control_exchange>.pidbox; the replies come into an
 * exclusive queue of this program's own, which goes with it, also when it is killed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "base/text.h"
#include "protocol/pidbox_ask.h"
#include "protocol/pyjson.h"
#include "worker/cmd.h"
#include "worker/cmd_client.h"
#include "worker/config/nodename.h"
#include "worker/remote_command.h"
#include "worker/remote_print.h"

#define TIMEOUT_S	  1.0 /* Celery's */
#define REPLIES_BYTES_MAX ((size_t)256 << 20)

enum { REMOTE_ANSWERED = 0, REMOTE_WRONG = 2, REMOTE_UNAVAILABLE = 69 };

const struct cli_option cmd_remote_options[] = {
	{"list", 0, NULL, CLI_OWN, NULL, "List the commands.", CONFIG_FOR_REMOTE},
	/* From here on `ping` has them too. */
	{"destination", 'd', "NODES", CLI_OWN, NULL,
	 "Ask these nodes only (comma separated; %h is this machine's name), and wait no longer "
	 "than until all have answered.",
	 CONFIG_FOR_REMOTE},
	{"timeout", 't', "SECONDS", CLI_OWN, NULL,
	 "Wait this long for the next answer, 1 when not given; if given, for the connection too.",
	 CONFIG_FOR_REMOTE},
	{"json", 'j', NULL, CLI_OWN, NULL, "Print the answers as JSON, in one line.",
	 CONFIG_FOR_REMOTE},
	{NULL, 0, NULL, CLI_OWN, NULL, NULL, 0},
};

struct remote {
	const char *name; /* of our command */
	enum remote_group group;
	const struct remote_command *command;
	json_t *arguments, *destination; /* destination NULL = all */
	double timeout_s;		 /* 0 = not given */
	bool is_json, is_list, is_ping;	 /* is_ping: the command `smallage ping` */
	char *nodes;			 /* as the option said, or NULL */
	struct config *config;
	struct client client;
	char ticket[37], probe[37];
	char *exchange, *reply_exchange, *reply_key;
	json_t *replies; /* by node; the payload is kept for JSON only */
	json_t *bodies;	 /* as they came: what `celery control -j` prints */
	json_t *workers; /* nodes that answered the probe */
	json_t *doubles; /* nodes that answered more than once */
	size_t bytes;
	bool has_news, is_sent;
	struct err err;
};

static int on_own(void *ctx, const struct cli_option *option, const char *value, struct err *err)
{
	struct remote *r = ctx;
	char *end;

	if (option->letter == 'j') {
		r->is_json = true;
	} else if (option->letter == 'd') {
		free(r->nodes);
		r->nodes = mem_strdup(value);
	} else if (option->letter == 't') {
		r->timeout_s = strtod(value, &end);
		if (end == value || *end || !(r->timeout_s > 0 && r->timeout_s <= 3600))
			return err_set(err, ERR_INVALID,
				       "option --timeout: '%.60s' is no number of seconds", value);
	} else {
		r->is_list = true;
	}
	return 0;
}

static int add_node(struct remote *r, const char *name, const char *host, struct err *err)
{
	auto_free char *node =
		strchr(name, '%') ? nodename_expand(name, host, err) : mem_strdup(name);

	if (!node)
		return err_prefix(err, "option --destination: ");
	if (json_array_append_new(r->destination, json_string(node)) != 0)
		return err_set(err, ERR_INVALID, "option --destination is not UTF-8");
	return 0;
}

static int take_nodes(struct remote *r, struct err *err)
{
	auto_free char *host = nodename_host();

	if (!r->nodes)
		return 0;
	r->destination = json_array();
	for (const char *at = r->nodes; *at; at += strspn(at, ", ")) {
		size_t len = strcspn(at, ", ");
		auto_free char *name = mem_dup(at, len);

		if (len && add_node(r, name, host, err) != 0)
			return -1;
		at += len;
	}
	/* Nobody named would mean everybody: not what an empty variable of a script stands for. */
	if (json_array_size(r->destination) == 0)
		return err_set(err, ERR_INVALID, "option --destination names no node");
	return 0;
}

/* The command and its arguments. */
static int take_words(struct remote *r, int argc, char **argv, struct err *err)
{
	if (argc > 0 && strcmp(argv[0], "--") == 0) {
		argc--;
		argv++;
	}
	if (r->is_ping && argc > 0)
		return err_set(err, ERR_INVALID,
			       "unexpected argument '%.60s'; nodes are named by -d", argv[0]);
	if (!r->is_ping && argc == 0)
		return err_set(
			err, ERR_INVALID,
			"which command? smallage %s COMMAND; `smallage %s --list` names them",
			r->name, r->name);
	r->command = remote_command_find(r->group, r->is_ping ? "ping" : argv[0], err);
	if (!r->command)
		return -1;
	r->arguments = remote_arguments(r->command, r->is_ping ? 0 : argc - 1, argv + 1, err);
	return r->arguments ? take_nodes(r, err) : -1;
}

/* Answers */

static void print_answer(struct remote *r, const struct pidbox_answer *a)
{
	auto_str out = STR_INIT(REPLIES_BYTES_MAX);

	remote_print(&out, a->node, a->payload);
	fwrite(out.data, 1, out.len, stdout);
	fflush(stdout);
	if (out.is_full)
		err_set(&r->err, ERR_LIMIT, "the answer is too long to be shown");
}

static void take_answer(struct remote *r, const struct pidbox_answer *a, size_t len)
{
	r->has_news = true;
	r->bytes += len;
	if (r->bytes > REPLIES_BYTES_MAX) {
		err_set(&r->err, ERR_LIMIT, "the answers are larger than %zu bytes",
			REPLIES_BYTES_MAX);
		return;
	}
	if (json_object_get(r->replies, a->node))
		json_object_set_new(r->doubles, a->node, json_true());
	/* The last one counts, as in Celery. */
	json_object_set(r->replies, a->node,
			r->is_json ? (json_t *)(uintptr_t)a->payload : json_true());
	if (!r->is_json)
		print_answer(r, a);
	else if (r->group == REMOTE_CONTROL)
		json_array_append(r->bodies, a->body);
}

static void on_mail(void *ctx, struct message *message)
{
	struct remote *r = ctx;
	const struct content_options content = config_content(r->config);
	struct pidbox_answer a = {0};

	if (content_read(message, &content, &r->client.broker_err) == 0 &&
	    pidbox_answer_decode(&a, message, &r->client.broker_err) == 0) {
		if (pidbox_answer_is_for(&a, r->ticket))
			take_answer(r, &a, message->body_len);
		else if (pidbox_answer_is_for(&a, r->probe))
			json_object_set_new(r->workers, a.node, json_true());
	}
	pidbox_answer_clear(&a);
	client_wake(&r->client);
}

static bool is_complete(const struct remote *r)
{
	const json_t *node;
	size_t i;

	json_array_foreach (r->destination, i, node)
		if (!json_object_get(r->replies, json_string_value(node)))
			return false;
	return r->destination != NULL;
}

/* The question */

static void on_published(void *ctx, const struct err *err)
{
	struct remote *r = ctx;

	if (err)
		err_set(&r->err, err->code, "%s", err->text);
	r->is_sent = true;
	client_wake(&r->client);
}

static int ask(struct remote *r, const char *method, const json_t *arguments, const char *ticket,
	       struct err *err)
{
	const struct pidbox_question question = {
		.method = method,
		.arguments = arguments,
		.destination = r->destination,
		.ticket = ticket,
		.exchange = r->reply_exchange,
		.routing_key = r->reply_key,
	};
	const struct exchange_def exchange = {.name = r->exchange, .type = "fanout"};
	json_t *headers = pidbox_ask_headers(1, (double)clock_wall_us() / 1e6 + r->timeout_s);
	auto_str body = STR_INIT(r->config->worker_max_message_bytes);
	struct content_label label = {0};
	int result;

	if (pidbox_ask_body(&body, &question) < 0)
		result = err_set(err, ERR_LIMIT, "the arguments are too long");
	else
		result = content_encode(&body, &r->config->mail_form, &label, err);
	const struct publication p = {
		.exchange = r->exchange,
		.routing_key = "",
		.declare_exchange = &exchange,
		.content_type = label.type,
		.content_encoding = label.encoding,
		.priority = 0,
		.delivery_mode = 2,
		.headers = headers,
		.body = body.data,
		.body_len = body.len,
	};

	if (result == 0)
		result = broker_publish(r->client.broker, &p, on_published, r, err);
	json_decref(headers);
	return result;
}

static int listen_for_replies(struct remote *r, struct err *err)
{
	auto_free char *queue = mem_printf("%s.%s", r->reply_key, r->reply_exchange);
	const struct mailbox_def def = {
		.queue = queue,
		.exchange = r->reply_exchange,
		.exchange_type = "direct",
		.binding_key = r->reply_key,
		.is_exclusive = true,
		.ttl_s = r->config->control_queue_ttl,
		.expires_s = r->config->control_queue_expires,
	};

	return broker_listen(r->client.broker, &def, on_mail, r, err);
}

static int connect_broker(struct remote *r, double limit_s, struct err *err)
{
	if (listen_for_replies(r, err) != 0 || client_await_broker(&r->client, limit_s, err) != 0)
		return -1;
	if (r->client.is_broker_in_trouble)
		return err_set(err, ERR_REFUSED, "%s", r->client.broker_err.text);
	return 0;
}

/* Celery's beat may answer ping, and nothing else. Nodes answer in the order of the questions: who
 * answers the second and not the first is no worker. */
static int ask_all(struct remote *r, double limit_s, struct err *err)
{
	if (strcmp(r->command->name, "ping") == 0 && ask(r, "clock", NULL, r->probe, err) != 0)
		return -1;
	/* Either may be the one that is told of; they share a connection. */
	if (ask(r, r->command->name, r->arguments, r->ticket, err) != 0)
		return -1;
	if (!client_wait(&r->client, &r->is_sent, limit_s))
		return err_set(err, ERR_TIMEOUT, "the broker did not take the request within %g s",
			       limit_s);
	return 0;
}

/* Until the named ones have answered, or nobody for so long. */
static void collect(struct remote *r)
{
	while (r->err.code == ERR_NONE && !is_complete(r)) {
		r->has_news = false;
		if (!client_wait(&r->client, &r->has_news, r->timeout_s))
			return;
	}
}

/* The end */

static size_t count_workers(const struct remote *r)
{
	const json_t *reply;
	const char *node;
	size_t count = 0;

	if (strcmp(r->command->name, "ping") != 0)
		return json_object_size(r->replies);
	json_object_foreach (r->replies, node, reply)
		count += json_object_get(r->workers, node) != NULL;
	return count;
}

static void print_json(const json_t *value)
{
	auto_str out = STR_INIT(STR_MAX_DEFAULT);

	pyjson_dump(&out, value);
	printf("%s\n", out.data);
}

static void print_count(const struct remote *r)
{
	size_t count = count_workers(r);
	const json_t *reply;
	const char *node;

	printf("\n%zu %s online.\n", count, count == 1 ? "node" : "nodes");
	if (count == json_object_size(r->replies))
		return;
	json_object_foreach (r->replies, node, reply)
		if (!json_object_get(r->workers, node))
			printf("%s is no worker: it answers ping only (celery beat).\n", node);
}

/* To standard error, so that the answers stay what Celery prints. */
static bool tell_missing(const struct remote *r)
{
	const json_t *name, *yes;
	const char *node;
	bool is_any = false;
	size_t i;

	json_object_foreach (r->doubles, node, yes)
		fprintf(stderr, "smallage %s: several nodes answer to the name %s\n", r->name,
			node);
	json_array_foreach (r->destination, i, name) {
		if (json_object_get(r->replies, json_string_value(name)))
			continue;
		fprintf(stderr, "smallage %s: no answer from %s\n", r->name,
			json_string_value(name));
		is_any = true;
	}
	return is_any;
}

static int fail_unanswered(const struct remote *r)
{
	struct err err = {0};

	err_set(&err, ERR_TIMEOUT, "No nodes replied within time constraint%s%s%s",
		r->client.broker_err.text[0] ? ": " : "", r->client.broker_err.text,
		strcmp(r->command->name, "shutdown") == 0 ? " (workers that stop never do)" : "");
	return cmd_fail(r->name, &err, REMOTE_UNAVAILABLE);
}

static int finish(const struct remote *r)
{
	bool is_any_missing;

	if (r->err.code != ERR_NONE)
		return cmd_fail(r->name, &r->err, REMOTE_UNAVAILABLE);
	if (json_object_size(r->replies) == 0)
		return fail_unanswered(r);
	if (r->is_json)
		print_json(r->group == REMOTE_CONTROL ? r->bodies : r->replies);
	else if (r->group == REMOTE_INSPECT)
		print_count(r);
	is_any_missing = tell_missing(r);
	if (!r->is_ping)
		return REMOTE_ANSWERED;
	return is_any_missing || (!r->destination && count_workers(r) == 0) ? REMOTE_UNAVAILABLE
									    : REMOTE_ANSWERED;
}

static int talk(struct remote *r)
{
	double limit_s = r->timeout_s > 0 ? r->timeout_s : r->config->broker_connection_timeout;
	struct err err = {0};

	if (client_open_broker(&r->client, &err) != 0)
		return cmd_fail(r->name, &err, REMOTE_WRONG);
	if (connect_broker(r, limit_s, &err) != 0) {
		err_prefix(&err, "Could not connect to the message broker: ");
		return cmd_fail(r->name, &err, REMOTE_UNAVAILABLE);
	}
	if (r->timeout_s <= 0)
		r->timeout_s = TIMEOUT_S;
	if (ask_all(r, limit_s, &err) != 0)
		return cmd_fail(r->name, &err, REMOTE_UNAVAILABLE);
	collect(r);
	return finish(r);
}

static void prepare(struct remote *r)
{
	char key[37];

	uuid4(key);
	uuid4(r->ticket);
	uuid4(r->probe);
	r->exchange = mem_printf("%s.pidbox", r->config->control_exchange);
	r->reply_exchange = mem_printf("reply.%s", r->exchange);
	r->reply_key = mem_strdup(key);
	r->replies = json_object();
	r->workers = json_object();
	r->doubles = json_object();
	r->bodies = json_array();
}

static void clear(struct remote *r)
{
	json_t *const values[] = {r->arguments, r->destination, r->replies,
				  r->workers,	r->doubles,	r->bodies};

	for (size_t i = 0; i < sizeof(values) / sizeof(values[0]); i++)
		json_decref(values[i]);
	free(r->nodes);
	free(r->exchange);
	free(r->reply_exchange);
	free(r->reply_key);
	config_free(r->config);
}

static int print_list(enum remote_group group)
{
	auto_str out = STR_INIT(65536);

	remote_list(&out, group);
	fwrite(out.data, 1, out.len, stdout);
	return REMOTE_ANSWERED;
}

static int run(struct remote *r, const struct cli_option *options, int argc, char **argv)
{
	const struct cli_use use = {
		.command = CONFIG_FOR_REMOTE, .own = options, .on_own = on_own, .ctx = r};
	struct err err = {0};
	int rest = 0, code;

	r->config = config_load_for(&use, argc, argv, &rest, &err);
	if (r->config && r->is_list) {
		code = print_list(r->group);
	} else if (r->config && take_words(r, argc - rest, argv + rest, &err) == 0) {
		prepare(r);
		client_open(&r->client, r->config);
		code = talk(r);
		client_close(&r->client);
	} else {
		code = cmd_fail(r->name, &err, REMOTE_WRONG);
	}
	clear(r);
	return code;
}

int cmd_ping(int argc, char **argv)
{
	struct remote r = {.name = "ping", .group = REMOTE_INSPECT, .is_ping = true};

	return run(&r, cmd_remote_options + 1, argc, argv);
}

int cmd_inspect(int argc, char **argv)
{
	struct remote r = {.name = "inspect", .group = REMOTE_INSPECT};

	return run(&r, cmd_remote_options, argc, argv);
}

int cmd_control(int argc, char **argv)
{
	struct remote r = {.name = "control", .group = REMOTE_CONTROL};

	return run(&r, cmd_remote_options, argc, argv);
}

void cmd_inspect_list(struct str *out)
{
	remote_list(out, REMOTE_INSPECT);
}

void cmd_control_list(struct str *out)
{
	remote_list(out, REMOTE_CONTROL);
}

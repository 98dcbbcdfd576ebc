/*
 * Fills a queue with Celery's own messages, as fast as RabbitMQ takes them: protocol 2, the 19
 * headers of Celery 5.7, JSON body. The ids are "<8 hex of seed>-0000-4000-8000-<12 digits>".
 *
 *     load PORT VHOST QUEUE TASK COUNT [BODY_BYTES [ETA_ISO [SEED [ARGS_JSON]]]]
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS 19

static amqp_table_entry_t text(const char *key, const char *value)
{
	amqp_table_entry_t e = {.key = amqp_cstring_bytes(key)};

	if (value) {
		e.value.kind = AMQP_FIELD_KIND_UTF8;
		e.value.value.bytes = amqp_cstring_bytes(value);
	} else {
		e.value.kind = AMQP_FIELD_KIND_VOID;
	}
	return e;
}

static amqp_table_entry_t number(const char *key, int value)
{
	amqp_table_entry_t e = {.key = amqp_cstring_bytes(key)};

	e.value.kind = AMQP_FIELD_KIND_I32;
	e.value.value.i32 = value;
	return e;
}

static amqp_connection_state_t connect_to(int port, const char *vhost)
{
	amqp_connection_state_t c = amqp_new_connection();
	amqp_socket_t *socket = amqp_tcp_socket_new(c);

	if (amqp_socket_open(socket, "127.0.0.1", port) != AMQP_STATUS_OK ||
	    amqp_login(c, vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest")
			    .reply_type != AMQP_RESPONSE_NORMAL) {
		fprintf(stderr, "load: cannot log in to port %d\n", port);
		exit(EXIT_FAILURE);
	}
	amqp_channel_open(c, 1);
	return c;
}

struct load {
	const char *queue, *task, *eta, *args;
	long count;
	size_t pad;
	unsigned long seed;
};

static char *make_body(const struct load *load)
{
	static const char embed[] = "{\"callbacks\": null, \"errbacks\": null, \"chain\": null, "
				    "\"chord\": null}";
	size_t size = load->pad + strlen(load->args) + sizeof(embed) + 64;
	char *body = malloc(size);
	char *pad = malloc(load->pad + 1);

	if (!body || !pad)
		exit(EXIT_FAILURE);
	memset(pad, 'x', load->pad);
	pad[load->pad] = '\0';
	if (load->pad)
		snprintf(body, size, "[[\"%s\"], {}, %s]", pad, embed);
	else
		snprintf(body, size, "[%s, {}, %s]", load->args, embed);
	free(pad);
	return body;
}

/* `limits` and the entries must outlive the publish. */
static amqp_table_t make_headers(amqp_table_entry_t h[HEADERS], const struct load *load,
				 const char *id, amqp_field_value_t limits[2])
{
	int n = 0;

	limits[0].kind = limits[1].kind = AMQP_FIELD_KIND_VOID;
	h[n++] = text("lang", "py");
	h[n++] = text("task", load->task);
	h[n++] = text("id", id);
	h[n++] = text("shadow", NULL);
	h[n++] = text("eta", load->eta);
	h[n++] = text("expires", NULL);
	h[n++] = text("group", NULL);
	h[n++] = text("group_index", NULL);
	h[n++] = number("retries", 0);
	h[n].key = amqp_cstring_bytes("timelimit");
	h[n].value.kind = AMQP_FIELD_KIND_ARRAY;
	h[n].value.value.array.num_entries = 2;
	h[n++].value.value.array.entries = limits;
	h[n++] = text("root_id", id);
	h[n++] = text("parent_id", NULL);
	h[n++] = text("argsrepr", "()");
	h[n++] = text("kwargsrepr", "{}");
	h[n++] = text("origin", "gen12345@host");
	h[n++] = text("ignore_result", NULL);
	h[n++] = number("replaced_task_nesting", 0);
	h[n++] = text("stamped_headers", NULL);
	h[n].key = amqp_cstring_bytes("stamps");
	h[n].value.kind = AMQP_FIELD_KIND_TABLE;
	h[n++].value.value.table = amqp_empty_table;
	return (amqp_table_t){.num_entries = n, .entries = h};
}

static int publish(amqp_connection_state_t c, const struct load *load, const char *id,
		   const char *body)
{
	amqp_table_entry_t headers[HEADERS];
	amqp_field_value_t limits[2];
	amqp_basic_properties_t p = {
		._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_CONTENT_ENCODING_FLAG |
			  AMQP_BASIC_HEADERS_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG |
			  AMQP_BASIC_PRIORITY_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG |
			  AMQP_BASIC_REPLY_TO_FLAG,
		.content_type = amqp_cstring_bytes("application/json"),
		.content_encoding = amqp_cstring_bytes("utf-8"),
		.headers = make_headers(headers, load, id, limits),
		.delivery_mode = 2,
		.correlation_id = amqp_cstring_bytes(id),
		.reply_to = amqp_cstring_bytes("ec62c3db-3545-389e-9cc4-462d3875fb1b"),
	};

	return amqp_basic_publish(c, 1, amqp_empty_bytes, amqp_cstring_bytes(load->queue), 0, 0, &p,
				  amqp_cstring_bytes(body));
}

int main(int argc, char **argv)
{
	if (argc < 6) {
		fprintf(stderr, "usage: load PORT VHOST QUEUE TASK COUNT "
				"[BODY_BYTES [ETA [SEED [ARGS]]]]\n");
		return EXIT_FAILURE;
	}
	struct load load = {
		.queue = argv[3],
		.task = argv[4],
		.count = strtol(argv[5], NULL, 10),
		.pad = argc > 6 ? strtoul(argv[6], NULL, 10) : 0,
		.eta = argc > 7 && *argv[7] ? argv[7] : NULL,
		.seed = argc > 8 ? strtoul(argv[8], NULL, 10) : 1,
		.args = argc > 9 ? argv[9] : "[]",
	};
	amqp_connection_state_t c = connect_to((int)strtol(argv[1], NULL, 10), argv[2]);
	char *body = make_body(&load);
	char id[64];

	amqp_queue_declare(c, 1, amqp_cstring_bytes(load.queue), 0, 1, 0, 0, amqp_empty_table);
	for (long i = 0; i < load.count; i++) {
		snprintf(id, sizeof(id), "%08lx-0000-4000-8000-%012ld", load.seed & 0xffffffffUL,
			 i);
		if (publish(c, &load, id, body) != AMQP_STATUS_OK) {
			fprintf(stderr, "load: publish failed at %ld\n", i);
			return EXIT_FAILURE;
		}
	}
	free(body);
	amqp_channel_close(c, 1, AMQP_REPLY_SUCCESS);
	amqp_connection_close(c, AMQP_REPLY_SUCCESS);
	amqp_destroy_connection(c);
	return EXIT_SUCCESS;
}

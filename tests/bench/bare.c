/*
 * The limit that a worker is measured against: consumes, stores a result of the usual size (SETEX
 * and PUBLISH), acks, and does nothing else. Stock librabbitmq and hiredis calls in one half-duplex
 * loop: what has arrived is stored in one pipeline and then acked, each or all together.
 *
 *     bare AMQP_PORT VHOST QUEUE REDIS_PORT REDIS_DB PREFETCH each|multiple
 *
 * Runs until it is killed.
 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static amqp_connection_state_t connect_to(int port, const char *vhost)
{
	amqp_connection_state_t c = amqp_new_connection();
	amqp_socket_t *socket = amqp_tcp_socket_new(c);

	if (amqp_socket_open(socket, "127.0.0.1", port) != AMQP_STATUS_OK ||
	    amqp_login(c, vhost, 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, "guest", "guest")
			    .reply_type != AMQP_RESPONSE_NORMAL) {
		fprintf(stderr, "bare: cannot log in to port %d\n", port);
		exit(EXIT_FAILURE);
	}
	amqp_channel_open(c, 1);
	return c;
}

static void store(redisContext *redis, amqp_bytes_t id)
{
	char key[128], value[512];

	snprintf(key, sizeof(key), "celery-task-meta-%.*s", (int)id.len, (char *)id.bytes);
	int len = snprintf(value, sizeof(value),
			   "{\"status\": \"SUCCESS\", \"result\": null, \"traceback\": null, "
			   "\"children\": [], \"date_done\": \"2026-11-21T04:35:54.664825+00:00\", "
			   "\"task_id\": \"%.*s\"}",
			   (int)id.len, (char *)id.bytes);
	redisAppendCommand(redis, "SETEX %s 86400 %b", key, value, (size_t)len);
	redisAppendCommand(redis, "PUBLISH %s %b", key, value, (size_t)len);
}

int main(int argc, char **argv)
{
	if (argc != 8) {
		fprintf(stderr,
			"usage: bare AMQP_PORT VHOST QUEUE REDIS_PORT DB PREFETCH each|multiple\n");
		return EXIT_FAILURE;
	}
	amqp_connection_state_t c = connect_to((int)strtol(argv[1], NULL, 10), argv[2]);
	redisContext *redis = redisConnect("127.0.0.1", (int)strtol(argv[4], NULL, 10));
	int prefetch = (int)strtol(argv[6], NULL, 10);
	int is_multiple = strcmp(argv[7], "multiple") == 0;
	uint64_t *tags = calloc((size_t)prefetch, sizeof(*tags));

	if (!redis || redis->err || !tags)
		return EXIT_FAILURE;
	freeReplyObject(redisCommand(redis, "SELECT %s", argv[5]));
	amqp_basic_qos(c, 1, 0, (uint16_t)prefetch, 0);
	amqp_basic_consume(c, 1, amqp_cstring_bytes(argv[3]), amqp_empty_bytes, 0, 0, 0,
			   amqp_empty_table);
	for (;;) {
		int count = 0;
		struct timeval now = {0, 0};

		while (count < prefetch) {
			amqp_envelope_t envelope;

			amqp_maybe_release_buffers(c);
			amqp_rpc_reply_t reply =
				amqp_consume_message(c, &envelope, count ? &now : NULL, 0);

			if (reply.reply_type != AMQP_RESPONSE_NORMAL)
				break;
			store(redis, envelope.message.properties.correlation_id);
			tags[count++] = envelope.delivery_tag;
			amqp_destroy_envelope(&envelope);
		}
		for (int i = 0; i < 2 * count; i++) {
			void *reply = NULL;

			if (redisGetReply(redis, &reply) != REDIS_OK)
				return EXIT_FAILURE;
			freeReplyObject(reply);
		}
		if (is_multiple && count)
			amqp_basic_ack(c, 1, tags[count - 1], 1);
		for (int i = 0; i < count && !is_multiple; i++)
			amqp_basic_ack(c, 1, tags[i], 0);
	}
}

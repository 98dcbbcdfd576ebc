/*
 * The limit that a worker on a Redis broker is measured against: takes messages safely (a script
 * pops and records as unacked in one step, in kombu's keys), acks them, stores a result of the
 * usual size (SETEX and PUBLISH), and does nothing else. What is pending goes out in one write on
 * each of its two connections (the broker's acks and the next pop, the results), then the answers
 * of both are read.
 *
 *     bare_redis BROKER_PORT BROKER_DB QUEUE RESULTS_PORT RESULTS_DB BATCH
 *
 * Runs until it is killed.
 */
#include <hiredis/hiredis.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define FIELD_SIZE 32
#define ID_SIZE	   64
#define ID_MARK	   "\"correlation_id\": \""

/* KEYS: queue, hash, index. ARGV: how many, this client's name, number of the first. */
static const char pop_script[] =
	"local got = redis.call('RPOP', KEYS[1], ARGV[1])\n"
	"if not got then return {} end\n"
	"local now = redis.call('TIME')[1]\n"
	"local held, scores = {}, {}\n"
	"for i, raw in ipairs(got) do\n"
	"  local field = ARGV[2] .. ':' .. (ARGV[3] + i - 1)\n"
	"  held[2 * i - 1], held[2 * i] = field, '[' .. raw .. ',\"\",\"' .. KEYS[1] .. '\"]'\n"
	"  scores[2 * i - 1], scores[2 * i] = now, field\n"
	"end\n"
	"redis.call('HSET', KEYS[2], unpack(held))\n"
	"redis.call('ZADD', KEYS[3], unpack(scores))\n"
	"return got\n";

struct client {
	redisContext *broker, *results;
	const char *queue;
	char sha[64], (*fields)[FIELD_SIZE];
	const char **args;
	size_t batch;
	unsigned long next; /* number of the next message */
};

static redisContext *connect_to(const char *port, const char *db)
{
	redisContext *c = redisConnect("127.0.0.1", (int)strtol(port, NULL, 10));

	if (!c || c->err) {
		fprintf(stderr, "bare_redis: cannot connect to port %s\n", port);
		exit(EXIT_FAILURE);
	}
	freeReplyObject(redisCommand(c, "SELECT %s", db));
	return c;
}

static redisReply *next_reply(redisContext *c)
{
	void *reply = NULL;

	if (redisGetReply(c, &reply) != REDIS_OK ||
	    ((redisReply *)reply)->type == REDIS_REPLY_ERROR) {
		fprintf(stderr, "bare_redis: %s\n", reply ? ((redisReply *)reply)->str : c->errstr);
		exit(EXIT_FAILURE);
	}
	return reply;
}

static void skip_replies(redisContext *c, size_t count)
{
	while (count--)
		freeReplyObject(next_reply(c));
}

static void append_pop(struct client *c)
{
	redisAppendCommand(c->broker, "EVALSHA %s 3 %s unacked unacked_index %lu bare %lu", c->sha,
			   c->queue, (unsigned long)c->batch, c->next);
}

static void append_acks(struct client *c, unsigned long first, size_t count)
{
	c->args[0] = "HDEL";
	c->args[1] = "unacked";
	for (size_t i = 0; i < count; i++) {
		snprintf(c->fields[i], FIELD_SIZE, "bare:%lu", first + i);
		c->args[i + 2] = c->fields[i];
	}
	redisAppendCommandArgv(c->broker, (int)count + 2, c->args, NULL);
	c->args[0] = "ZREM";
	c->args[1] = "unacked_index";
	redisAppendCommandArgv(c->broker, (int)count + 2, c->args, NULL);
}

static void append_result(struct client *c, const char *message)
{
	char id[ID_SIZE], key[ID_SIZE + 32], value[512];
	const char *at = strstr(message, ID_MARK);
	int len = at ? (int)strcspn(at += strlen(ID_MARK), "\"") : 0;

	snprintf(id, sizeof(id), "%.*s", len, at ? at : "");
	snprintf(key, sizeof(key), "celery-task-meta-%s", id);
	len = snprintf(value, sizeof(value),
		       "{\"status\": \"SUCCESS\", \"result\": null, \"traceback\": null, "
		       "\"children\": [], \"date_done\": \"2026-11-21T04:35:54.664825+00:00\", "
		       "\"task_id\": \"%s\"}",
		       id);
	redisAppendCommand(c->results, "SETEX %s 86400 %b", key, value, (size_t)len);
	redisAppendCommand(c->results, "PUBLISH %s %b", key, value, (size_t)len);
}

static void flush(redisContext *c)
{
	int done = 0;

	while (!done) {
		if (redisBufferWrite(c, &done) != REDIS_OK) {
			fprintf(stderr, "bare_redis: %s\n", c->errstr);
			exit(EXIT_FAILURE);
		}
	}
}

/* A batch; what it held is acked, and the next one asked for, in the same write. */
static void work(struct client *c)
{
	redisReply *got = next_reply(c->broker);
	unsigned long first = c->next;

	c->next += got->elements;
	if (got->elements > 0)
		append_acks(c, first, got->elements);
	append_pop(c);
	flush(c->broker);
	for (size_t i = 0; i < got->elements; i++)
		append_result(c, got->element[i]->str);
	flush(c->results);
	skip_replies(c->results, 2 * got->elements);
	skip_replies(c->broker, got->elements > 0 ? 2 : 0);
	if (got->elements == 0)
		nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
	freeReplyObject(got);
}

int main(int argc, char **argv)
{
	if (argc != 7) {
		fprintf(stderr, "usage: bare_redis BROKER_PORT BROKER_DB QUEUE RESULTS_PORT "
				"RESULTS_DB BATCH\n");
		return EXIT_FAILURE;
	}
	struct client c = {.broker = connect_to(argv[1], argv[2]),
			   .results = connect_to(argv[4], argv[5]),
			   .queue = argv[3],
			   .batch = strtoul(argv[6], NULL, 10)};

	c.fields = calloc(c.batch, sizeof(*c.fields));
	c.args = calloc(c.batch + 2, sizeof(*c.args));
	if (!c.fields || !c.args)
		return EXIT_FAILURE;
	redisAppendCommand(c.broker, "SCRIPT LOAD %s", pop_script);
	redisReply *sha = next_reply(c.broker);

	snprintf(c.sha, sizeof(c.sha), "%s", sha->str);
	freeReplyObject(sha);
	append_pop(&c);
	for (;;)
		work(&c);
}

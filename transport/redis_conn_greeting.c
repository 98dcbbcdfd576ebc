#include <stdio.h>
#include <string.h>

#include "transport/redis_answer.h"
#include "transport/redis_conn_inside.h"

static void greeting_send(struct redis_conn *c, redis_conn_reply_fn *fn, int argc,
			  const char **argv)
{
	struct redis_arg args[4];

	for (int i = 0; i < argc; i++)
		args[i] = (struct redis_arg){argv[i], strlen(argv[i])};
	if (conn_send(c, args, argc, fn, c) == 0)
		c->greetings++;
}

static void greeting_step(struct redis_conn *c)
{
	if (c->state != CONN_GREETING || --c->greetings > 0)
		return;
	c->state = CONN_UP;
	c->up_since_ms = uv_now(c->loop);
	c->events->on_up(c->ctx);
}

static void greeting_answered(void *ctx, const redisReply *reply)
{
	struct redis_conn *c = ctx;
	struct err err = {0};
	bool is_for_now;

	if (reply == NULL)
		return;
	if (reply->type != REDIS_REPLY_ERROR) {
		greeting_step(c);
		return;
	}
	is_for_now = redis_answer_class(reply->str) == REDIS_ANSWER_LATER;
	/* The server's words only: our AUTH is not repeated in them. */
	err_set(&err, is_for_now ? ERR_IO : ERR_REFUSED, "Redis %s: %.200s", conn_label(c),
		reply->str);
	conn_lost(c, &err);
}

/* Who may not ask, or asks something in between, is not told; a replica tells itself by its first
 * refusal then. */
static void role_answered(void *ctx, const redisReply *reply)
{
	struct redis_conn *c = ctx;
	struct err err = {0};
	const redisReply *role = NULL;

	if (reply == NULL)
		return;
	if (reply->type == REDIS_REPLY_ARRAY && reply->elements > 0)
		role = reply->element[0];
	if (role == NULL || role->str == NULL || strcmp(role->str, "slave") != 0) {
		greeting_step(c);
		return;
	}
	err_set(&err, ERR_IO, "Redis %s is a replica, not the master", conn_label(c));
	conn_lost(c, &err);
}

/* The name is for people; servers that refuse it are fine too. */
static void name_answered(void *ctx, const redisReply *reply)
{
	if (reply != NULL)
		greeting_step(ctx);
}

void conn_greet(struct redis_conn *c)
{
	const struct redis_address *address = redis_route_server(&c->route);
	const char *password = address->password ? address->password : "";
	char db[16];

	c->state = CONN_GREETING;
	c->greetings = 0;
	if (address->user)
		greeting_send(c, greeting_answered, 3,
			      (const char *[]){"AUTH", address->user, password});
	else if (address->password)
		greeting_send(c, greeting_answered, 2, (const char *[]){"AUTH", password});
	snprintf(db, sizeof(db), "%d", address->db);
	/* Sent for database 0 too: its answer tells a server that is still loading. */
	greeting_send(c, greeting_answered, 2, (const char *[]){"SELECT", db});
	if (redis_route_has_replicas(&c->route))
		greeting_send(c, role_answered, 1, (const char *[]){"ROLE"});
	if (c->settings.client_name)
		greeting_send(c, name_answered, 3,
			      (const char *[]){"CLIENT", "SETNAME", c->settings.client_name});
}

#include "tests/unit/support/redis_sentinel.h"
#include "tests/unit/transport/redis_conn_fixture.h"
#include "transport/redis_route.h"
#include "transport/redis_sentinel.h"

/* The answer to one question. */
struct told {
	bool is_over;
	char *host;
	int port;
	unsigned index;
	struct err err;
};

static void on_found(void *ctx, const char *host, int port, unsigned index)
{
	struct told *t = ctx;

	t->is_over = true;
	t->host = mem_strdup(host);
	t->port = port;
	t->index = index;
}

static void on_failed(void *ctx, const struct err *why)
{
	struct told *t = ctx;

	t->is_over = true;
	t->err = *why;
}

struct fixture {
	struct redis_server master, sentinel;
	uv_loop_t loop;
	struct redis_settings settings;
	struct told told;
};

static void set_up_servers(struct fixture *x)
{
	memset(x, 0, sizeof(*x));
	redis_server_init(&x->master);
	redis_server_start(&x->master);
	uv_loop_init(&x->loop);
	redis_settings_init(&x->settings);
	x->settings.master_name = mem_strdup("mymaster");
}

static void set_up(struct fixture *x, const char *more)
{
	set_up_servers(x);
	redis_sentinel_start(&x->sentinel, x->master.port, more);
}

static void tear_down(struct fixture *x)
{
	ck_assert_int_eq(uv_loop_close(&x->loop), 0);
	redis_server_clear(&x->sentinel);
	redis_server_clear(&x->master);
	redis_settings_clear(&x->settings);
	free(x->told.host);
}

/* Asks the Sentinels of the URLs and waits for the answer. */
static void ask(struct fixture *x, const char *urls)
{
	static const struct redis_sentinel_events events = {.found = on_found, .failed = on_failed};
	struct redis_route route = {0};
	struct redis_sentinel *question;
	struct redis_sentinel_options options = {.loop = &x->loop,
						 .settings = &x->settings,
						 .connect_timeout_s = 1,
						 .events = &events,
						 .ctx = &x->told};

	ck_assert_int_eq(redis_route_init(&route, urls, &x->settings, NULL), 0);
	options.sentinels = route.items;
	options.count = route.count;
	free(x->told.host);
	x->told = (struct told){0};
	question = redis_sentinel_ask(&options);
	wait_until(&x->loop, x->told.is_over, 8000);
	redis_sentinel_cancel(question);
	uv_run(&x->loop, UV_RUN_NOWAIT);
	redis_route_clear(&route);
}

#define assert_failed(x, words)                                                                    \
	ck_assert_msg((x)->told.host == NULL && strstr((x)->told.err.text, (words)) != NULL, "%s", \
		      (x)->told.err.text)

/* C-51 */
START_TEST(the_first_that_knows_tells)
{
	struct fixture x;
	auto_free char *url = NULL, *list = NULL, *wrong = NULL;

	set_up(&x, "");
	url = mem_printf("sentinel://127.0.0.1:%d", x.sentinel.port);
	ask(&x, url);
	ck_assert_str_eq(x.told.host, "127.0.0.1");
	ck_assert_int_eq(x.told.port, x.master.port);

	/* One that is out of reach, and a Redis server that is no Sentinel. */
	list = mem_printf("sentinel://127.0.0.1:1;sentinel://127.0.0.1:%d;%s", x.master.port, url);
	ask(&x, list);
	ck_assert_int_eq(x.told.port, x.master.port);
	ck_assert_uint_eq(x.told.index, 2);

	x.settings.min_other_sentinels = 1;
	ask(&x, url);
	assert_failed(&x, "sees 0 other Sentinels, wanted are 1");
	x.settings.min_other_sentinels = 0;

	wrong = mem_printf("sentinel://127.0.0.1:1;%s", url);
	free(x.settings.master_name);
	x.settings.master_name = mem_strdup("another");
	ask(&x, wrong);
	assert_failed(&x, "no Sentinel tells where the master 'another' is; ");
	assert_failed(&x, "127.0.0.1:1: Connection refused");
	assert_failed(&x, "does not know this master");
	tear_down(&x);
}
END_TEST

START_TEST(one_that_is_silent_is_passed_over_in_time)
{
	struct fixture x;
	auto_free char *url = NULL;

	set_up(&x, "");
	x.settings.sentinel_answer_timeout_s = 1;
	kill(x.sentinel.pid, SIGSTOP);
	url = mem_printf("sentinel://127.0.0.1:%d", x.sentinel.port);
	ask(&x, url);
	assert_failed(&x, "no answer in time");
	kill(x.sentinel.pid, SIGCONT);
	ask(&x, url);
	ck_assert_int_eq(x.told.port, x.master.port);
	tear_down(&x);
}
END_TEST

/* sentinel_kwargs; the URL's login is for the master alone. */
START_TEST(a_sentinel_has_a_login_of_its_own)
{
	struct fixture x;
	auto_free char *url = NULL;

	set_up(&x, "user default on >op3n ~* &* +@all\nuser watcher on >s3cret &* "
		   "+sentinel|get-master-addr-by-name");
	url = mem_printf("sentinel://:master-pw@127.0.0.1:%d/0", x.sentinel.port);
	ask(&x, url);
	assert_failed(&x, "NOAUTH");
	x.settings.sentinel_password = mem_strdup("op3n");
	ask(&x, url);
	ck_assert_int_eq(x.told.port, x.master.port);
	x.settings.sentinel_user = mem_strdup("watcher");
	ask(&x, url);
	assert_failed(&x, "WRONGPASS");
	ck_assert_ptr_null(strstr(x.told.err.text, "op3n"));
	free(x.settings.sentinel_password);
	x.settings.sentinel_password = mem_strdup("s3cret");
	ask(&x, url);
	ck_assert_int_eq(x.told.port, x.master.port);
	tear_down(&x);
}
END_TEST

/* A connection that follows its master. */

static void tell(const struct redis_server *s, const char *command)
{
	redisContext *c = redis_server_try(s);

	ck_assert_ptr_nonnull(c);
	freeReplyObject(redisCommand(c, command));
	redisFree(c);
}

/* One answer of a server says something. A fail-over throws clients out, this one too. */
static bool says(const struct redis_server *s, const char *command, const char *text)
{
	redisContext *c = redis_server_try(s);
	redisReply *reply = c ? redisCommand(c, command) : NULL;
	bool found = reply && (reply->str ? strstr(reply->str, text) != NULL : reply->elements > 0);

	freeReplyObject(reply);
	if (c)
		redisFree(c);
	return found;
}

static void await(const struct redis_server *s, const char *command, const char *text)
{
	int64_t deadline = clock_mono_us() + 8000000;

	while (!says(s, command, text)) {
		ck_assert_msg(clock_mono_us() < deadline, "%s", command);
		nanosleep(&(struct timespec){.tv_nsec = 20000000}, NULL);
	}
}

struct cluster {
	struct fixture x;
	struct redis_server replica;
	struct link l;
};

static void cluster_set_up(struct cluster *k)
{
	auto_free char *replicate = NULL, *url = NULL;
	struct redis_conn_options options;

	memset(k, 0, sizeof(*k));
	set_up_servers(&k->x);
	redis_server_init(&k->replica);
	redis_server_start(&k->replica);
	tell(&k->x.master, "CONFIG SET repl-diskless-sync-delay 0");
	replicate = mem_printf("REPLICAOF 127.0.0.1 %d", k->x.master.port);
	tell(&k->replica, replicate);
	await(&k->x.master, "INFO replication", "state=online");
	redis_sentinel_start(&k->x.sentinel, k->x.master.port, "");
	await(&k->x.sentinel, "SENTINEL REPLICAS mymaster", "");
	options = link_options(&k->x.loop, &k->l);
	url = mem_printf("sentinel://127.0.0.1:1/3;sentinel://127.0.0.1:%d", k->x.sentinel.port);
	options.url = url;
	options.settings = &k->x.settings;
	link_open(&k->l, &options);
	wait_until(&k->x.loop, k->l.is_up, 4000);
}

static void cluster_tear_down(struct cluster *k)
{
	link_close(&k->x.loop, &k->l);
	redis_server_clear(&k->replica);
	tear_down(&k->x);
}

/* C-51 */
START_TEST(a_killed_master_is_followed_by_its_replica) /* timeout 40 */
{
	struct cluster k;
	auto_free char *before = NULL, *after = NULL;

	cluster_set_up(&k);
	before = mem_printf("mymaster at 127.0.0.1:%d/3", k.x.master.port);
	after = mem_printf("mymaster at 127.0.0.1:%d/3", k.replica.port);
	ck_assert_str_eq(redis_conn_host(k.l.conn), before);
	link_ask(&k.x.loop, &k.l, "SET k v");
	redis_server_stop(&k.x.master, SIGKILL);
	wait_until(&k.x.loop, k.l.ups == 2, 20000);
	ck_assert_str_eq(redis_conn_host(k.l.conn), after);
	link_ask(&k.x.loop, &k.l, "SET k w");
	ck_assert_str_eq(k.l.answer, "OK");
	cluster_tear_down(&k);
}
END_TEST

/* Paused, and cut off from its Sentinel, it still looks alive from here: the Sentinel's word
 * counts, well before the answer's timeout of 15 s. */
START_TEST(a_silent_master_is_left_when_there_is_another) /* timeout 40 */
{
	struct cluster k;
	int64_t begin;

	cluster_set_up(&k);
	kill(k.x.master.pid, SIGSTOP);
	begin = clock_mono_us();
	ck_assert_int_eq(link_send(&k.l, "SET k v"), 0);
	wait_until(&k.x.loop, k.l.ups == 2, 20000);
	ck_assert_msg(strstr(k.l.why.text, "a Sentinel says") != NULL, "%s", k.l.why.text);
	ck_assert_uint_eq(k.l.unanswered, 1);
	ck_assert_int_lt(clock_mono_us() - begin, 14000000);
	kill(k.x.master.pid, SIGCONT);
	link_ask(&k.x.loop, &k.l, "ROLE");
	cluster_tear_down(&k);
}
END_TEST

/* The old master goes on to accept commands for ten seconds: they would be lost. */
START_TEST(an_orderly_fail_over_is_followed_at_once) /* timeout 40 */
{
	struct cluster k;
	int64_t begin;

	cluster_set_up(&k);
	await(&k.x.sentinel, "SENTINEL FAILOVER mymaster", "OK");
	wait_until(&k.x.loop, says(&k.replica, "INFO replication", "role:master"), 10000);
	begin = clock_mono_us();
	wait_until(&k.x.loop, k.l.ups == 2, 10000);
	ck_assert_int_lt(clock_mono_us() - begin, 4000000);
	ck_assert_msg(strstr(k.l.why.text, "a Sentinel says") != NULL, "%s", k.l.why.text);
	link_ask(&k.x.loop, &k.l, "SET k v");
	ck_assert_str_eq(k.l.answer, "OK");
	cluster_tear_down(&k);
}
END_TEST

#include "worker/endpoints.h"

#include "base/log.h"
#include "worker/exposition.h"
#include "worker/health.h"

/* The loop turns; nothing else is asked, so that nobody kills a worker whose servers are away. */
static void fill_live(void *ctx, struct http_answer *answer)
{
	(void)ctx;
	str_puts(&answer->body, "{\"live\": true}\n");
}

static void fill_ready(void *ctx, struct http_answer *answer)
{
	const struct endpoints *e = ctx;

	if (!health_write_ready(&answer->body, e->consumer, e->pool))
		answer->status = 503;
}

static void fill_metrics(void *ctx, struct http_answer *answer)
{
	const struct endpoints *e = ctx;

	exposition_write(&answer->body, e->consumer, e->pool, e->started_wall_us);
}

static const struct http_route routes[] = {
	{"/live", "application/json", fill_live},
	{"/ready", "application/json", fill_ready},
	{"/metrics", "text/plain; version=0.0.4; charset=utf-8", fill_metrics},
	{NULL, NULL, NULL},
};

int endpoints_open(struct endpoints *e, uv_loop_t *loop, const char *address, struct err *err)
{
	if (!address || !*address)
		return 0;
	e->server = http_server_open(loop, address, routes, e, err);
	if (!e->server)
		return err_prefix(err, "--http: ");
	log_info("Answers at %s: /live, /ready, /metrics", http_server_url(e->server));
	return 0;
}

void endpoints_close(struct endpoints *e)
{
	http_server_close(e->server);
	e->server = NULL;
}

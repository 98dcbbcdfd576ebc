/* Deduplication: a late-ack task that is delivered again, and whose result is there, does not run a
 * second time. Mirrors celery/app/trace.py, trace_task(). contract: tasks.md 4.2 */
#include <stdlib.h>

#include "base/log.h"
#include "base/mem.h"
#include "protocol/result.h"
#include "worker/consume/consumer.h"

/* One whose result is looked for. It stays in state RECEIVED meanwhile. */
struct lookup {
	struct consumer *consumer;
	struct request *request; /* NULL: forgotten meanwhile */
};

static bool has_succeeded(struct consumer *c, struct request *r, const char *record, size_t len)
{
	struct content_options options = config_result_content(c->config);
	auto_str text = STR_INIT(4 * c->config->worker_max_message_bytes);
	struct span result, children;

	if (result_unpack(&text, record, len, &options, NULL) < 0 ||
	    !result_read_success((struct span){text.data, text.len}, &result, &children))
		return false;
	finish_repeated(&c->finish, r, result, children.data != NULL);
	return true;
}

static void on_record(void *ctx, const char *record, size_t len, const struct err *err)
{
	auto_free struct lookup *l = ctx;
	struct request *r = l->request;

	if (!r)
		return;
	r->watch = NULL;
	if (err)
		log_warning("Whether task %s[%s] has succeeded before cannot be said: %s",
			    r->message.task, r->message.id, err->text);
	if (!record || !has_succeeded(l->consumer, r, record, len))
		deliver_admit(l->consumer, r);
}

bool repeat_check(struct consumer *c, struct request *r)
{
	struct lookup *l;

	if (!c->config->worker_deduplicate_successful_tasks || !r->message.is_redelivered ||
	    !r->policy.acks_late || !c->finish.backend)
		return false;
	l = mem_calloc(1, sizeof(*l));
	*l = (struct lookup){.consumer = c, .request = r};
	r->watch = &l->request;
	backend_get(c->finish.backend, r->message.id, on_record, l);
	return true;
}

#include "transport/broker.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/url.h"

static const struct broker_driver *const drivers[] = {
	&broker_amqp_driver,
	&broker_filesystem_driver,
	&broker_redis_driver,
};

/* What kombu knows and we do not speak, and what to use in its place. */
static const struct {
	const char *scheme, *instead;
} foreign[] = {
	{"memory", "filesystem:// does the same across processes, without a server"},
	{"valkey", "use amqp:// (RabbitMQ) for tasks"},
	{"librabbitmq", "use amqp://, which is the same broker"},
	{"qpid", "use amqp:// (RabbitMQ)"},
	{"confluentkafka", "use amqp:// (RabbitMQ)"},
	{"sqs", "use amqp:// (RabbitMQ; Amazon MQ runs it for you)"},
	{"gcpubsub", "use amqp:// (RabbitMQ)"},
	{"azurestoragequeues", "use amqp:// (RabbitMQ)"},
	{"azureservicebus", "use amqp:// (RabbitMQ)"},
	{"mongodb", "use amqp:// (RabbitMQ)"},
	{"sqla", "use filesystem:// where no server is wanted"},
	{"sqlalchemy", "use filesystem:// where no server is wanted"},
	{"zookeeper", "use amqp:// (RabbitMQ)"},
	{"consul", "use amqp:// (RabbitMQ)"},
	{"etcd", "use amqp:// (RabbitMQ)"},
	{"SLMQ", "use amqp:// (RabbitMQ)"},
	{"pyro", "use amqp:// (RabbitMQ)"},
};

static int scheme_refuse(const char *scheme, struct err *err)
{
	size_t len = strcspn(scheme, "+");

	for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
		if (strlen(foreign[i].scheme) == len &&
		    strncasecmp(foreign[i].scheme, scheme, len) == 0)
			return err_set(err, ERR_UNSUPPORTED,
				       "%s:// is not supported as a broker by smallage: %s", scheme,
				       foreign[i].instead);
	return err_set(err, ERR_INVALID,
		       "unknown broker scheme %.40s://: use amqp://user:password@host:port/vhost, "
		       "redis://:password@host:port/db or filesystem://",
		       scheme);
}

static const struct broker_driver *driver_find(const char *scheme)
{
	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		for (const char *const *s = drivers[i]->schemes; *s; s++)
			if (strcmp(*s, scheme) == 0)
				return drivers[i];
	return NULL;
}

struct broker *broker_open(const struct broker_options *options, struct err *err)
{
	auto_free char *first = url_list_item(options->url ? options->url : "", 0);
	const struct broker_driver *driver = NULL;
	struct url url;

	if (!first) {
		err_set(err, ERR_INVALID, "the broker URL is empty");
		return NULL;
	}
	if (url_parse(&url, first, err) != 0) {
		err_prefix(err, "broker URL: ");
		return NULL;
	}
	driver = driver_find(url.scheme);
	if (!driver)
		scheme_refuse(url.scheme, err);
	url_clear(&url);
	return driver ? driver->open(options, err) : NULL;
}

int broker_consume(struct broker *b, const struct queue_def *queue, struct err *err)
{
	return b->driver->consume(b, queue, err);
}

void broker_cancel(struct broker *b, const char *queue)
{
	b->driver->cancel(b, queue);
}

void broker_start(struct broker *b)
{
	b->driver->start(b);
}

void broker_qos(struct broker *b, unsigned count)
{
	b->driver->qos(b, count);
}

void broker_ack(struct broker *b, unsigned session, uint64_t tag)
{
	b->driver->ack(b, session, tag);
}

void broker_reject(struct broker *b, unsigned session, uint64_t tag, bool requeue)
{
	b->driver->reject(b, session, tag, requeue);
}

bool broker_keeps_deliveries(const struct broker *b)
{
	return b->driver->is_held != NULL;
}

bool broker_is_held(const struct broker *b, unsigned session, uint64_t tag)
{
	return b->driver->is_held == NULL || b->driver->is_held(b, session, tag);
}

bool broker_is_sure(const struct broker *b)
{
	return b->driver->is_sure == NULL || b->driver->is_sure(b);
}

void broker_pause(struct broker *b)
{
	b->driver->pause(b);
}

void broker_close(struct broker *b, double deadline_s)
{
	b->driver->close(b, deadline_s);
}

int broker_publish(struct broker *b, const struct publication *p, broker_published_fn *done,
		   void *ctx, struct err *err)
{
	return b->driver->publish(b, p, done, ctx, err);
}

int broker_listen(struct broker *b, const struct mailbox_def *def, broker_mail_fn *on_mail,
		  void *ctx, struct err *err)
{
	return b->driver->listen(b, def, on_mail, ctx, err);
}

void broker_unlisten(struct broker *b, const char *queue)
{
	b->driver->unlisten(b, queue);
}

void broker_post(struct broker *b, const struct publication *p)
{
	b->driver->post(b, p);
}

void broker_stats(const struct broker *b, struct broker_stats *ret_stats)
{
	b->driver->stats(b, ret_stats);
}

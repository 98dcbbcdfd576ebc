#include "transport/broker.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "base/text.h"
#include "transport/url.h"

static const struct broker_driver *const drivers[] = {
	&broker_amqp_driver,
	&broker_filesystem_driver,
	&broker_redis_driver,
};

/* What kombu knows (or knew) and we do not speak, what people take for one, and what to use. */
static const struct {
	const char *scheme, *instead;
} foreign[] = {
	{"memory", "it cannot leave a process; filesystem:// does the same without a server"},
	{"librabbitmq", "use amqp://, which is the same broker"},
	{"rabbitmq", "write amqp://"},
	{"valkey", "write redis://: Valkey speaks Redis' protocol"},
	{"valkeys", "write rediss://: Valkey speaks Redis' protocol"},
	{"redis+sentinel", "write sentinel://host:26379;sentinel://... and master_name in "
			   "broker_transport_options"},
	{"sqs", "on AWS use amqps:// (Amazon MQ for RabbitMQ) or rediss:// (ElastiCache)"},
	{"gcpubsub", "on Google Cloud use rediss:// (Memorystore), or amqp:// (RabbitMQ)"},
	{"azurestoragequeues",
	 "on Azure use rediss:// (Azure Managed Redis), or amqp:// (RabbitMQ)"},
	{"azureservicebus",
	 "its AMQP 1.0 is another protocol than RabbitMQ's; on Azure use rediss:// "
	 "(Azure Managed Redis), or amqp:// (RabbitMQ)"},
	{"confluentkafka", "Kafka acks no single message; use amqp:// (RabbitMQ) or redis://"},
	{"kafka", "Kafka acks no single message; use amqp:// (RabbitMQ) or redis://"},
	{"qpid", "its AMQP 0-10 is another protocol than RabbitMQ's; use amqp:// (RabbitMQ)"},
	{"sqla", "a database is no queue; use redis://, or filesystem:// where no more servers are "
		 "wanted"},
	{"sqlalchemy",
	 "a database is no queue; use redis://, or filesystem:// where no more servers "
	 "are wanted"},
	{"db", "a database is no queue; use redis://, or filesystem:// where no more servers are "
	       "wanted"},
	{"pgmq", "use redis://, or filesystem:// where no more servers are wanted"},
	{"mongodb", "use redis:// or amqp:// (RabbitMQ)"},
	{"zookeeper", "use redis:// or amqp:// (RabbitMQ)"},
	{"consul", "use redis:// or amqp:// (RabbitMQ)"},
	{"etcd", "use redis:// or amqp:// (RabbitMQ)"},
	{"slmq", "use redis:// or amqp:// (RabbitMQ)"},
	{"pyro", "use redis://, amqp:// (RabbitMQ) or filesystem://"},
	{"django", "use redis://, amqp:// (RabbitMQ) or filesystem://"},
	{"beanstalk", "use redis:// or amqp:// (RabbitMQ)"},
	{"couchdb", "use redis:// or amqp:// (RabbitMQ)"},
	{"rpc", "that is a result backend; as broker use amqp:// (RabbitMQ)"},
	{"file", "that is a result backend; as broker use filesystem://"},
	{"cache", "that is a result backend; as broker use redis:// or amqp:// (RabbitMQ)"},
};

/* The whole scheme, or what stands before a '+' in it ("sqla+postgresql"). */
static const char *foreign_find(const char *scheme)
{
	size_t lengths[] = {strlen(scheme), strcspn(scheme, "+")};

	for (size_t k = 0; k < 2; k++)
		for (size_t i = 0; i < sizeof(foreign) / sizeof(foreign[0]); i++)
			if (strlen(foreign[i].scheme) == lengths[k] &&
			    strncasecmp(foreign[i].scheme, scheme, lengths[k]) == 0)
				return foreign[i].instead;
	return NULL;
}

static const char *nearest_scheme(const char *scheme)
{
	struct text_guess guess = TEXT_GUESS(scheme);

	for (size_t i = 0; i < sizeof(drivers) / sizeof(drivers[0]); i++)
		for (const char *const *s = drivers[i]->schemes; *s; s++)
			text_guess_try(&guess, *s);
	return guess.nearest;
}

static int scheme_refuse(const char *scheme, struct err *err)
{
	const char *instead = foreign_find(scheme), *nearest;

	if (instead)
		return err_set(err, ERR_UNSUPPORTED,
			       "%.60s:// is not supported as a broker by smallage: %s", scheme,
			       instead);
	nearest = nearest_scheme(scheme);
	return err_set(err, ERR_INVALID,
		       "unknown broker scheme %.40s://%s%s%s: use "
		       "amqp://user:password@host:port/vhost, redis://:password@host:port/db, "
		       "sentinel:// or filesystem://",
		       scheme, nearest ? "; did you mean " : "", nearest ? nearest : "",
		       nearest ? "://?" : "");
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

void broker_qos(struct broker *b, unsigned count, unsigned waiting)
{
	b->driver->qos(b, count, waiting);
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

void broker_delay(struct broker *b, const char *queue_type)
{
	if (b->driver->delay)
		b->driver->delay(b, queue_type);
}

bool broker_can_delay(const struct broker *b, const char *exchange, const char *routing_key)
{
	return b->driver->can_delay && b->driver->can_delay(b, exchange, routing_key);
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

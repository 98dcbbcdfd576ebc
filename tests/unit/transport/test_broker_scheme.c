#include <check.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/broker.h"

static void refused_with(const char *url, const char *text)
{
	uv_loop_t loop;
	struct broker_options options = {.loop = &loop, .url = url};
	struct err err = {0};

	ck_assert_int_eq(uv_loop_init(&loop), 0);
	ck_assert_msg(broker_open(&options, &err) == NULL, "%s", url);
	ck_assert_msg(strstr(err.text, text) != NULL, "%s: %s", url, err.text);
	ck_assert_msg(strstr(err.text, "s3cret") == NULL, "%s", err.text);
	ck_assert_int_eq(uv_loop_close(&loop), 0);
}

/* C-56: what kombu 5.7 has besides, transport by transport. */
START_TEST(every_transport_that_we_lack_names_what_to_use)
{
	static const char *const schemes[][2] = {
		{"memory", "filesystem://"},
		{"librabbitmq", "amqp://"},
		{"confluentkafka", "redis://"},
		{"kafka", "redis://"},
		{"SQS", "amqps:// (Amazon MQ for RabbitMQ)"},
		{"sqs", "ElastiCache"},
		{"mongodb", "redis://"},
		{"zookeeper", "redis://"},
		{"sqlalchemy", "filesystem://"},
		{"sqla+postgresql+psycopg2", "filesystem://"},
		{"sqla", "filesystem://"},
		{"SLMQ", "redis://"},
		{"slmq", "redis://"},
		{"qpid", "amqp://"},
		{"consul", "redis://"},
		{"etcd", "redis://"},
		{"azurestoragequeues", "rediss://"},
		{"azureservicebus", "rediss://"},
		{"pyro", "filesystem://"},
		{"gcpubsub", "Memorystore"},
		{"pgmq", "filesystem://"},
		{"valkey", "redis://"},
		{"db+mysql", "filesystem://"},
		{"rpc", "result backend"},
	};

	for (size_t i = 0; i < sizeof(schemes) / sizeof(schemes[0]); i++) {
		auto_free char *url = mem_printf("%s://user:s3cret@host/name", schemes[i][0]);

		refused_with(url, "is not supported as a broker by smallage");
		refused_with(url, schemes[i][1]);
	}
}
END_TEST

START_TEST(a_slip_of_the_pen_names_the_nearest_scheme)
{
	refused_with("ampq://h", "unknown broker scheme ampq://; did you mean amqp://?");
	refused_with("reddis://h", "did you mean redis://?");
	refused_with("nonsense-of-some-length://h",
		     "unknown broker scheme nonsense-of-some-length");
	refused_with("a.b://h", "Invalid transport scheme: 'a.b'");
	refused_with("", "empty");
}
END_TEST

/* Servers that say what no RabbitMQ says: the connection ends with an error, nothing else does. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <sys/socket.h>

#include "base/str.h"
#include "tests/unit/transport/amqp_fixture.h"

static const char login[] = "\1\0\0\0\0\0\34\0\12\0\12\0\11\0\0\0\0\0\0\0\5PLAIN\0\0\0\5en_US\316"
			    "\1\0\0\0\0\0\14\0\12\0\36\7\377\0\2\0\0\0\0\316"
			    "\1\0\0\0\0\0\5\0\12\0\51\0\316";

struct server {
	int fd;
	struct str words; /* behind the login */
};

/* Takes one client, says its words and waits for the client to go. */
static void *server_run(void *arg)
{
	struct server *server = arg;
	int client = accept(server->fd, NULL, NULL);
	char sink[4096];

	ck_assert_int_ge(client, 0);
	ck_assert_int_eq(send(client, login, sizeof(login) - 1, MSG_NOSIGNAL), sizeof(login) - 1);
	(void)send(client, server->words.data, server->words.len, MSG_NOSIGNAL);
	while (recv(client, sink, sizeof(sink), 0) > 0)
		continue;
	close(client);
	return NULL;
}

/* One method frame; numbers of class and method, then its arguments. */
static void say_method(struct server *server, unsigned channel, unsigned class, unsigned method,
		       const void *arguments, size_t len)
{
	size_t whole = len + 4;
	unsigned char head[] = {1,
				0,
				(unsigned char)channel,
				(unsigned char)(whole >> 24),
				(unsigned char)(whole >> 16),
				(unsigned char)(whole >> 8),
				(unsigned char)whole,
				0,
				(unsigned char)class,
				0,
				(unsigned char)method};

	str_add(&server->words, head, sizeof(head));
	str_add(&server->words, arguments, len);
	str_addc(&server->words, '\316');
}

static void add_size(struct str *to, size_t size)
{
	unsigned char bytes[] = {(unsigned char)(size >> 24), (unsigned char)(size >> 16),
				 (unsigned char)(size >> 8), (unsigned char)size};

	str_add(to, bytes, sizeof(bytes));
}

static void down_after(struct server *server, const char *why)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t len = sizeof(address);
	pthread_t thread;
	struct fixture f;
	char url[64];

	server->fd = socket(AF_INET, SOCK_STREAM, 0);
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	ck_assert_int_eq(bind(server->fd, (struct sockaddr *)&address, len), 0);
	ck_assert_int_eq(listen(server->fd, 4), 0);
	ck_assert_int_eq(getsockname(server->fd, (struct sockaddr *)&address, &len), 0);
	ck_assert_int_eq(pthread_create(&thread, NULL, server_run, server), 0);
	snprintf(url, sizeof(url), "amqp://127.0.0.1:%d//", ntohs(address.sin_port));
	fixture_init(&f, url);
	fixture_open(&f);
	fixture_consume(&f, "never", NULL);
	broker_start(f.broker);
	ck_assert(fixture_wait(&f, &f.downs, 1, 20000));
	ck_assert_int_eq(f.last_down.code, ERR_PROTOCOL);
	ck_assert_msg(strstr(f.last_down.text, why) != NULL, "%s", f.last_down.text);
	close(server->fd);
	fixture_close(&f);
	pthread_join(thread, NULL);
	str_clear(&server->words);
}

START_TEST(an_answer_to_a_close_nobody_sent_is_an_error)
{
	struct server server;

	str_init(&server.words, STR_MAX_DEFAULT);
	say_method(&server, 0, 10, 51, "", 0);
	down_after(&server, "an answer to a close that was not sent");
}
END_TEST

/* queue.declare with arrays in arrays: each level costs its reader some stack. */
START_TEST(tables_of_any_depth_in_a_clients_method_are_not_read)
{
	struct server server;
	struct str arguments;
	size_t inner = (size_t)20000 * 5;

	str_init(&server.words, STR_MAX_DEFAULT);
	str_init(&arguments, STR_MAX_DEFAULT);
	str_add(&arguments, "\0\0\1q\0", 5);
	add_size(&arguments, inner + 2);
	str_puts(&arguments, "\1a");
	for (size_t left = inner; left > 0; left -= 5) {
		str_addc(&arguments, 'A');
		add_size(&arguments, left - 5);
	}
	say_method(&server, 1, 50, 10, arguments.data, arguments.len);
	down_after(&server, "a method that only clients send");
	str_clear(&arguments);
}
END_TEST

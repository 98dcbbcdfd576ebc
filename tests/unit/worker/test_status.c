#include <check.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/control/status.h"

static char folder[] = "/tmp/smallage-status-XXXXXX";
static uv_loop_t loop;

static void fill(void *ctx, struct str *out)
{
	str_addf(out, "{\"node\": \"%s\", \"ready\": true}\n", (const char *)ctx);
}

static char *begin(void)
{
	signal(SIGPIPE, SIG_IGN); /* as the worker does */
	uv_loop_init(&loop);
	ck_assert_ptr_nonnull(mkdtemp(folder));
	return mem_printf("%s/run/w@h.sock", folder);
}

static void end(void)
{
	auto_free char *run = mem_printf("%s/run", folder);

	uv_run(&loop, UV_RUN_DEFAULT);
	ck_assert_int_eq(uv_loop_close(&loop), 0); /* nothing was left open */
	rmdir(run);
	rmdir(folder);
}

struct asker {
	const char *path;
	int result;
	struct str answer;
	struct err err;
	bool is_done;
	uv_async_t wake;
};

static void *ask(void *arg)
{
	struct asker *a = arg;

	a->result = status_ask(a->path, 3000, &a->answer, &a->err);
	uv_async_send(&a->wake);
	return NULL;
}

static void on_wake(uv_async_t *wake)
{
	struct asker *a = wake->data;

	a->is_done = true;
	uv_close((uv_handle_t *)wake, NULL);
}

/* Asks from another thread while the loop turns here. */
static void ask_while_running(struct asker *a, const char *path)
{
	pthread_t thread;

	memset(a, 0, sizeof(*a));
	a->path = path;
	str_init(&a->answer, 4096);
	uv_async_init(&loop, &a->wake, on_wake);
	a->wake.data = a;
	ck_assert_int_eq(pthread_create(&thread, NULL, ask, a), 0);
	while (!a->is_done)
		uv_run(&loop, UV_RUN_ONCE);
	pthread_join(thread, NULL);
}

START_TEST(whoever_connects_gets_one_object)
{
	auto_free char *path = begin();
	struct err err = {0};
	char name[] = "w@h";
	struct status_server *s = status_server_open(&loop, path, fill, name, &err);
	struct asker a;

	ck_assert_msg(s != NULL, "%s", err.text);
	for (int i = 0; i < 3; i++) {
		ask_while_running(&a, path);
		ck_assert_msg(a.result == 0, "%s", a.err.text);
		ck_assert_str_eq(a.answer.data, "{\"node\": \"w@h\", \"ready\": true}\n");
		str_clear(&a.answer);
	}
	status_server_close(s);
	ck_assert_int_ne(access(path, F_OK), 0);
	end();
}
END_TEST

START_TEST(socket_and_folder_are_for_the_owner_alone)
{
	auto_free char *path = begin();
	auto_free char *run = mem_printf("%s/run", folder);
	struct status_server *s = status_server_open(&loop, path, fill, NULL, NULL);
	struct stat info;

	ck_assert_ptr_nonnull(s);
	ck_assert_int_eq(stat(path, &info), 0);
	ck_assert_int_eq(info.st_mode & 0777, 0600);
	ck_assert_int_eq(stat(run, &info), 0);
	ck_assert_int_eq(info.st_mode & 0777, 0700);
	status_server_close(s);
	end();
}
END_TEST

START_TEST(a_folder_that_others_may_write_to_is_refused)
{
	auto_free char *path = begin();
	auto_free char *run = mem_printf("%s/run", folder);
	struct err err = {0};

	ck_assert_int_eq(mkdir(run, 0700), 0);
	ck_assert_int_eq(chmod(run, 0777), 0);
	ck_assert_ptr_null(status_server_open(&loop, path, fill, NULL, &err));
	ck_assert_int_eq(err.code, ERR_REFUSED);
	end();
}
END_TEST

/* A worker that was killed leaves its socket behind. */
START_TEST(a_left_over_socket_is_replaced)
{
	auto_free char *path = begin();
	auto_free char *run = mem_printf("%s/run", folder);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);
	char name[] = "new";
	struct status_server *s;
	struct asker a;

	mkdir(run, 0700);
	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	ck_assert(!status_is_live(path));
	s = status_server_open(&loop, path, fill, name, NULL);
	ck_assert_ptr_nonnull(s);
	ck_assert(status_is_live(path));
	ask_while_running(&a, path);
	ck_assert_ptr_nonnull(strstr(a.answer.data, "new"));
	str_clear(&a.answer);
	status_server_close(s);
	end();
}
END_TEST

START_TEST(sockets_of_killed_workers_are_removed_and_those_of_living_ones_stay)
{
	auto_free char *path = begin();
	auto_free char *dead = mem_printf("%s/run/dead@h.sock", folder);
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	struct err err = {0};
	struct status_server *s =
		status_server_open(&loop, path, fill, (void *)(uintptr_t) "w@h", &err);
	int fd = socket(AF_UNIX, SOCK_STREAM, 0);

	ck_assert_ptr_nonnull(s);
	memcpy(address.sun_path, dead, strlen(dead) + 1);
	ck_assert_int_eq(bind(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	close(fd);
	status_remove_dead(path);
	ck_assert_int_ne(access(dead, F_OK), 0);
	ck_assert_int_eq(access(path, F_OK), 0);
	status_server_close(s);
	end();
}
END_TEST

START_TEST(the_newest_worker_has_the_path_and_keeps_it)
{
	auto_free char *path = begin();
	char first[] = "first", second[] = "second";
	struct status_server *a = status_server_open(&loop, path, fill, first, NULL);
	struct status_server *b = status_server_open(&loop, path, fill, second, NULL);
	struct asker asker;

	status_server_close(a); /* must not remove what is b's now */
	ask_while_running(&asker, path);
	ck_assert_ptr_nonnull(strstr(asker.answer.data, "second"));
	str_clear(&asker.answer);
	status_server_close(b);
	ck_assert_int_ne(access(path, F_OK), 0);
	end();
}
END_TEST

static int connect_silently(const char *path)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
	ck_assert_int_eq(connect(fd, (const struct sockaddr *)&address, sizeof(address)), 0);
	return fd;
}

START_TEST(many_silent_clients_do_not_stop_it)
{
	auto_free char *path = begin();
	char name[] = "w";
	struct status_server *s = status_server_open(&loop, path, fill, name, NULL);
	struct asker a;
	int fds[100];

	for (int i = 0; i < 100; i++) {
		fds[i] = connect_silently(path);
		uv_run(&loop, UV_RUN_NOWAIT);
	}
	ask_while_running(&a, path);
	ck_assert_msg(a.result == 0, "%s", a.err.text);
	str_clear(&a.answer);
	for (int i = 0; i < 100; i++)
		close(fds[i]);
	status_server_close(s);
	end();
}
END_TEST

START_TEST(a_loop_that_does_not_turn_is_a_timeout_and_no_worker_is_not_found)
{
	auto_free char *path = begin();
	struct status_server *s = status_server_open(&loop, path, fill, folder, NULL);
	struct err err = {0};
	int64_t before = clock_mono_us();
	auto_str out;

	str_init(&out, 4096);
	ck_assert_int_ne(status_ask(path, 100, &out, &err), 0);
	ck_assert_int_eq(err.code, ERR_TIMEOUT);
	ck_assert_int_lt(clock_mono_us() - before, 2000000);
	status_server_close(s);
	err_clear(&err);
	ck_assert_int_ne(status_ask(path, 100, &out, &err), 0);
	ck_assert_int_eq(err.code, ERR_NOT_FOUND);
	end();
}
END_TEST

START_TEST(a_path_that_is_too_long_is_an_error)
{
	auto_free char *path = begin();
	auto_free char *longer = mem_printf("%s%0100d", path, 1);
	struct err err = {0};

	ck_assert_ptr_null(status_server_open(&loop, longer, fill, NULL, &err));
	ck_assert_int_eq(err.code, ERR_LIMIT);
	end();
}
END_TEST

#include <check.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/daemon.h"

static char folder[] = "/tmp/smallage-daemon-XXXXXX";

static struct config begin(void)
{
	struct config config = {0};

	ck_assert_ptr_nonnull(mkdtemp(folder));
	log_open("/dev/null", LOG_TEXT, LOG_WARNING);
	config.pid_file = mem_printf("%s/x.pid", folder);
	return config;
}

static void end(struct config *config)
{
	unlink(config->pid_file);
	free(config->pid_file);
	rmdir(folder);
}

static void put_pid(const struct config *config, const char *text)
{
	FILE *file = fopen(config->pid_file, "w");

	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static long read_pid(const struct config *config)
{
	char text[32] = "";
	FILE *file = fopen(config->pid_file, "r");

	ck_assert_ptr_nonnull(file);
	ck_assert_ptr_nonnull(fgets(text, sizeof(text), file));
	ck_assert_ptr_nonnull(strchr(text, '\n')); /* Celery takes a file without it for broken */
	fclose(file);
	return strtol(text, NULL, 10);
}

START_TEST(the_pid_file_holds_our_number_and_goes_with_us)
{
	struct config config = begin();

	ck_assert_int_eq(daemon_begin(&config, NULL), 0);
	ck_assert_int_eq(read_pid(&config), getpid());
	daemon_end(&config);
	ck_assert_int_ne(access(config.pid_file, F_OK), 0);
	end(&config);
}
END_TEST

START_TEST(a_pid_file_of_a_living_process_is_refused_in_celerys_words)
{
	struct config config = begin();
	struct err err = {0};
	auto_free char *text = mem_printf("%d\n", (int)getppid());
	auto_free char *expected = mem_printf("Pidfile (%s) already exists.", config.pid_file);

	put_pid(&config, text);
	ck_assert_int_ne(daemon_begin(&config, &err), 0);
	ck_assert_int_eq(err.code, ERR_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, expected));
	daemon_end(&config); /* is not ours to remove */
	ck_assert_int_eq(read_pid(&config), getppid());
	end(&config);
}
END_TEST

START_TEST(stale_and_broken_pid_files_are_replaced)
{
	pid_t dead = fork();
	auto_free char *gone = NULL, *own = mem_printf("%d\n", (int)getpid());

	if (dead == 0)
		_exit(0);
	waitpid(dead, NULL, 0);
	gone = mem_printf("%d\n", (int)dead);

	const char *const stale[] = {gone, own, "", "words\n", "-1\n"};
	struct config config = begin();

	for (size_t i = 0; i < 5; i++) {
		struct err err = {0};

		put_pid(&config, stale[i]);
		ck_assert_msg(daemon_begin(&config, &err) == 0, "'%s': %s", stale[i], err.text);
		ck_assert_int_eq(read_pid(&config), getpid());
	}
	end(&config);
}
END_TEST

START_TEST(privileges_are_dropped_for_good)
{
	struct config config = begin();
	char user[] = "nobody";
	struct err err = {0};

	if (geteuid() == 0) { /* only root can become somebody else */
		config.run_as_user = user;
		ck_assert_msg(daemon_begin(&config, &err) == 0, "%s", err.text);
		ck_assert_uint_ne(geteuid(), 0);
		ck_assert_uint_ne(getegid(), 0);
		ck_assert_int_eq(getgroups(0, NULL), 1);
		ck_assert_int_ne(setuid(0), 0);
	}
	free(config.pid_file); /* its folder is root's: nothing can be removed any more */
}
END_TEST

START_TEST(unknown_users_groups_and_masks_are_errors)
{
	struct config config = begin();
	char name[] = "no-such-name";
	struct err err = {0};

	config.run_as_user = name;
	ck_assert_int_ne(daemon_begin(&config, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "no user"));
	daemon_end(&config);
	err_clear(&err);
	config.run_as_user = NULL;
	config.run_as_group = name;
	ck_assert_int_ne(daemon_begin(&config, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "no group"));
	daemon_end(&config);
	err_clear(&err);
	config.run_as_group = NULL;
	config.umask_text = name;
	ck_assert_int_ne(daemon_begin(&config, &err), 0);
	ck_assert_ptr_nonnull(strstr(err.text, "octal"));
	end(&config);
}
END_TEST

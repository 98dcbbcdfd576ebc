#include "base/mem.h"

#include <check.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

START_TEST(nothing_is_still_an_address)
{
	auto_free char *a = mem_alloc(0);
	auto_free char *b = mem_calloc(0, 8);
	auto_free char *c = mem_realloc(NULL, 0);

	ck_assert(a && b && c);
}
END_TEST

START_TEST(fresh_memory_is_zero_where_promised)
{
	auto_free unsigned char *bytes = mem_calloc(16, 4);

	for (int i = 0; i < 64; i++)
		ck_assert_int_eq(bytes[i], 0);
}
END_TEST

START_TEST(a_copy_ends_in_nul)
{
	auto_free char *part = mem_dup("abcdef", 3);
	auto_free char *none = mem_dup(NULL, 0);
	auto_free char *text = mem_strdup("text");
	auto_free char *made = mem_printf("%s-%d", "made", 7);

	ck_assert_str_eq(part, "abc");
	ck_assert_str_eq(none, "");
	ck_assert_str_eq(text, "text");
	ck_assert_str_eq(made, "made-7");
	ck_assert_ptr_null(mem_strdup(NULL));
}
END_TEST

START_TEST(freeing_by_address_leaves_null)
{
	char *text = mem_strdup("x");

	mem_free_ptr(&text);
	ck_assert_ptr_null(text);
	mem_free_ptr(&text);
}
END_TEST

START_TEST(memory_that_is_not_there_aborts)
{
	volatile size_t size = SIZE_MAX / 2;
	pid_t child = fork();
	int status;

	if (child == 0) {
		const struct rlimit no_core = {0, 0};

		(void)setrlimit(RLIMIT_CORE, &no_core);
		(void)close(STDERR_FILENO);
		(void)mem_alloc(size);
		_exit(0);
	}
	ck_assert_int_eq(waitpid(child, &status, 0), child);
	ck_assert(!WIFEXITED(status) || WEXITSTATUS(status) != 0);
}
END_TEST

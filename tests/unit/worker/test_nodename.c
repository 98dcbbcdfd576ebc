#include <check.h>
#include <string.h>

#include "base/mem.h"
#include "worker/config/nodename.h"

static void expands_to(const char *option, const char *expected)
{
	struct err err = {0};
	auto_free char *node = nodename_expand(option, "web1.example.com", &err);

	ck_assert_msg(node != NULL, "%s: %s", option ? option : "(none)", err.text);
	ck_assert_str_eq(node, expected);
}

static void formats_to(const char *path, const char *expected)
{
	struct err err = {0};
	auto_free char *text = nodename_format(path, "w1@web1.example.com", &err);

	ck_assert_msg(text != NULL, "%s: %s", path, err.text);
	ck_assert_str_eq(text, expected);
}

/* Every expected value was printed by celery.utils.nodenames of 5.7. */
START_TEST(node_names_expand_as_celery_expands_them)
{
	expands_to(NULL, "celery@web1.example.com");
	expands_to("", "celery@web1.example.com");
	expands_to("w1@%h", "w1@web1.example.com");
	expands_to("w1@%n", "w1@web1");
	expands_to("w1@%d", "w1@example.com");
	expands_to("w%%@%n.%d", "w%@web1.example.com");
	expands_to("w%i@h", "w0@h");
	expands_to("w%I@h", "w@h");
	expands_to("@h", "celery@h");
	expands_to("w1@", "w1@web1.example.com");
	expands_to("w1", "celery@w1");
	expands_to("a@b@c", "a@b@c");
	expands_to("50%-w@h", "50%-w@h");
}
END_TEST

START_TEST(paths_expand_with_the_parts_of_the_node_name)
{
	formats_to("/var/log/%n.log", "/var/log/w1.log");
	formats_to("%h", "web1.example.com");
	formats_to("%n-%d.pid", "w1-example.com.pid");
	formats_to("%p%I-%i", "w1@web1.example.com-0");
	formats_to("100%%", "100%");
}
END_TEST

START_TEST(an_unknown_abbreviation_is_an_error_that_names_it)
{
	struct err err = {0};

	ck_assert_ptr_null(nodename_expand("w@%z", "h", &err));
	ck_assert_ptr_nonnull(strstr(err.text, "%z"));
	err_clear(&err);
	ck_assert_ptr_null(nodename_expand("%p@h", "h", &err)); /* only paths know the node */
}
END_TEST

START_TEST(a_host_without_a_domain_has_an_empty_one)
{
	struct err err = {0};
	auto_free char *node = nodename_expand("x@[%d]%n", "box", &err);

	ck_assert_str_eq(node, "x@[]box");
}
END_TEST

/* The template language, and the files it is read from. */
#include <check.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "template/template.h"

/* Renders `text` as a file of that name; NULL when it failed. */
static const char *render_as(const char *name, const char *text, const char *context)
{
	static struct str out;
	static struct err err;
	json_t *values = context ? json_loads(context, 0, NULL) : NULL;
	struct template *t;
	int ret = -1;

	err_clear(&err);
	str_clear(&out);
	str_init(&out, STR_MAX_DEFAULT);
	t = template_parse(name, text, strlen(text), &err);
	if (t)
		ret = template_eval(t, values, template_is_markup(name), &out, &err);
	template_free(t);
	json_decref(values);
	if (ret < 0)
		return err.text;
	return out.data ? out.data : "";
}

static const char *render(const char *text, const char *context)
{
	return render_as("x.txt", text, context);
}

START_TEST(text_passes_unchanged)
{
	ck_assert_str_eq(render("a { b } }} # %} c", NULL), "a { b } }} # %} c");
	ck_assert_str_eq(render("", NULL), "");
}
END_TEST

START_TEST(one_line_end_at_the_end_is_dropped)
{
	ck_assert_str_eq(render("a\n", NULL), "a");
	ck_assert_str_eq(render("a\n\n", NULL), "a\n");
	ck_assert_str_eq(render("a\r\n", NULL), "a");
	ck_assert_str_eq(render("\n", NULL), "");
}
END_TEST

START_TEST(dotted_names_walk_objects_and_lists)
{
	const char *context = "{\"a\": {\"b\": [\"x\", {\"c\": \"deep\"}]}, \"0\": \"zero\"}";

	ck_assert_str_eq(render("{{ a.b.1.c }}", context), "deep");
	ck_assert_str_eq(render("{{a.b.0}}-{{  a.b.0  }}", context), "x-x");
	ck_assert_str_eq(render("{{ a.b.7 }}{{ a.b.c }}{{ a.x.y }}", context), "");
}
END_TEST

START_TEST(missing_and_none_print_nothing)
{
	ck_assert_str_eq(render("[{{ nope }}][{{ n }}]", "{\"n\": null}"), "[][]");
	ck_assert_str_eq(render("[{{ nope.x.y }}]", NULL), "[]");
}
END_TEST

START_TEST(numbers_print_as_in_python)
{
	ck_assert_str_eq(render("{{ a }} {{ b }} {{ c }} {{ d }} {{ e }}",
				"{\"a\": 7, \"b\": 0.1, \"c\": 1e16, \"d\": true, \"e\": false}"),
			 "7 0.1 1e+16 True False");
}
END_TEST

START_TEST(tagged_values_print_their_text)
{
	ck_assert_str_eq(
		render("{{ id }}", "{\"id\": {\"__type__\": \"uuid\", \"__value__\": \"aa-bb\"}}"),
		"aa-bb");
}
END_TEST

START_TEST(html_is_escaped_by_name)
{
	const char *context = "{\"v\": \"<a href=\\\"x\\\">&'\"}";

	ck_assert_str_eq(render_as("x.html", "<p>{{ v }}</p>", context),
			 "<p>&lt;a href=&#34;x&#34;&gt;&amp;&#39;</p>");
	ck_assert_str_eq(render_as("x.xml", "{{ v }}", context),
			 "&lt;a href=&#34;x&#34;&gt;&amp;&#39;");
	ck_assert_str_eq(render_as("x.txt", "{{ v }}", context), "<a href=\"x\">&'");
	ck_assert_str_eq(render_as("html", "{{ v }}", context), "<a href=\"x\">&'");
}
END_TEST

START_TEST(literals_and_comments)
{
	ck_assert_str_eq(render("{{ '{{' }} x {{ \"}}\" }}", NULL), "{{ x }}");
	ck_assert_str_eq(render("{{ 'a\\'b\\n' }}", NULL), "a'b\n");
	ck_assert_str_eq(render("a{# no\nthing {{ here }} #}b", NULL), "ab");
	ck_assert_str_eq(render_as("x.html", "{{ '<' }}", NULL), "&lt;");
}
END_TEST

START_TEST(values_are_not_read_as_templates)
{
	ck_assert_str_eq(render("{{ v }}", "{\"v\": \"{{ secret }}\", \"secret\": \"s\"}"),
			 "{{ secret }}");
}
END_TEST

START_TEST(errors_name_file_line_and_column)
{
	ck_assert_str_eq(render("a\nbc {% if x %}", NULL),
			 "x.txt:2:4: '{% if %}' is not supported by this version");
	ck_assert_str_eq(render("\xc3\xa4{{ a|upper }}", NULL),
			 "x.txt:1:6: filters are not supported by this version");
	ck_assert_str_eq(render("{{ a", NULL), "x.txt:1:5: '{{' is not closed by '}}'");
	ck_assert_str_eq(render("\n\n {# a", NULL), "x.txt:3:2: '{#' is not closed by '#}'");
	ck_assert_str_eq(render("{{ 'a }}", NULL), "x.txt:1:4: the string is not closed");
	ck_assert_str_eq(render("{{- a }}", NULL),
			 "x.txt:1:3: whitespace control is not supported by this version");
	ck_assert_ptr_nonnull(strstr(render("{{ a + 1 }}", NULL), "x.txt:1:6: '+' inside"));
	ck_assert_ptr_nonnull(strstr(render("{{ f() }}", NULL), "x.txt:1:5: '(' inside"));
	ck_assert_ptr_nonnull(strstr(render("{{ true }}", NULL), "x.txt:1:4: the expression"));
	ck_assert_ptr_nonnull(strstr(render("{{}}", NULL), "x.txt:1:3: '}' inside"));
	ck_assert_ptr_nonnull(strstr(render("{{ a. }}", NULL), "x.txt:1:6: ' ' inside"));
}
END_TEST

START_TEST(a_dict_or_list_is_an_error)
{
	ck_assert_ptr_nonnull(
		strstr(render("\n {{ a }}", "{\"a\": {}}"), "x.txt:2:2: the value is a dict"));
	ck_assert_ptr_nonnull(strstr(render("{{ a }}", "{\"a\": [1]}"), "is a list"));
}
END_TEST

START_TEST(paths_have_a_limit)
{
	char text[200] = "{{ a";

	for (int i = 0; i < 40; i++)
		strncat(text, ".a", sizeof(text) - strlen(text) - 1);
	ck_assert_ptr_nonnull(strstr(render(text, NULL), "too many names"));
}
END_TEST

START_TEST(output_has_a_limit)
{
	json_t *context = json_object();
	char *big = malloc(600001);
	struct template *t;
	struct err err = {0};
	struct str out;

	memset(big, 'x', 600000);
	big[600000] = '\0';
	json_object_set_new(context, "v", json_string(big));
	t = template_parse("x.txt", "{{ v }}{{ v }}", 14, &err);
	str_init(&out, STR_MAX_DEFAULT);
	ck_assert_int_eq(template_eval(t, context, false, &out, &err), -1);
	ck_assert_int_eq(err.code, ERR_LIMIT);
	str_clear(&out);
	template_free(t);
	json_decref(context);
	free(big);
}
END_TEST

/* A folder of its own for the tests that need files. */
static char folder[64];

static void write_file(const char *name, const char *text)
{
	char path[128];
	FILE *file;

	snprintf(path, sizeof(path), "%s/%s", folder, name);
	file = fopen(path, "w");
	ck_assert_ptr_nonnull(file);
	fputs(text, file);
	fclose(file);
}

static void make_folder(void)
{
	snprintf(folder, sizeof(folder), "/tmp/template-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void remove_folder(void)
{
	pid_t pid = fork();

	if (pid == 0) {
		execlp("rm", "rm", "-rf", folder, (char *)NULL);
		_exit(127);
	}
	waitpid(pid, NULL, 0);
}

static enum err_code render_file(const char *second, const char *name, struct str *out)
{
	const char *dirs[] = {folder, second, NULL};
	struct err err = {0};

	str_reset(out);
	return template_render(dirs, name, NULL, out, &err) < 0 ? err.code : ERR_NONE;
}

START_TEST(files_are_read_again_when_they_change)
{
	struct str out;

	str_init(&out, STR_MAX_DEFAULT);
	make_folder();
	write_file("a.txt", "one");
	ck_assert_int_eq(render_file(NULL, "a.txt", &out), ERR_NONE);
	ck_assert_str_eq(out.data, "one");
	write_file("a.txt", "second");
	ck_assert_int_eq(render_file(NULL, "a.txt", &out), ERR_NONE);
	ck_assert_str_eq(out.data, "second");
	write_file("a.txt", "{% broken");
	ck_assert_int_eq(render_file(NULL, "a.txt", &out), ERR_UNSUPPORTED);
	write_file("a.txt", "good again");
	ck_assert_int_eq(render_file(NULL, "a.txt", &out), ERR_NONE);
	ck_assert_str_eq(out.data, "good again");
	str_clear(&out);
	remove_folder();
}
END_TEST

START_TEST(the_first_folder_that_has_it_wins)
{
	struct str out;

	str_init(&out, STR_MAX_DEFAULT);
	make_folder();
	ck_assert_int_eq(render_file("template/default", "welcome/subject.txt", &out), ERR_NONE);
	ck_assert_str_eq(out.data, "Welcome to , ");
	ck_assert_int_eq(render_file(NULL, "welcome/subject.txt", &out), ERR_NOT_FOUND);
	write_file("own.txt", "own");
	ck_assert_int_eq(render_file("template/default", "own.txt", &out), ERR_NONE);
	str_clear(&out);
	remove_folder();
}
END_TEST

START_TEST(names_stay_inside_the_folders)
{
	static const char *const bad[] = {
		"../etc/passwd", "/etc/passwd", "a/../../b", "..",   ".",    "",
		"a//b",		 "a/",		"a/./b",     "a\\b", "a\nb", NULL};
	struct str out;

	str_init(&out, STR_MAX_DEFAULT);
	make_folder();
	for (size_t i = 0; bad[i]; i++)
		ck_assert_int_eq(render_file(NULL, bad[i], &out), ERR_INVALID);
	str_clear(&out);
	remove_folder();
}
END_TEST

START_TEST(more_files_than_the_cache_holds)
{
	struct str out;
	char name[32];

	str_init(&out, STR_MAX_DEFAULT);
	make_folder();
	for (int round = 0; round < 2; round++)
		for (int i = 0; i < 100; i++) {
			snprintf(name, sizeof(name), "%d.txt", i);
			if (round == 0)
				write_file(name, name);
			ck_assert_int_eq(render_file(NULL, name, &out), ERR_NONE);
			ck_assert_str_eq(out.data, name);
		}
	str_clear(&out);
	remove_folder();
}
END_TEST

START_TEST(all_shipped_templates_render)
{
	static const char *const names[] = {"welcome", "order_confirmation", "password_reset",
					    "verification", "new_ip"};
	static const char *const parts[] = {"subject.txt", "body.txt", "body.html"};
	struct str out;
	char name[64];

	str_init(&out, STR_MAX_DEFAULT);
	for (size_t i = 0; i < 15; i++) {
		snprintf(name, sizeof(name), "%s/%s", names[i / 3], parts[i % 3]);
		snprintf(folder, sizeof(folder), "template/default");
		ck_assert_int_eq(render_file(NULL, name, &out), ERR_NONE);
		ck_assert_uint_gt(out.len, 5);
	}
	str_clear(&out);
}
END_TEST

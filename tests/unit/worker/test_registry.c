#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "worker/task/plugin.h"
#include "worker/task/registry.h"

static json_t *run(struct sm_job *job)
{
	(void)job;
	return json_null();
}

static const struct sm_task bare = {.name = "send", .signature = "to: str", .run = run};
static const struct sm_task dotted = {.name = "billing.pay", .run = run};
static const struct sm_task broken = {.name = "x.y", .signature = "to str", .run = run};
static const struct sm_task nameless = {.run = run};
static const struct sm_plugin plugin = {.name = "p", .tasks = SM_TASKS(&bare, &dotted)};
static const struct sm_plugin again = {.name = "q", .tasks = SM_TASKS(&dotted)};
static const struct sm_plugin bad_signature = {.name = "bad", .tasks = SM_TASKS(&broken)};
static const struct sm_plugin no_name = {.name = "none", .tasks = SM_TASKS(&nameless)};

START_TEST(a_name_without_a_dot_answers_under_every_module)
{
	const char *modules[] = {"app.tasks", "src.core.tasks", NULL};
	struct registry *r = registry_new();
	const struct task_entry *entry;

	ck_assert_int_eq(registry_add_plugin(r, &plugin, modules, NULL), 0);
	ck_assert_uint_eq(registry_count(r), 4);
	ck_assert_ptr_nonnull(registry_find(r, "send"));
	ck_assert_ptr_nonnull(registry_find(r, "app.tasks.send"));
	entry = registry_find(r, "src.core.tasks.send");
	ck_assert_ptr_eq(entry->decl, &bare);
	ck_assert_ptr_eq(entry->plugin, &plugin);
	ck_assert_str_eq(entry->name, "src.core.tasks.send");
	ck_assert_ptr_eq(registry_at(r, entry->index), entry);
	ck_assert_ptr_nonnull(registry_find(r, "billing.pay"));
	ck_assert_ptr_null(registry_find(r, "app.tasks.billing.pay"));
	ck_assert_ptr_null(registry_find(r, "nowhere"));
	ck_assert_ptr_null(registry_at(r, 4));
	ck_assert_uint_eq(registry_plugin_count(r), 1);
	ck_assert_ptr_eq(registry_plugin_at(r, 0), &plugin);
	registry_free(r);
}
END_TEST

START_TEST(a_taken_name_is_refused_and_both_plugins_named)
{
	struct registry *r = registry_new();
	struct err err = {0};

	ck_assert_int_eq(registry_add_plugin(r, &plugin, NULL, &err), 0);
	ck_assert_int_eq(registry_add_plugin(r, &again, NULL, &err), -1);
	ck_assert_str_eq(err.text, "plug-in 'q': task 'billing.pay' is already in 'p'");
	registry_free(r);
}
END_TEST

START_TEST(a_bad_signature_is_refused_with_the_tasks_name)
{
	struct registry *r = registry_new();
	struct err err = {0};

	ck_assert_int_eq(registry_add_plugin(r, &bad_signature, NULL, &err), -1);
	ck_assert_ptr_nonnull(strstr(err.text, "plug-in 'bad', signature of task 'x.y': "));
	registry_free(r);
}
END_TEST

START_TEST(a_task_without_a_name_is_refused)
{
	struct registry *r = registry_new();

	ck_assert_int_eq(registry_add_plugin(r, &no_name, NULL, NULL), -1);
	registry_free(r);
}
END_TEST

/* --- files ---------------------------------------------------------------------------------- */

static char folder[64];

static void build(const char *name, const char *source)
{
	auto_free char *path = mem_printf("%s/%s.c", folder, name);
	auto_free char *command =
		mem_printf("%s -shared -fPIC -Iinclude -o %s/%s.so %s", "cc", folder, name, path);
	FILE *file = fopen(path, "w");
	FILE *compiler;

	ck_assert_ptr_nonnull(file);
	fputs(source, file);
	fclose(file);
	compiler = popen(command, "r");
	ck_assert_ptr_nonnull(compiler);
	ck_assert_int_eq(pclose(compiler), 0);
}

static void make_folder(void)
{
	strcpy(folder, "/tmp/plugins-XXXXXX");
	ck_assert_ptr_nonnull(mkdtemp(folder));
}

static void drop_folder(void)
{
	auto_free char *command = mem_printf("rm -r %s", folder);
	FILE *shell = popen(command, "r");

	pclose(shell);
}

#define GOOD(NAME)                                                                                 \
	"#include <smallage/task.h>\n"                                                             \
	"static json_t *run(struct sm_job *job) { (void)job; return json_true(); }\n"              \
	"static const struct sm_task t = {.name = \"" NAME ".t\", .run = run};\n"                  \
	"SM_PLUGIN(.name = \"" NAME "\", .tasks = SM_TASKS(&t));\n"

START_TEST(a_folder_is_loaded_in_order_of_name) /* timeout 30 */
{
	struct registry *r = registry_new();
	struct err err = {0};

	make_folder();
	build("b", GOOD("second"));
	build("a", GOOD("first"));
	ck_assert_msg(plugin_load_path(r, folder, NULL, &err) == 0, "%s", err.text);
	ck_assert_uint_eq(registry_plugin_count(r), 2);
	ck_assert_str_eq(registry_plugin_at(r, 0)->name, "first");
	ck_assert_str_eq(registry_plugin_at(r, 1)->name, "second");
	ck_assert_ptr_nonnull(registry_find(r, "second.t"));
	registry_free(r);
	drop_folder();
}
END_TEST

START_TEST(another_abi_is_refused_with_both_numbers) /* timeout 30 */
{
	struct registry *r = registry_new();
	struct err err = {0};
	auto_free char *path = NULL;

	make_folder();
	build("old",
	      "#include <smallage/task.h>\n"
	      "extern SM_EXPORT const struct sm_plugin sm_plugin;\n"
	      "SM_EXPORT const struct sm_plugin sm_plugin = {.abi = 77, .name = \"old\"};\n");
	path = mem_printf("%s/old.so", folder);
	ck_assert_int_eq(plugin_load_path(r, path, NULL, &err), -1);
	ck_assert_int_eq(err.code, ERR_REFUSED);
	ck_assert_ptr_nonnull(strstr(err.text, "ABI 77"));
	ck_assert_ptr_nonnull(strstr(err.text, "ABI 2"));
	registry_free(r);
	drop_folder();
}
END_TEST

START_TEST(what_is_no_plugin_is_refused) /* timeout 30 */
{
	struct registry *r = registry_new();
	struct err missing = {0}, no_symbol = {0}, no_object = {0};
	auto_free char *path = NULL;
	auto_free char *source = NULL;

	make_folder();
	build("plain", "int plain; int plain = 1;\n");
	path = mem_printf("%s/plain.so", folder);
	source = mem_printf("%s/plain.c", folder);
	ck_assert_int_eq(plugin_load_path(r, path, NULL, &no_symbol), -1);
	ck_assert_ptr_nonnull(strstr(no_symbol.text, "no symbol sm_plugin"));
	ck_assert_int_eq(plugin_load_path(r, source, NULL, &no_object), -1);
	ck_assert_int_eq(no_object.code, ERR_INVALID);
	ck_assert_int_eq(plugin_load_path(r, "/nowhere/x.so", NULL, &missing), -1);
	ck_assert_int_eq(missing.code, ERR_NOT_FOUND);
	registry_free(r);
	drop_folder();
}
END_TEST

START_TEST(folders_stand_beside_bin)
{
	auto_free char *tasks = plugin_default_dir();
	auto_free char *share = plugin_share_dir("templates");

	ck_assert_ptr_nonnull(strstr(tasks, "/lib/smallage/tasks"));
	ck_assert_ptr_nonnull(strstr(share, "/share/smallage/templates"));
}
END_TEST

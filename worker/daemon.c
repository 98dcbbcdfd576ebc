#include "worker/daemon.h"

#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

/* Who to become; -1 = stay. */
struct identity {
	uid_t user;
	gid_t group;
	char *name; /* of the user, for the other groups; NULL = unknown */
	bool is_user_set, is_group_set;
};

static bool parse_id(const char *text, unsigned *ret_id)
{
	char *end;
	unsigned long id;

	errno = 0;
	id = strtoul(text, &end, 10);
	if (errno || end == text || *end || text[0] == '-' || id >= 0xFFFFFFFFUL)
		return false;
	*ret_id = (unsigned)id;
	return true;
}

static int find_identity(const struct config *config, struct identity *who, struct err *err)
{
	const char *user = config->run_as_user, *group = config->run_as_group;
	unsigned id = 0;

	if (user) {
		bool is_number = parse_id(user, &id);
		const struct passwd *entry = is_number ? getpwuid(id) : getpwnam(user);

		if (!entry && !is_number)
			return err_set(err, ERR_NOT_FOUND, "--uid: no user '%.60s'", user);
		who->user = entry ? entry->pw_uid : id;
		who->group = entry ? entry->pw_gid : getegid();
		who->name = entry ? mem_strdup(entry->pw_name) : NULL;
		who->is_user_set = true;
		who->is_group_set = entry != NULL;
	}
	if (group) {
		bool is_number = parse_id(group, &id);
		const struct group *entry = is_number ? getgrgid(id) : getgrnam(group);

		if (!entry && !is_number)
			return err_set(err, ERR_NOT_FOUND, "--gid: no group '%.60s'", group);
		who->group = entry ? entry->gr_gid : id;
		who->is_group_set = true;
	}
	return 0;
}

/* Files that were opened as root, and the socket's folder, go to the user who will need them. */
static void hand_over(const char *path, const struct identity *who)
{
	gid_t group = who->is_group_set ? who->group : (gid_t)-1;

	if (path && lchown(path, who->user, group) != 0)
		log_warning("cannot give %s to the user of --uid: %s", path, strerror(errno));
}

static void prepare_socket_folder(const struct config *config, const struct identity *who)
{
	char *slash = config->status_socket ? strrchr(config->status_socket, '/') : NULL;
	auto_free char *folder =
		slash ? mem_dup(config->status_socket, (size_t)(slash - config->status_socket))
		      : NULL;

	if (folder && folder[0] && mkdir(folder, 0700) == 0)
		hand_over(folder, who);
}

static int drop_privileges(const struct config *config, struct err *err)
{
	struct identity who = {0};
	auto_free char *name = NULL;
	int failed;

	if (find_identity(config, &who, err) != 0)
		return -1;
	name = who.name;
	if (!who.is_user_set && !who.is_group_set)
		return 0;
	if (who.is_user_set && who.user != geteuid()) {
		hand_over(config->log_file, &who);
		hand_over(config->pid_file, &who);
		prepare_socket_folder(config, &who);
	}
	failed = geteuid() != 0 ? 0 : name ? initgroups(name, who.group) : setgroups(0, NULL);
	if (failed || (who.is_group_set && setgid(who.group) != 0) ||
	    (who.is_user_set && setuid(who.user) != 0))
		return err_errno(err, "cannot change to the user and group of --uid and --gid");
	/* Mirrors celery/platforms.py: a drop that can be undone is none. */
	if (who.is_user_set && who.user != 0 && setuid(0) == 0)
		return err_set(err, ERR_INTERNAL, "privileges could be taken back after --uid");
	return 0;
}

/* The process named in a pid file when it lives and is not us, else 0. In a container the old file
 * of a killed worker often names our own number. Mirrors celery/platforms.py, Pidfile. */
static pid_t living_owner(const char *path)
{
	char text[32] = "";
	FILE *file = fopen(path, "re");
	long pid;

	if (!file)
		return 0;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	pid = strtol(text, NULL, 10);
	if (pid <= 0 || pid == getpid() || (kill((pid_t)pid, 0) != 0 && errno == ESRCH))
		return 0;
	return (pid_t)pid;
}

static int write_pid_file(const char *path, struct err *err)
{
	char text[32];
	int len = snprintf(text, sizeof(text), "%d\n", (int)getpid());
	int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);

	if (fd < 0 && errno == EEXIST) {
		pid_t owner = living_owner(path);

		if (owner)
			return err_set(err, ERR_REFUSED,
				       "Pidfile (%s) already exists. Seems we're already running? "
				       "(pid: %d)",
				       path, (int)owner);
		log_warning("Stale pidfile exists - Removing it.");
		unlink(path);
		fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
	}
	if (fd < 0)
		return err_errno(err, "pidfile %s", path);
	if (write(fd, text, (size_t)len) != len) {
		close(fd);
		unlink(path);
		return err_errno(err, "pidfile %s", path);
	}
	return close(fd) == 0 ? 0 : err_errno(err, "pidfile %s", path);
}

/* Background: a new session without a terminal; the first process ends at once, as Celery's. */
static int detach(struct err *err)
{
	int null;

	fflush(NULL);
	for (int i = 0; i < 2; i++) {
		pid_t child = fork();

		if (child < 0)
			return err_errno(err, "detach");
		if (child > 0)
			_exit(EXIT_SUCCESS);
		if (i == 0 && setsid() < 0)
			return err_errno(err, "detach");
	}
	null = open("/dev/null", O_RDWR | O_CLOEXEC);
	if (null < 0)
		return err_errno(err, "/dev/null");
	for (int fd = 0; fd <= 2; fd++)
		if (dup2(null, fd) < 0)
			return err_errno(err, "detach");
	if (null > 2)
		close(null);
	return 0;
}

static int set_umask(const char *text, struct err *err)
{
	char *end;
	unsigned long mask = strtoul(text, &end, 8);

	if (end == text || *end || mask > 0777)
		return err_set(err, ERR_INVALID, "--umask: '%.60s' is no octal mask", text);
	umask((mode_t)mask);
	return 0;
}

int daemon_begin(const struct config *config, struct err *err)
{
	if (config->umask_text && set_umask(config->umask_text, err) != 0)
		return -1;
	if (config->detach) {
		pid_t owner = config->pid_file ? living_owner(config->pid_file) : 0;

		if (owner) /* said while there is a terminal to say it on */
			return err_set(err, ERR_REFUSED,
				       "Pidfile (%s) already exists. Seems we're already running? "
				       "(pid: %d)",
				       config->pid_file, (int)owner);
		if (!config->log_file)
			log_warning("detached without --logfile: the log goes nowhere");
		if (detach(err) != 0)
			return -1;
	}
	if (config->pid_file && write_pid_file(config->pid_file, err) != 0)
		return -1;
	return drop_privileges(config, err);
}

void daemon_end(const struct config *config)
{
	char text[32] = "";
	FILE *file = config->pid_file ? fopen(config->pid_file, "re") : NULL;

	if (!file)
		return;
	if (!fgets(text, sizeof(text), file))
		text[0] = '\0';
	fclose(file);
	if (strtol(text, NULL, 10) == getpid())
		unlink(config->pid_file);
}

/* The command line this process was started with, NULL-terminated; the strings lie in *ret_text. */
static char **own_arguments(char **ret_text)
{
	const size_t max = (size_t)1 << 21; /* the kernel's own limit */
	char *text = mem_alloc(max);
	FILE *file = fopen("/proc/self/cmdline", "re");
	size_t len = file ? fread(text, 1, max - 1, file) : 0, count = 0;
	char **arguments = NULL;

	if (file)
		fclose(file);
	text[len] = '\0';
	for (size_t at = 0; at < len; at += strlen(text + at) + 1) {
		arguments = mem_realloc(arguments, (count + 2) * sizeof(*arguments));
		arguments[count++] = text + at;
		arguments[count] = NULL;
	}
	*ret_text = text;
	return arguments;
}

/* An upgrade has put another file under the name of the one we run; that one is wanted. Returns
 * when there is none. */
static void exec_installed(char **arguments)
{
	static const char deleted[] = " (deleted)";
	char path[PATH_MAX];
	ssize_t len = readlink("/proc/self/exe", path, sizeof(path) - 1);

	if (len <= 0)
		return;
	path[len] = '\0';
	char *end = path + len - strlen(deleted);

	if (end > path && strcmp(end, deleted) == 0)
		*end = '\0';
	execv(path, arguments);
}

void daemon_restart(void)
{
	char *text = NULL;
	auto_free char **arguments = own_arguments(&text);
	auto_free char *text_owner = text;
	const char *folder = getenv("SMALLAGE_START_DIR");

	if (folder && chdir(folder) != 0)
		log_warning("cannot go back to %s: %s", folder, strerror(errno));
	if (arguments) {
		exec_installed(arguments);
		execv("/proc/self/exe", arguments);
	}
	log_error("cannot start again: %s", strerror(errno));
	(void)text_owner;
}

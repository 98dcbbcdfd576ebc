#include "worker/pool/spawner.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/title.h"

#if defined(__SANITIZE_ADDRESS__)
#define HAS_LEAK_CHECK 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define HAS_LEAK_CHECK 1
#endif
#endif

struct spawner {
	const struct pool_options *pool;
	struct share_slot *share;
	unsigned max_units, slots_per_unit;
	unsigned units; /* that pids and fds have room for */
	int fd;		/* to the master */
	int signals;	/* signalfd of SIGCHLD */
	pid_t *pids;	/* per unit; 0 = not running */
	int *fds;	/* per slot; -1 = not added */
};

int spawner_send(int spawner, const struct spawner_command *command, int fd)
{
	struct iovec part = {.iov_base = (void *)(uintptr_t)command, .iov_len = sizeof(*command)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control = {.bytes = {0}};
	struct msghdr msg = {.msg_iov = &part, .msg_iovlen = 1};

	if (fd >= 0) {
		struct cmsghdr *c = &control.align;

		msg.msg_control = control.bytes;
		msg.msg_controllen = sizeof(control.bytes);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	}
	return sendmsg(spawner, &msg, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 ? -1 : 0;
}

int spawner_receive(int spawner, struct spawner_report *ret)
{
	ssize_t n = recv(spawner, ret, sizeof(*ret), MSG_DONTWAIT);

	if (n == (ssize_t)sizeof(*ret))
		return 1;
	return n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

/* 0 when the master is gone. */
static int receive_command(int fd, struct spawner_command *ret, int *ret_fd)
{
	struct iovec part = {.iov_base = ret, .iov_len = sizeof(*ret)};
	union {
		char bytes[CMSG_SPACE(sizeof(int))];
		struct cmsghdr align;
	} control;
	struct msghdr msg = {.msg_iov = &part,
			     .msg_iovlen = 1,
			     .msg_control = control.bytes,
			     .msg_controllen = sizeof(control.bytes)};
	ssize_t n = recvmsg(fd, &msg, MSG_CMSG_CLOEXEC);
	struct cmsghdr *c;

	*ret_fd = -1;
	if (n != (ssize_t)sizeof(*ret))
		return n < 0 && errno == EINTR ? -1 : 0;
	c = CMSG_FIRSTHDR(&msg);
	if (c && c->cmsg_type == SCM_RIGHTS)
		memcpy(ret_fd, CMSG_DATA(c), sizeof(*ret_fd));
	return 1;
}

static void report(const struct spawner *s, enum spawner_event event, unsigned unit, pid_t pid,
		   int status)
{
	struct spawner_report r = {.event = event, .unit = unit, .pid = pid, .status = status};

	while (send(s->fd, &r, sizeof(r), MSG_NOSIGNAL) < 0 && errno == EINTR)
		continue;
}

/* Under a sanitizer the process must pass through exit() to be checked for leaks; otherwise the
 * exit handlers that the master's libraries registered are not ours to run. */
__attribute__((noreturn)) static void process_end(int code)
{
	fflush(NULL);
#ifdef HAS_LEAK_CHECK
	exit(code);
#else
	_exit(code);
#endif
}

/* Dies with the parent thread. The check closes the gap between fork and prctl. */
static void follow_parent(pid_t parent)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	if (getppid() != parent)
		_exit(EXIT_FAILURE);
}

/* A signal of the spawner ends the process as it would by default. One from anywhere else came to
 * the whole process group (a terminal's ^C, an init system) and is the master's to handle. */
static void on_end_signal(int number, siginfo_t *info, void *context)
{
	(void)context;
	if (info->si_code > 0 || info->si_pid != getppid())
		return;
	signal(number, SIG_DFL);
	raise(number);
}

static void on_interrupt(int number)
{
	(void)number;
}

static void set_child_signals(void)
{
	static const int ends[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
	struct sigaction end = {.sa_sigaction = on_end_signal, .sa_flags = SA_SIGINFO | SA_RESTART};
	/* No SA_RESTART: that is the point of it. */
	struct sigaction interrupt = {.sa_handler = on_interrupt};
	sigset_t none;

	for (size_t i = 0; i < sizeof(ends) / sizeof(ends[0]); i++)
		sigaction(ends[i], &end, NULL);
	sigaction(POOL_INTERRUPT_SIGNAL, &interrupt, NULL);
	signal(SIGCHLD, SIG_DFL);
	signal(SIGPIPE, SIG_IGN);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

__attribute__((noreturn)) static void child_main(struct spawner *s, unsigned unit, pid_t parent)
{
	struct executor x = {.pool = s->pool,
			     .share = s->share + (size_t)unit * s->slots_per_unit,
			     .first_slot = unit * s->slots_per_unit,
			     .slot_count = s->slots_per_unit,
			     .fds = s->fds + (size_t)unit * s->slots_per_unit};
	int code;

	follow_parent(parent);
	set_child_signals();
	close(s->fd);
	close(s->signals);
	code = s->pool->kind == POOL_THREADS ? threads_main(&x) : prefork_main(&x);
	free(s->pids);
	free(s->fds);
	process_end(code);
}

static void fork_unit(struct spawner *s, unsigned unit)
{
	pid_t parent = getpid();
	pid_t pid = fork();

	if (pid == 0)
		child_main(s, unit, parent);
	for (unsigned i = 0; i < s->slots_per_unit; i++) {
		int *fd = &s->fds[unit * s->slots_per_unit + i];

		if (*fd >= 0)
			close(*fd);
		*fd = -1;
	}
	if (pid < 0) {
		report(s, SPAWNER_FORK_FAILED, unit, 0, errno);
		return;
	}
	s->pids[unit] = pid;
	report(s, SPAWNER_FORKED, unit, pid, 0);
}

/* There is room for many more processes than there will ever be. */
static void make_room(struct spawner *s, unsigned unit)
{
	unsigned units = 2 * unit + 2 < s->max_units ? 2 * unit + 2 : s->max_units;

	if (unit < s->units)
		return;
	s->pids = mem_realloc(s->pids, units * sizeof(*s->pids));
	s->fds = mem_realloc(s->fds, (size_t)units * s->slots_per_unit * sizeof(*s->fds));
	for (unsigned i = s->units; i < units; i++)
		s->pids[i] = 0;
	for (unsigned i = s->units * s->slots_per_unit; i < units * s->slots_per_unit; i++)
		s->fds[i] = -1;
	s->units = units;
}

static void obey(struct spawner *s, const struct spawner_command *c, int fd)
{
	bool is_known = c->unit < s->max_units && c->slot < (c->unit + 1) * s->slots_per_unit;
	pid_t pid, tid;

	if (is_known)
		make_room(s, c->unit);
	pid = is_known ? s->pids[c->unit] : 0;
	tid = is_known ? atomic_load(&s->share[c->slot].tid) : 0;

	if (is_known && c->verb == SPAWNER_ADD) {
		/* One that was added before was given up by the master. */
		if (s->fds[c->slot] >= 0)
			close(s->fds[c->slot]);
		s->fds[c->slot] = fd;
		return;
	}
	if (fd >= 0)
		close(fd);
	if (is_known && c->verb == SPAWNER_FORK && pid == 0)
		fork_unit(s, c->unit);
	else if (c->verb == SPAWNER_SIGNAL && pid > 0)
		kill(pid, c->signal);
	else if (c->verb == SPAWNER_INTERRUPT && pid > 0 && tid > 0)
		syscall(SYS_tgkill, pid, tid, POOL_INTERRUPT_SIGNAL);
}

static void reap(struct spawner *s)
{
	int status;
	pid_t pid;

	while ((pid = waitpid(-1, &status, WNOHANG)) > 0)
		for (unsigned i = 0; i < s->units; i++) {
			if (s->pids[i] != pid)
				continue;
			s->pids[i] = 0;
			report(s, SPAWNER_EXITED, i, pid, status);
			break;
		}
}

static void serve(struct spawner *s)
{
	struct pollfd fds[2] = {{.fd = s->fd, .events = POLLIN},
				{.fd = s->signals, .events = POLLIN}};
	struct spawner_command command;
	struct signalfd_siginfo info;
	int fd;
	int got = 1;

	while (got != 0) {
		if (poll(fds, 2, -1) < 0)
			continue;
		if (fds[1].revents && read(s->signals, &info, sizeof(info)) > 0)
			reap(s);
		if (!fds[0].revents)
			continue;
		got = receive_command(s->fd, &command, &fd);
		if (got > 0)
			obey(s, &command, fd);
	}
	for (unsigned i = 0; i < s->units; i++)
		if (s->pids[i] > 0)
			kill(s->pids[i], SIGKILL);
	while (wait(NULL) > 0)
		continue;
}

/* Sockets that the master happened to have do not belong here. Files stay: one is the log. */
static void close_sockets(int keep)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	struct stat st;

	if (!dir)
		return;
	while ((entry = readdir(dir))) {
		int fd = (int)strtol(entry->d_name, NULL, 10);

		if (fd > STDERR_FILENO && fd != keep && fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode))
			close(fd);
	}
	closedir(dir);
}

/* Signals to the process group are the master's business; SIGCHLD comes through a descriptor. */
static int set_spawner_signals(void)
{
	static const int ignored[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGUSR1, SIGUSR2, SIGPIPE};
	sigset_t mask;

	for (size_t i = 0; i < sizeof(ignored) / sizeof(ignored[0]); i++)
		signal(ignored[i], SIG_IGN);
	signal(SIGCHLD, SIG_DFL);
	sigemptyset(&mask);
	sigaddset(&mask, SIGCHLD);
	sigprocmask(SIG_SETMASK, &mask, NULL);
	return signalfd(-1, &mask, SFD_CLOEXEC);
}

__attribute__((noreturn)) static void spawner_main(struct spawner *s, pid_t parent)
{
	int null;

	follow_parent(parent);
	title_set("smallage: spawner");
	log_set_process("Spawner");
	close_sockets(s->fd);
	/* A task that reads standard input would take it from the master's terminal. */
	null = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (null >= 0) {
		dup2(null, STDIN_FILENO);
		close(null);
	}
	s->signals = set_spawner_signals();
	serve(s);
	free(s->pids);
	free(s->fds);
	process_end(EXIT_SUCCESS);
}

int spawner_start(const struct pool_options *options, struct share_slot *share, unsigned max_units,
		  unsigned slots_per_unit, pid_t *ret_pid, int *ret_fd, struct err *err)
{
	struct spawner s = {.pool = options,
			    .share = share,
			    .max_units = max_units,
			    .slots_per_unit = slots_per_unit};
	pid_t parent = getpid();
	int pair[2];
	pid_t pid;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) != 0)
		return err_errno(err, "socket pair for the spawner");
	/* What stands in the stdio buffers must not be written twice. */
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		err_errno(err, "fork of the spawner");
		close(pair[0]);
		close(pair[1]);
		return -1;
	}
	if (pid == 0) {
		close(pair[0]);
		s.fd = pair[1];
		spawner_main(&s, parent);
	}
	close(pair[1]);
	*ret_pid = pid;
	*ret_fd = pair[0];
	return 0;
}

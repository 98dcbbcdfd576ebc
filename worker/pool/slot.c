#include "worker/pool/slot.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/mem.h"
#include "worker/task/job.h"

#define READ_BYTES	  ((size_t)16 << 10)
#define KEEP_BYTES	  ((size_t)256 << 10) /* a buffer above this is given back */
#define TRIM_BYTES	  ((size_t)1 << 20)   /* after a job above this the heap is trimmed */
#define CUT_TEXT_BYTES	  ((size_t)64 << 10)
#define SEND_WINDOW_BYTES ((uint32_t)1 << 20) /* on their way at once, of one job */
#define QUIET_US	  500 /* a shorter job's outcome may wait for the next one's */
#define HEAD_TEXT_BYTES	  (FRAME_HEAD_MAX - 4096)

struct slot {
	const struct slot_options *o;
	struct str in; /* bytes from the master; those before `taken` are done with */
	size_t taken;
	uint64_t serial;	   /* of the running job */
	struct share_place *place; /* likewise */
	uint32_t sent_bytes;	   /* weight of what it has sent, modulo 2^32 */
	uint16_t number;	   /* of the next frame to send */
	unsigned quiet;		   /* frames in the ring since the bell was last rung */
	int statm_fd;		   /* -1 = memory is not watched */
	bool is_broken;
};

/* Tells the master to look into the ring. A full socket says so too. */
static void slot_bell(struct slot *s)
{
	static const char bell = FRAME_BELL;

	if (s->quiet == 0)
		return;
	s->quiet = 0;
	if (ring_bell(&s->o->share->ring))
		(void)send(s->o->fd, &bell, sizeof(bell), MSG_NOSIGNAL | MSG_DONTWAIT);
}

/* Reads what is there; waits only after the master knows all that was done. */
static ssize_t slot_read(struct slot *s, char *to, size_t room)
{
	ssize_t n = recv(s->o->fd, to, room, MSG_DONTWAIT);

	if (n >= 0 || errno != EAGAIN)
		return n;
	slot_bell(s);
	return read(s->o->fd, to, room);
}

/* Makes `need` bytes available behind `taken`. Waits in read(2): here a slot is idle. */
static int slot_fill(struct slot *s, size_t need)
{
	while (s->in.len - s->taken < need) {
		size_t missing = need - (s->in.len - s->taken);
		size_t room = missing > READ_BYTES ? missing : READ_BYTES;
		char *to;
		ssize_t n;

		str_consume(&s->in, s->taken);
		s->taken = 0;
		to = str_reserve(&s->in, room);
		if (!to)
			return -1;
		n = slot_read(s, to, room);
		if (n > 0)
			str_commit(&s->in, (size_t)n);
		else if (n == 0 || errno != EINTR)
			return -1;
	}
	return 0;
}

/* Writes all of it, whatever signals say. A master that is gone ends the slot. */
static void slot_write(struct slot *s, const char *head, size_t head_len, const char *tail,
		       size_t tail_len)
{
	size_t done = 0;

	while (!s->is_broken && done < head_len + tail_len) {
		size_t tail_done = done > head_len ? done - head_len : 0;
		/* sendmsg does not write to what iov_base points to; the cast only drops const. */
		struct iovec parts[2] = {
			{.iov_base =
				 (void *)(uintptr_t)(head + (done < head_len ? done : head_len)),
			 .iov_len = done < head_len ? head_len - done : 0},
			{.iov_base = (void *)(uintptr_t)(tail ? tail + tail_done : head),
			 .iov_len = tail_len - tail_done},
		};
		struct msghdr msg = {.msg_iov = parts, .msg_iovlen = 2};
		ssize_t n = sendmsg(s->o->fd, &msg, MSG_NOSIGNAL);

		if (n >= 0)
			done += (size_t)n;
		else if (errno != EINTR)
			s->is_broken = true;
	}
}

/* Small frames go through the ring, the others and those that find it full through the socket. */
static void slot_send(struct slot *s, struct str *head, const char *tail, size_t tail_len)
{
	frame_set_number(head->data, s->number++);
	if (!ring_put(&s->o->share->ring, head->data, head->len, tail, tail_len)) {
		s->quiet = 0; /* the master looks into the ring before it takes this */
		slot_write(s, head->data, head->len, tail, tail_len);
	} else if (++s->quiet >= RING_QUIET_MAX) {
		slot_bell(s);
	}
}

static void send_state(void *ctx, const char *state, const char *meta, size_t len)
{
	struct slot *s = ctx;
	auto_str out = {0};

	str_init(&out, FRAME_HEAD_MAX);
	if (len > s->o->pool->max_payload_bytes ||
	    frame_put_state(&out, s->serial, state, len) != 0)
		log_warning("state %.100s not sent: its meta has %zu bytes", state, len);
	else
		slot_send(s, &out, meta, len);
	slot_bell(s);
}

/* Waits until less than a window is on its way; one larger than that goes alone. False when the
 * soft limit has passed. */
static bool wait_for_window(struct slot *s, uint32_t weight)
{
	struct share_place *place = s->place;

	for (;;) {
		uint32_t done = atomic_load(&place->sent_bytes);
		uint32_t left = s->sent_bytes - done;

		if (atomic_load(&place->expired))
			return false;
		if (left == 0 || left + weight <= SEND_WINDOW_BYTES)
			return true;
		/* Woken by the soft limit too, which may come just before the wait. */
		syscall(SYS_futex, &place->sent_bytes, FUTEX_WAIT, done,
			&(struct timespec){.tv_nsec = 100000000}, NULL, 0);
	}
}

static enum job_send_result send_task(void *ctx, enum job_send how, const char *signature,
				      size_t len)
{
	struct slot *s = ctx;
	uint32_t weight = share_send_weight(len);
	auto_str out = STR_INIT(FRAME_HEAD_MAX);

	if (len > s->o->pool->max_payload_bytes)
		return JOB_SEND_TOO_LARGE;
	if (!wait_for_window(s, weight))
		return JOB_SEND_EXPIRED;
	frame_put_send(&out, s->serial, how, len);
	s->sent_bytes += weight;
	slot_send(s, &out, signature, len);
	slot_bell(s);
	return JOB_SENT;
}

/* Resident memory of this process right now, in KiB. */
static uint64_t slot_rss_kib(const struct slot *s)
{
	char text[128];
	char *second;
	ssize_t n = s->statm_fd < 0 ? -1 : pread(s->statm_fd, text, sizeof(text) - 1, 0);

	if (n <= 0)
		return 0;
	text[n] = '\0';
	second = strchr(text, ' ');
	if (!second)
		return 0;
	return strtoull(second, NULL, 10) * (uint64_t)sysconf(_SC_PAGESIZE) / 1024;
}

static void cut(char *text)
{
	if (text && strlen(text) > CUT_TEXT_BYTES)
		text[CUT_TEXT_BYTES] = '\0';
}

/* An outcome must fit into a frame: a larger result is a failure, a longer text is cut. */
static void slot_bound(const struct slot *s, const struct task_entry *task, struct outcome *o)
{
	size_t max = s->o->pool->max_payload_bytes;
	const char *texts[] = {o->exc_args, o->exc_text, o->exc_repr, o->traceback};
	size_t total = 0;

	if (o->result_len > max) {
		double runtime_s = o->runtime_s;
		auto_free char *text = mem_printf("the result has %zu bytes, "
						  "worker_max_message_bytes allows %zu",
						  o->result_len, max);

		outcome_clear(o);
		outcome_init(o, OUTCOME_FAILURE);
		o->runtime_s = runtime_s;
		outcome_set_exception(o, "builtins", "ValueError", text);
		o->traceback = mem_printf("Traceback (most recent call last):\n  Task %s, in "
					  "smallage\nValueError: %s\n",
					  task->name, text);
	}
	for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++)
		total += texts[i] ? strlen(texts[i]) : 0;
	if (total > HEAD_TEXT_BYTES && o->exc_type) {
		auto_free char *module = mem_strdup(o->exc_module);
		auto_free char *type = mem_strdup(o->exc_type);
		auto_free char *text = mem_strdup(o->exc_text);

		cut(text);
		cut(o->traceback);
		outcome_set_exception(o, module, type, text);
	}
}

static void slot_answer(struct slot *s, const struct task_entry *task, struct outcome *o)
{
	auto_str head = {0};

	slot_bound(s, task, o);
	str_init(&head, FRAME_HEAD_MAX + FRAME_PREFIX_BYTES);
	if (frame_put_outcome(&head, s->serial, slot_rss_kib(s), o) == 0)
		slot_send(s, &head, o->result, o->result_len);
	else
		s->is_broken = true;
	if (o->runtime_s * 1e6 >= QUIET_US)
		slot_bell(s);
}

/* False when the master took the job back meanwhile. */
static bool slot_claim(struct share_place *place)
{
	uint32_t expected = SHARE_QUEUED;

	atomic_store(&place->started_us, clock_mono_us());
	if (atomic_compare_exchange_strong(&place->state, &expected, SHARE_STARTED))
		return true;
	atomic_store(&place->state, SHARE_EMPTY);
	return false;
}

/* Gives back what a large job took, so that one of them does not fatten the slot for ever. */
static void slot_tidy(struct slot *s, size_t job_bytes)
{
	if (s->taken == s->in.len) {
		str_shrink(&s->in, KEEP_BYTES);
		s->taken = 0;
	}
	if (job_bytes > TRIM_BYTES)
		malloc_trim(0);
}

static int slot_job(struct slot *s, const struct frame *f)
{
	const struct pool_options *pool = s->o->pool;
	struct job_host host = {.update_state = send_state,
				.send = send_task,
				.hostname = pool->node_name,
				.registry = pool->registry,
				.setting = pool->setting,
				.template_dirs = pool->template_dirs,
				.ctx = s};
	const struct task_entry *task;
	struct frame_run run;
	struct outcome outcome;
	size_t result_len;

	if (frame_get_run(&run, f, NULL) != 0)
		return -1;
	task = registry_at(pool->registry, run.task);
	if (!task)
		return -1;
	s->place = &s->o->share->places[run.place];
	if (!slot_claim(s->place))
		return 0;
	s->serial = run.serial;
	s->sent_bytes = 0;
	job_run(&(struct job_run_args){.task = task,
				       .id = run.id,
				       .retries = run.retries,
				       .max_retries = run.max_retries,
				       .is_redelivered = run.is_redelivered,
				       .args = run.args,
				       .kwargs = run.kwargs,
				       .custom_headers = run.custom_headers,
				       .callbacks = run.callbacks,
				       .errbacks = run.errbacks,
				       .chain = run.chain,
				       .chord = run.chord,
				       .request = run.request,
				       .expired = &s->place->expired},
		&host, &outcome);
	result_len = outcome.result_len;
	slot_answer(s, task, &outcome);
	outcome_clear(&outcome);
	slot_tidy(s, result_len + f->tail_len);
	return s->is_broken ? -1 : 0;
}

/* One frame. -1 at the end of the stream. */
static int slot_turn(struct slot *s)
{
	struct frame f;

	if (slot_fill(s, FRAME_PREFIX_BYTES) != 0 ||
	    frame_read_prefix(&f, s->in.data + s->taken,
			      FRAME_TAIL_MAX(s->o->pool->max_payload_bytes), NULL) != 0)
		return -1;
	if (slot_fill(s, FRAME_PREFIX_BYTES + f.head_len + f.tail_len) != 0)
		return -1;
	f.head = s->in.data + s->taken + FRAME_PREFIX_BYTES;
	f.tail = f.head + f.head_len;
	s->taken += FRAME_PREFIX_BYTES + f.head_len + f.tail_len;
	return slot_job(s, &f);
}

static const char *no_setting(const char *name)
{
	(void)name;
	return "";
}

static void start_plugins(const struct pool_options *pool)
{
	for (unsigned i = 0; i < registry_plugin_count(pool->registry); i++) {
		const struct sm_plugin *plugin = registry_plugin_at(pool->registry, i);

		if (plugin->start)
			plugin->start(pool->setting ? pool->setting : no_setting);
	}
}

static void stop_plugins(const struct registry *registry)
{
	for (unsigned i = 0; i < registry_plugin_count(registry); i++)
		if (registry_plugin_at(registry, i)->stop)
			registry_plugin_at(registry, i)->stop();
}

void slot_run(const struct slot_options *options)
{
	struct slot s = {.o = options, .statm_fd = -1};

	str_init(&s.in, FRAME_HEAD_MAX + FRAME_TAIL_MAX(options->pool->max_payload_bytes) +
				2 * READ_BYTES);
	if (options->pool->max_memory_per_child_kib > 0)
		s.statm_fd = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
	atomic_store(&options->share->pid, getpid());
	atomic_store(&options->share->tid, gettid());
	start_plugins(options->pool);
	while (slot_turn(&s) == 0)
		continue;
	stop_plugins(options->pool->registry);
	if (s.statm_fd >= 0)
		close(s.statm_fd);
	str_clear(&s.in);
	close(options->fd);
}

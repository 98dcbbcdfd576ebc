#include "worker/pool/solo.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"

#define STACK_BYTES ((size_t)1 << 20)
/* The pool's usual SIGUSR1 belongs to the master in this process. This one does nothing when it
 * comes too late. */
#define INTERRUPT_SIGNAL SIGURG

struct solo {
	struct slot_options slot;
	pthread_t id;
};

static void on_interrupt(int number)
{
	(void)number;
}

static void *solo_main(void *arg)
{
	struct solo *s = arg;
	sigset_t mask;

	sigfillset(&mask);
	sigdelset(&mask, INTERRUPT_SIGNAL);
	pthread_sigmask(SIG_SETMASK, &mask, NULL);
	log_set_thread("SoloWorker-1");
	slot_run(&s->slot);
	log_set_thread(NULL);
	return NULL;
}

struct solo *solo_start(const struct slot_options *options, struct err *err)
{
	struct sigaction interrupt = {.sa_handler = on_interrupt};
	struct solo *s = mem_calloc(1, sizeof(*s));
	pthread_attr_t attr;
	sigset_t all, before;

	s->slot = *options;
	sigaction(INTERRUPT_SIGNAL, &interrupt, NULL);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	/* Not one signal of the master may land in the new thread. */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	errno = pthread_create(&s->id, &attr, solo_main, s);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	if (errno == 0)
		return s;
	err_errno(err, "thread of the solo pool");
	free(s);
	return NULL;
}

void solo_interrupt(const struct solo *s)
{
	pthread_kill(s->id, INTERRUPT_SIGNAL);
}

void solo_join(struct solo *s)
{
	if (!s)
		return;
	pthread_join(s->id, NULL);
	free(s);
}

void solo_abandon(struct solo *s)
{
	if (s)
		pthread_detach(s->id);
}

/* One process, one thread per slot: a tenth of the memory for tasks that wait, but nothing can be
 * killed without killing all. */
#include <malloc.h>
#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/slot.h"
#include "worker/pool/spawner.h"
#include "worker/pool/title.h"

/* TLS handshakes of libcurl and OpenSSL stay below a quarter of this. */
#define STACK_BYTES ((size_t)512 << 10)
/* Each malloc arena keeps freed memory for itself; with one per thread that adds up. */
#define ARENAS 4

struct thread {
	struct slot_options slot;
	unsigned number;
	pthread_t id;
	bool is_running;
};

static void *thread_main(void *arg)
{
	struct thread *t = arg;
	auto_free char *name = mem_printf("PoolThread-%u", t->number);

	log_set_thread(name);
	slot_run(&t->slot);
	log_set_thread(NULL);
	return NULL;
}

int threads_main(const struct executor *x)
{
	struct thread *threads = mem_calloc(x->slot_count, sizeof(*threads));
	pthread_attr_t attr;

	title_set("smallage: PoolThreads");
	log_set_process("PoolThreads");
	mallopt(M_ARENA_MAX, ARENAS);
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_BYTES);
	for (unsigned i = 0; i < x->slot_count; i++) {
		struct thread *t = &threads[i];

		t->slot = (struct slot_options){
			.pool = x->pool, .share = x->share + i, .fd = x->fds[i]};
		t->number = x->first_slot + i + 1;
		t->is_running = pthread_create(&t->id, &attr, thread_main, t) == 0;
		/* The slot then stays without an answer; better to end and be started again. */
		if (!t->is_running) {
			log_error("cannot start pool thread %u of %u", i + 1, x->slot_count);
			_exit(EXIT_FAILURE);
		}
	}
	pthread_attr_destroy(&attr);
	for (unsigned i = 0; i < x->slot_count; i++)
		pthread_join(threads[i].id, NULL);
	free(threads);
	return EXIT_SUCCESS;
}

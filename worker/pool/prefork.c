/* One process per slot. */
#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/slot.h"
#include "worker/pool/spawner.h"
#include "worker/pool/title.h"

int prefork_main(const struct executor *x)
{
	auto_free char *name = mem_printf("PoolWorker-%u", x->first_slot + 1);
	auto_free char *title = mem_printf("smallage: %s", name);
	struct slot_options slot = {.pool = x->pool, .share = x->share, .fd = x->fds[0]};

	title_set(title);
	log_set_process(name);
	slot_run(&slot);
	return (int)atomic_load(&x->share->exit_code);
}

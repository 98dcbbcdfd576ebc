#include "base/clock.h"
#include "worker/consume/consumer.h"

/* What was revoked does not run. Mirrors celery/worker/request.py, maybe_expire() and revoked(). */

bool revoke_check(struct consumer *c, struct request *r)
{
	const struct task_message *m = &r->message;
	auto_str why = STR_INIT(4096);
	auto_str by = STR_INIT(8192);

	if (m->expires_us != TIME_UNSET && clock_wall_us() > m->expires_us) {
		revoked_add(&c->revoked, m->id);
		finish_revoked(&c->finish, r, FINISH_EXPIRED, NULL);
		return true;
	}
	if (revoked_has(&c->revoked, m->id)) {
		finish_revoked(&c->finish, r, FINISH_REVOKED, NULL);
		return true;
	}
	if (!revoked_by_stamps(&c->revoked, m->stamped_headers, m->stamps, &why))
		return false;
	str_addf(&by, " (revoked by header: %s)", why.data ? why.data : "");
	finish_revoked(&c->finish, r, FINISH_REVOKED, by.data);
	return true;
}

/* Frames as they come from a slot whose task code ran wild: the readers refuse them or give back
 * something that can be used, and what is used goes out again as it came in. */
#include <string.h>

#include "base/mem.h"
#include "base/str.h"
#include "tests/fuzz/fuzz.h"
#include "worker/pool/frame.h"
#include "worker/task/job_request.h"

static void use_outcome(const struct frame *f)
{
	struct outcome outcome;
	uint64_t serial, rss_kib;
	auto_str out = {0};
	struct frame again;

	if (frame_get_outcome(&serial, &rss_kib, &outcome, f, NULL) != 0)
		return;
	fuzz_check(outcome.kind <= OUTCOME_REPLACED);
	fuzz_check(outcome.kind != OUTCOME_FAILURE || (outcome.exc_type && outcome.exc_args));
	str_init(&out, STR_MAX_DEFAULT);
	outcome.result_len = f->tail_len;
	fuzz_check(frame_put_outcome(&out, serial, rss_kib, &outcome) == 0);
	outcome.result_len = 0;
	fuzz_check(frame_read_prefix(&again, out.data, f->tail_len, NULL) == 0);
	fuzz_check(again.type == FRAME_OUTCOME && again.tail_len == f->tail_len);
	fuzz_check(again.head_len <= f->head_len);
	outcome_clear(&outcome);
}

static void use_run(const struct frame *f)
{
	struct frame_run run;

	if (frame_get_run(&run, f, NULL) != 0)
		return;
	fuzz_check(run.place < FRAME_PLACES);
	fuzz_check(strlen(run.id) < f->head_len);
	fuzz_check(frame_run_tail_len(&run) == f->tail_len);
	struct span parts[FRAME_RUN_PARTS];
	struct task_message request;

	frame_run_parts(&run, parts);
	for (unsigned i = 0; i < FRAME_RUN_PARTS; i++)
		fuzz_check(!parts[i].data ||
			   (parts[i].data >= f->tail &&
			    parts[i].data + parts[i].len <= f->tail + f->tail_len));
	if (run.request.data && job_request_get(&request, run.request) == 0)
		json_decref(job_request_json(&request, "w@h"));
}

static void use_send(const struct frame *f)
{
	enum job_send how;
	uint64_t serial;

	if (frame_get_send(&serial, &how, f, NULL) == 0)
		fuzz_check(how <= JOB_CLEAN_BACKEND && f->tail_len > 0);
}

static void use_state(const struct frame *f)
{
	const char *name;
	uint64_t serial;

	if (frame_get_state(&serial, &name, f, NULL) == 0)
		fuzz_check(strlen(name) < f->head_len);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct frame f;
	auto_free char *head = NULL, *tail = NULL;

	if (size < FRAME_PREFIX_BYTES ||
	    frame_read_prefix(&f, (const char *)data, size, NULL) != 0 ||
	    f.head_len > size - FRAME_PREFIX_BYTES ||
	    f.tail_len > size - FRAME_PREFIX_BYTES - f.head_len)
		return 0;
	/* Exact copies, so that the sanitizer sees a byte too far. */
	head = malloc(f.head_len ? f.head_len : 1);
	tail = malloc(f.tail_len ? f.tail_len : 1);
	memcpy(head, data + FRAME_PREFIX_BYTES, f.head_len);
	memcpy(tail, data + FRAME_PREFIX_BYTES + f.head_len, f.tail_len);
	f.head = head;
	f.tail = tail;
	use_outcome(&f);
	use_run(&f);
	use_state(&f);
	use_send(&f);
	return 0;
}

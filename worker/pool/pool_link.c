/* Bytes between the master and one slot: non-blocking, a bounded amount per turn of the loop. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mem.h"
#include "worker/pool/pool_state.h"

/* 64 MiB take a good hundred turns this way, each well below a millisecond. */
#define TURN_BYTES ((size_t)512 << 10)
#define KEEP_BYTES ((size_t)64 << 10)

static void on_closed(uv_handle_t *handle)
{
	struct pool_link *link = handle->data;

	str_clear(&link->in);
	free(link->tail);
	free(link);
}

static void link_watch(struct pool_link *link, int events);

void link_close(struct pool_slot *slot)
{
	struct pool_link *link = slot->link;

	slot->link = NULL;
	str_shrink(&slot->out, 0);
	slot->out_done = slot->big_done = 0;
	slot->big = NULL;
	slot->is_blocked = false;
	list_remove(&slot->dirty_node);
	if (!link)
		return;
	uv_close((uv_handle_t *)&link->poll, on_closed);
	close(link->fd);
	link->fd = -1;
}

static void broken(struct pool_slot *slot, const struct err *err)
{
	slot->unit->is_broken = true;
	pool_notice(slot->pool, LOG_ERROR, "pool process %d sent nonsense: %s", slot->unit->pid,
		    err->text);
	unit_doom(slot->unit, DOOM_KILLED, SIGKILL);
}

/* Hands a whole frame to the slot. The tail's memory is ours; the slot may take it. */
static int deliver(struct pool_link *link, const struct frame *f, char *tail, struct err *err)
{
	int ret;

	link->next_number++;
	ret = slot_frame(link->slot, f, &tail, err);
	free(tail);
	return ret;
}

/* Takes one frame out of the ring, which holds whole ones only. Returns 0 when there is none whose
 * turn it is: the next one comes by the socket. */
static int take_ringed(struct pool_link *link, struct err *err)
{
	struct ring *ring = &link->slot->share->ring;
	char *copy = link->slot->pool->ring_copy;
	struct frame f;
	size_t head_end;

	if (!ring_peek(ring, link->ring_at, copy, FRAME_PREFIX_BYTES))
		return 0;
	if (frame_read_prefix(&f, copy, RING_BYTES, err) != 0)
		return -1;
	if (f.number != link->next_number)
		return 0;
	head_end = FRAME_PREFIX_BYTES + f.head_len;
	if (!ring_peek(ring, link->ring_at, copy, head_end + f.tail_len))
		return err_set(err, ERR_PROTOCOL, "frame in shared memory is cut short");
	link->ring_at += (uint32_t)(head_end + f.tail_len);
	ring_release(ring, link->ring_at);
	f.head = copy + FRAME_PREFIX_BYTES;
	char *tail = mem_dup(copy + head_end, f.tail_len);

	f.tail = tail;
	return deliver(link, &f, tail, err) == 0 ? 1 : -1;
}

static int take_ring(struct pool_link *link, struct err *err)
{
	int got;

	ring_visit(&link->slot->share->ring);
	do
		got = take_ringed(link, err);
	while (got > 0);
	return got;
}

/* A frame of the socket: what was said before it may still be in the ring. */
static int deliver_in_turn(struct pool_link *link, const struct frame *f, char *tail,
			   struct err *err)
{
	if (take_ring(link, err) == 0 && f->number == link->next_number)
		return deliver(link, f, tail, err);
	free(tail);
	return err->code ? -1 : err_set(err, ERR_PROTOCOL, "frame %u out of order", f->number);
}

/* Takes the whole frames off the front. *ret_taken counts their bytes. With the head of a frame
 * whose tail is not all there, the tail's memory is set up and filled and everything is taken. */
static int parse(struct pool_link *link, const char *data, size_t len, size_t *ret_taken,
		 struct err *err)
{
	size_t max = FRAME_TAIL_MAX(link->slot->pool->options.max_payload_bytes);
	size_t taken = 0;

	for (;;) {
		while (taken < len && data[taken] == FRAME_BELL)
			taken++;
		if (len - taken < FRAME_PREFIX_BYTES)
			break;
		const char *at = data + taken;
		size_t head_end, have;
		struct frame f;
		char *tail;

		if (frame_read_prefix(&f, at, max, err) != 0)
			return -1;
		head_end = FRAME_PREFIX_BYTES + f.head_len;
		if (len - taken < head_end)
			break;
		have = len - taken - head_end;
		have = have < f.tail_len ? have : f.tail_len;
		tail = mem_alloc(f.tail_len + 1);
		memcpy(tail, at + head_end, have);
		tail[f.tail_len] = '\0';
		f.head = at + FRAME_PREFIX_BYTES;
		f.tail = tail;
		taken += head_end + have;
		if (have < f.tail_len) {
			link->frame = f;
			link->tail = tail;
			link->tail_done = have;
			*ret_taken = taken - head_end - have;
			return 0;
		}
		if (deliver_in_turn(link, &f, tail, err) != 0)
			return -1;
	}
	*ret_taken = taken;
	return 0;
}

/* Keeps what parse left: an incomplete head, or prefix and head of a frame whose tail is read. */
static void keep_rest(struct pool_link *link, const char *data, size_t len, size_t taken)
{
	size_t rest = link->tail ? FRAME_PREFIX_BYTES + link->frame.head_len : len - taken;

	if (data == link->in.data) {
		str_consume(&link->in, taken);
		link->in.len = rest;
	} else if (rest > 0) {
		str_add(&link->in, data + taken, rest);
	}
	if (rest == 0)
		str_shrink(&link->in, 0);
	if (link->tail)
		link->frame.head = link->in.data + FRAME_PREFIX_BYTES;
}

static int take_bytes(struct pool_link *link, const char *data, size_t len, struct err *err)
{
	size_t taken = 0;

	if (link->in.len > 0) {
		if (str_add(&link->in, data, len) != 0)
			return err_set(err, ERR_LIMIT, "frame head is too long");
		data = link->in.data;
		len = link->in.len;
	}
	if (parse(link, data, len, &taken, err) != 0)
		return -1;
	keep_rest(link, data, len, taken);
	return 0;
}

static int take_tail(struct pool_link *link, size_t len, struct err *err)
{
	char *tail = link->tail;
	int ret;

	link->tail_done += len;
	if (link->tail_done < link->frame.tail_len)
		return 0;
	link->tail = NULL;
	ret = deliver_in_turn(link, &link->frame, tail, err);
	str_shrink(&link->in, 0);
	return ret;
}

/* Reads at most `budget` bytes. Returns false when there is no more to read now. */
static bool link_read(struct pool_link *link, size_t budget)
{
	struct pool *p = link->slot->pool;
	struct err err = {0};
	size_t done = 0;

	while (done < budget && !link->is_eof) {
		char *to = link->tail ? link->tail + link->tail_done : p->scratch;
		size_t want =
			link->tail ? link->frame.tail_len - link->tail_done : sizeof(p->scratch);
		ssize_t n = recv(link->fd, to, want < TURN_BYTES ? want : TURN_BYTES, MSG_DONTWAIT);
		int ret;

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && errno == EAGAIN)
			return false;
		if (n <= 0) {
			link->is_eof = true;
			return false;
		}
		done += (size_t)n;
		ret = link->tail ? take_tail(link, (size_t)n, &err)
				 : take_bytes(link, to, (size_t)n, &err);
		if (ret != 0) {
			link->is_eof = true;
			broken(link->slot, &err);
		} else if (!link->tail && (size_t)n < want) {
			return false;
		}
	}
	return !link->is_eof;
}

void link_visit(struct pool_slot *slot)
{
	struct pool_link *link = slot->link;
	struct err err = {0};
	int ret;

	if (!link || link->is_visiting || slot->unit->is_broken)
		return;
	link->is_visiting = true;
	ret = take_ring(link, &err);
	link->is_visiting = false;
	if (ret == 0)
		return;
	link->is_eof = true;
	broken(slot, &err);
}

void link_drain(struct pool_slot *slot)
{
	if (!slot->link)
		return;
	(void)link_read(slot->link, SIZE_MAX);
	link_visit(slot);
}

#define PIECES_MAX (1 + FRAME_RUN_PARTS)

/* What is still to be written. */
static int pieces(const struct pool_slot *slot, struct iovec ret[PIECES_MAX])
{
	const struct pool_job *big = slot->big;
	size_t skip = slot->big_done;
	int count = 0;

	if (slot->out_done < slot->out.len)
		ret[count++] = (struct iovec){.iov_base = slot->out.data + slot->out_done,
					      .iov_len = slot->out.len - slot->out_done};
	if (!big)
		return count;
	struct frame_run run = {0};
	struct span spans[FRAME_RUN_PARTS];

	pool_job_parts(big, &run);
	frame_run_parts(&run, spans);
	for (int i = 0; i < FRAME_RUN_PARTS; i++) {
		size_t gone = skip < spans[i].len ? skip : spans[i].len;

		skip -= gone;
		if (gone < spans[i].len)
			ret[count++] = (struct iovec){
				/* only read by sendmsg */
				.iov_base = (void *)(uintptr_t)(spans[i].data + gone),
				.iov_len = spans[i].len - gone};
	}
	return count;
}

static void wrote(struct pool_slot *slot, size_t n)
{
	size_t of_out = slot->out.len - slot->out_done;

	if (of_out > n)
		of_out = n;
	slot->out_done += of_out;
	slot->big_done += n - of_out;
}

void link_flush(struct pool_slot *slot)
{
	struct pool_link *link = slot->link;
	size_t total = 0;
	struct iovec parts[PIECES_MAX];
	struct msghdr msg = {.msg_iov = parts};

	list_remove(&slot->dirty_node);
	if (!link)
		return;
	while ((msg.msg_iovlen = (size_t)pieces(slot, parts)) > 0) {
		ssize_t n = total < TURN_BYTES
				    ? sendmsg(link->fd, &msg, MSG_DONTWAIT | MSG_NOSIGNAL)
				    : -1;

		if (n >= 0) {
			wrote(slot, (size_t)n);
			total += (size_t)n;
			continue;
		}
		if (total < TURN_BYTES && errno == EINTR)
			continue;
		/* A slot that is gone is dealt with when its end is reported. */
		slot->is_blocked = true;
		if (total >= TURN_BYTES || errno == EAGAIN)
			link_watch(link, UV_READABLE | UV_WRITABLE);
		slot_refresh(slot);
		return;
	}
	str_shrink(&slot->out, KEEP_BYTES);
	slot->out_done = slot->big_done = 0;
	slot->big = NULL;
	slot->is_blocked = false;
	link_watch(link, UV_READABLE);
	slot_written(slot);
}

/* A process reports its end through the spawner; a thread of ours only by closing. A single thread
 * that ends unasked would leave its slot dead, so all of its process is replaced. */
static void ended(struct pool_link *link)
{
	struct pool_slot *slot = link->slot;
	struct pool *p = slot->pool;

	link_watch(link, 0);
	slot_refresh(slot);
	if (p->solo) {
		unit_exited(slot->unit, 0);
	} else if (p->options.kind == POOL_THREADS && !slot->is_closed &&
		   slot->unit->doom == DOOM_NONE) {
		slot->unit->is_broken = true;
		unit_doom(slot->unit, DOOM_KILLED, SIGKILL);
	}
}

static void on_event(uv_poll_t *poll, int status, int events)
{
	struct pool_link *link = poll->data;
	struct pool_slot *slot = link->slot;
	struct pool *p = slot->pool;

	if (status < 0 || (events & UV_READABLE))
		(void)link_read(link, TURN_BYTES);
	if (slot->link != link)
		return;
	link_visit(slot);
	if (link->is_eof)
		ended(link);
	else if (events & UV_WRITABLE)
		link_flush(slot);
	pool_dispatch(p);
	pool_arm(p);
}

static void link_watch(struct pool_link *link, int events)
{
	if (link->is_eof)
		events = 0;
	if (events == link->events)
		return;
	link->events = events;
	if (events)
		uv_poll_start(&link->poll, events, on_event);
	else
		uv_poll_stop(&link->poll);
}

void link_open(struct pool_slot *slot, int fd)
{
	struct pool_link *link = mem_calloc(1, sizeof(*link));

	link->slot = slot;
	link->fd = fd;
	str_init(&link->in, FRAME_PREFIX_BYTES + FRAME_HEAD_MAX + sizeof(slot->pool->scratch));
	uv_poll_init(slot->pool->options.loop, &link->poll, fd);
	link->poll.data = link;
	slot->link = link;
	link_watch(link, UV_READABLE);
}

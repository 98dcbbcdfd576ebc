#include "transport/filesystem_outbox.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/file.h"
#include "base/list.h"
#include "base/mem.h"
#include "base/str.h"
#include "base/text.h"
#include "transport/envelope.h"
#include "transport/filesystem_binding.h"
#include "transport/filesystem_spool.h"

#define MAX_QUEUE_NAME 180 /* with number, UUID and suffix within 255 bytes */

struct filesystem_outbox {
	char *data_folder, *control_folder;
	const struct map *exchange_types;
	size_t max_bytes, bytes, count;
	struct list_node letters; /* struct letter */
	unsigned serial;	  /* of the next file */
};

struct letter {
	struct list_node node;
	struct str envelope;
	char *exchange, *routing_key;
	broker_published_fn *done;
	void *ctx;
};

struct filesystem_outbox *filesystem_outbox_new(const char *data_folder, const char *control_folder,
						const struct map *exchange_types, size_t max_bytes)
{
	struct filesystem_outbox *box = mem_calloc(1, sizeof(*box));

	box->data_folder = mem_strdup(data_folder);
	box->control_folder = mem_strdup(control_folder);
	box->exchange_types = exchange_types;
	box->max_bytes = max_bytes;
	list_init(&box->letters);
	return box;
}

static void letter_free(struct filesystem_outbox *box, struct letter *letter)
{
	list_remove(&letter->node);
	box->count--;
	box->bytes -= letter->envelope.len;
	str_clear(&letter->envelope);
	free(letter->exchange);
	free(letter->routing_key);
	free(letter);
}

void filesystem_outbox_free(struct filesystem_outbox *box)
{
	if (box == NULL)
		return;
	while (!list_is_empty(&box->letters))
		letter_free(box, list_entry(box->letters.next, struct letter, node));
	free(box->data_folder);
	free(box->control_folder);
	free(box);
}

int filesystem_outbox_add(struct filesystem_outbox *box, const struct publication *p,
			  broker_published_fn *done, void *ctx, struct err *err)
{
	struct letter *letter;
	char tag[37];
	struct str envelope;

	uuid4(tag);
	str_init(&envelope, STR_MAX_DEFAULT);
	if (envelope_encode(&envelope, p, tag, err) < 0) {
		str_clear(&envelope);
		return -1;
	}
	/* One message may always wait, however large. */
	if (box->bytes > 0 && box->bytes + envelope.len > box->max_bytes) {
		str_clear(&envelope);
		return err_set(err, ERR_LIMIT, "more than %zu bytes of messages wait to be written",
			       box->max_bytes);
	}
	letter = mem_calloc(1, sizeof(*letter));
	letter->envelope = envelope;
	letter->exchange = mem_strdup(p->exchange ? p->exchange : "");
	letter->routing_key = mem_strdup(p->routing_key ? p->routing_key : "");
	letter->done = done;
	letter->ctx = ctx;
	list_append(&box->letters, &letter->node);
	box->count++;
	box->bytes += letter->envelope.len;
	return 0;
}

/* Readers sort by name, so of one millisecond's messages the first must have the least. */
static void name_in_order(struct filesystem_outbox *box, char id[37])
{
	char serial[9];

	uuid4(id);
	snprintf(serial, sizeof(serial), "%08x", box->serial++);
	memcpy(id, serial, 8);
}

/* Names as kombu makes them: milliseconds of the monotonic clock, UUID, queue. */
static int write_message(struct filesystem_outbox *box, const struct letter *letter,
			 const char *queue, struct err *err)
{
	auto_free char *temp = NULL, *path = NULL;
	char id[37];

	if (queue[0] == '\0' || strchr(queue, '/') != NULL || strlen(queue) > MAX_QUEUE_NAME)
		return err_set(err, ERR_INVALID, "queue name '%.200s' cannot be a file name",
			       queue);
	name_in_order(box, id);
	temp = mem_printf("%s/" FILESYSTEM_TEMP_PREFIX "%s", box->data_folder, id);
	path = mem_printf("%s/%lld_%s.%s.msg", box->data_folder,
			  (long long)((clock_mono_us() + 500) / 1000), id, queue);
	if (file_write(temp, letter->envelope.data, letter->envelope.len, err) < 0)
		return -1;
	if (rename(temp, path) == 0)
		return 0;
	err_errno(err, "rename to '%.300s'", path);
	unlink(temp);
	return -1;
}

static int write_routed(struct filesystem_outbox *box, const struct letter *letter, struct err *err)
{
	const char *type = map_get(box->exchange_types, letter->exchange);
	json_auto_t *queues = filesystem_route(box->control_folder, letter->exchange, type,
					       letter->routing_key, err);
	size_t i;
	json_t *queue;

	if (queues == NULL)
		return -1;
	json_array_foreach (queues, i, queue) {
		if (write_message(box, letter, json_string_value(queue), err) < 0)
			return -1;
	}
	return 0;
}

int filesystem_outbox_flush(struct filesystem_outbox *box, struct err *err)
{
	while (!list_is_empty(&box->letters)) {
		struct letter *letter = list_entry(box->letters.next, struct letter, node);
		struct err why = {0};
		int rc = letter->exchange[0] == '\0'
				 ? write_message(box, letter, letter->routing_key, &why)
				 : write_routed(box, letter, &why);

		if (rc < 0 && why.code == ERR_IO)
			return err_set(err, ERR_IO, "%s", why.text);
		if (letter->done)
			letter->done(letter->ctx, rc < 0 ? &why : NULL);
		letter_free(box, letter);
	}
	return 0;
}

void filesystem_outbox_fail(struct filesystem_outbox *box, const struct err *err)
{
	while (!list_is_empty(&box->letters)) {
		struct letter *letter = list_entry(box->letters.next, struct letter, node);

		if (letter->done)
			letter->done(letter->ctx, err);
		letter_free(box, letter);
	}
}

size_t filesystem_outbox_count(const struct filesystem_outbox *box)
{
	return box->count;
}

/* How records are stored. Mirrors celery/backends/base.py, compress_payload() and
 * decompress_payload(). contract: tasks.md 5. */
#include <string.h>

#include "protocol/compression.h"
#include "protocol/pyjson.h"
#include "protocol/result.h"

/* As long as the mark itself is; nothing that a serializer writes begins with NUL. */
static const char mark[] = "\0celery-compressed";
#define MARK_LEN   sizeof(mark) /* with the NUL behind it */
#define UNPACK_MAX ((size_t)256 << 20)

int result_pack(struct str *record, const struct content_form *form,
		struct content_label *ret_label, struct err *err)
{
	struct content_label label;
	struct str marked = STR_INIT(STR_MAX_DEFAULT);

	if (content_encode(record, form, &label, err) < 0)
		return -1;
	if (ret_label)
		*ret_label = label;
	if (!label.compression)
		return 0;
	str_add(&marked, mark, MARK_LEN);
	str_add(&marked, label.compression, strlen(label.compression) + 1);
	str_add(&marked, record->data, record->len);
	str_clear(record);
	*record = marked;
	return marked.is_full ? err_set(err, ERR_LIMIT, "the record is too large") : 0;
}

/* A record does not say what it is written in, but it is a mapping, or a list (a part of a chord),
 * and those begin differently. */
static bool is_msgpack(unsigned char first)
{
	return (first >= 0x80 && first <= 0x9f) || (first >= 0xdc && first <= 0xdf);
}

static int load(struct str *out, struct span record, const struct content_options *options,
		struct err *err)
{
	unsigned char first = record.len ? (unsigned char)*record.data : 0;
	struct err why = {0};
	size_t count;
	enum pyjson_kind kind;

	if (is_msgpack(first))
		return content_load("msgpack", out, record.data, record.len, options, err);
	if ((first == '{' || first == '[') &&
	    pyjson_scan(record.data, record.len, &kind, NULL, 0, &count, &why) == 0)
		return content_load("json", out, record.data, record.len, options, err);
	if (first >= 0x20 && first != '-' && !memchr(record.data, ':', record.len))
		return content_load("auth", out, record.data, record.len, options, err);
	if (first >= 0x20)
		return content_load("yaml", out, record.data, record.len, options, err);
	return err_set(err, ERR_INVALID, "the record is of no form that is known");
}

int result_unpack(struct str *out, const char *record, size_t len,
		  const struct content_options *options, struct err *err)
{
	auto_str plain = STR_INIT(options && options->max_bytes ? options->max_bytes : UNPACK_MAX);
	const struct compression *compression;
	const char *type, *body;

	if (len < MARK_LEN || memcmp(record, mark, MARK_LEN) != 0)
		return load(out, (struct span){record, len}, options, err);
	type = record + MARK_LEN;
	body = memchr(type, '\0', len - MARK_LEN);
	if (!body)
		return err_set(err, ERR_INVALID, "a compressed record that does not say how");
	compression = compression_find(type, (size_t)(body - type));
	if (!compression)
		return err_set(err, ERR_UNSUPPORTED, "a record with a compression other than %s",
			       compression_names());
	body++;
	if (compression_undo(compression, &plain, body, len - (size_t)(body - record), err) < 0)
		return -1;
	return load(out, (struct span){plain.data, plain.len}, options, err);
}

/* A line of headers as JSON, a line with our node name, then a body: any request decodes or is
 * dropped, is filtered in bounded time, and its reply is read back as it was made. The same bytes
 * as the reply of a node: it is shown, or passed over. */
#include "base/mem.h"
#include "protocol/pidbox.h"
#include "protocol/pidbox_ask.h"
#include "protocol/pyjson.h"
#include "tests/fuzz/fuzz.h"
#include "worker/remote_print.h"

static void set_headers(struct message *m, const char *text, size_t len)
{
	json_t *object = pyjson_load(text, len, NULL);

	if (json_is_object(object))
		message_headers_set(m, object);
	json_decref(object);
}

static void check_reply(const struct pidbox_request *r, const char *node)
{
	auto_str payload = STR_INIT(1 << 20);
	auto_str body = STR_INIT(1 << 22);
	auto_str error = STR_INIT(1 << 16);

	pidbox_exception(&error, "KeyError", r->method);
	fuzz_check(!error.is_full);
	fuzz_check_one_line(error.data);
	str_puts(&payload, "{\"error\": ");
	fuzz_check(pyjson_dump_str(&payload, error.data, error.len) == 0);
	str_addc(&payload, '}');
	fuzz_check(pidbox_reply_body(&body, node, payload.data, payload.len) == 0);
	json_t *reply = pyjson_load(body.data, body.len, NULL);
	json_t *headers = pidbox_reply_headers(r->ticket, r->clock);

	fuzz_check(json_is_object(reply) && json_object_size(reply) == 1);
	fuzz_check(json_object_get(headers, "ticket") == (r->ticket ? r->ticket : json_null()));
	json_decref(reply);
	json_decref(headers);
}

static void check_answer(const struct message *m)
{
	struct pidbox_answer a;
	struct err err = {0};
	auto_str shown = STR_INIT(1 << 20);

	if (pidbox_answer_decode(&a, m, &err) == 0) {
		fuzz_check(a.node && a.payload);
		remote_print(&shown, a.node, a.payload);
		fuzz_check(shown.is_full || shown.data[shown.len - 1] == '\n');
		for (size_t i = 0; i < shown.len; i++)
			fuzz_check((unsigned char)shown.data[i] >= ' ' || shown.data[i] == '\n' ||
				   shown.data[i] == '\t');
	} else {
		fuzz_check_one_line(err.text);
	}
	pidbox_answer_clear(&a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m;
	struct pidbox_request r;
	struct err err = {0};
	size_t len;
	auto_free char *headers = fuzz_line(&data, &size, &len);
	auto_free char *node = fuzz_line(&data, &size, NULL);

	message_init(&m);
	set_headers(&m, headers, len);
	m.content_type = "application/json";
	m.body = mem_dup(data, size);
	m.body_len = size;
	if (pidbox_decode(&r, &m, &err) == 0) {
		fuzz_check(r.method && r.clock >= 0);
		fuzz_check((r.exchange != NULL) == (r.routing_key != NULL));
		fuzz_check((pidbox_is_for(&r, node, &err) < 0) == (err.code != ERR_NONE));
		check_reply(&r, node);
	}
	if (err.code != ERR_NONE)
		fuzz_check_one_line(err.text);
	pidbox_clear(&r);
	check_answer(&m);
	message_clear(&m);
	return 0;
}

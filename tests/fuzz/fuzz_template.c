/* Any bytes as a template: what parses is rendered, plain and escaped. No markup of a value gets
 * through escaping, and a text without braces is itself. */
#include "template/template.h"

#include "tests/fuzz/fuzz.h"

/* One line end at the end of the file goes. */
static size_t kept_len(const char *text, size_t len)
{
	if (len > 0 && text[len - 1] == '\n')
		len -= len > 1 && text[len - 2] == '\r' ? 2 : 1;
	return len;
}

static void check_rendered(const char *text, size_t len, const struct str *out)
{
	fuzz_check(out->len <= TEMPLATE_MAX_OUTPUT);
	if (out->len && !memchr(text, '<', len))
		fuzz_check(!memchr(out->data, '<', out->len));
	if (memchr(text, '{', len))
		return;
	fuzz_check(out->len == kept_len(text, len));
	fuzz_check(out->len == 0 || memcmp(out->data, text, out->len) == 0);
}

static void render(const struct template *t, const json_t *context, bool must_escape,
		   const char *text, size_t len)
{
	struct err err = {0};
	auto_str out;
	int result;

	str_init(&out, TEMPLATE_MAX_OUTPUT);
	result = template_eval(t, context, must_escape, &out, &err);
	fuzz_check((result == 0) == (err.code == ERR_NONE));
	if (result == 0 && (must_escape || !context))
		check_rendered(text, len, &out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *context;
	struct template *t;
	struct err err = {0};
	char *text = malloc(size ? size : 1);

	if (!context)
		context = json_loads("{\"a\": {\"b\": [1, 2.5, \"<&'\\\">\", null, true]}, "
				     "\"user\": {\"name\": \"J\\u00fcrgen\"}}",
				     0, NULL);
	memcpy(text, data, size);
	t = template_parse("fuzz.html", text, size, &err);
	fuzz_check((t != NULL) == (err.code == ERR_NONE));
	if (t) {
		render(t, context, true, text, size);
		render(t, context, false, text, size);
		render(t, NULL, false, text, size);
	}
	template_free(t);
	free(text);
	return 0;
}

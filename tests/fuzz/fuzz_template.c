/* Parses any bytes as a template and renders what parsed, plain and escaped. */
#include <stddef.h>
#include <stdint.h>

#include "template/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static json_t *context;
	struct template *t;
	struct err err = {0};
	auto_str out;

	if (!context)
		context = json_loads("{\"a\": {\"b\": [1, 2.5, \"<&'\\\">\", null, true]}, "
				     "\"user\": {\"name\": \"J\\u00fcrgen\"}}",
				     0, NULL);
	str_init(&out, STR_MAX_DEFAULT);
	t = template_parse("fuzz.html", (const char *)data, size, &err);
	if (t) {
		(void)template_eval(t, context, true, &out, &err);
		(void)template_eval(t, NULL, false, &out, &err);
	}
	template_free(t);
	return 0;
}

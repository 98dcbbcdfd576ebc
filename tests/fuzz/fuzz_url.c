/* Any text as a broker or backend URL: parsed, shown and asked for its query. */
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "transport/url.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	auto_free char *text = mem_dup(data, size);
	auto_free char *item = url_list_item(text, size % 3);
	struct url url;
	struct err err = {0};

	if (url_parse(&url, item ? item : text, &err) != 0) {
		if (err.code == ERR_NONE || url.scheme)
			abort();
		return 0;
	}
	auto_str out;
	str_init(&out, STR_MAX_DEFAULT);
	if (url_format_redacted(&out, &url) != 0)
		abort();
	if (url.password && !strstr(out.data, ":**"))
		abort();
	auto_free char *value = url_query(&url, "x");
	url_clear(&url);
	return 0;
}

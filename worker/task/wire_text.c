#include "worker/task/wire_text.h"

#include <stdint.h>
#include <string.h>

#define TEXT_IS_NULL UINT32_MAX

size_t wire_text_size(const char *text)
{
	return sizeof(uint32_t) + (text ? strlen(text) + 1 : 0);
}

void wire_text_put(struct str *out, const char *text)
{
	uint32_t len = text ? (uint32_t)strlen(text) : TEXT_IS_NULL;

	str_add(out, &len, sizeof(len));
	if (text)
		str_add(out, text, (size_t)len + 1);
}

int wire_text_get(const char **ret, struct span *rest)
{
	uint32_t len;

	*ret = NULL;
	if (rest->len < sizeof(len))
		return -1;
	memcpy(&len, rest->data, sizeof(len));
	*rest = (struct span){rest->data + sizeof(len), rest->len - sizeof(len)};
	if (len == TEXT_IS_NULL)
		return 0;
	if (len >= rest->len || memchr(rest->data, '\0', (size_t)len + 1) != rest->data + len)
		return -1;
	*ret = rest->data;
	*rest = (struct span){rest->data + len + 1, rest->len - len - 1};
	return 0;
}

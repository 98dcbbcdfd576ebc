#include "worker/config/nodename.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define NODENAME_MAX 4096

char *nodename_host(void)
{
	char host[256] = "";

	if (gethostname(host, sizeof(host) - 1) != 0 || host[0] == '\0')
		return mem_strdup("localhost");
	return mem_strdup(host);
}

struct abbreviations {
	const char *host, *name;
	const char *whole; /* NULL: %p is not known here */
};

static int expand(struct str *out, const char *text, const struct abbreviations *a, struct err *err)
{
	const char *dot = strchr(a->host, '.');

	for (const char *at = text; *at; at++) {
		if (at[0] != '%' ||
		    !(at[1] == '%' || at[1] == '_' || isalnum((unsigned char)at[1]))) {
			str_addc(out, *at);
			continue;
		}
		switch (*++at) {
		case '%':
			str_addc(out, '%');
			break;
		case 'h':
			str_puts(out, a->host);
			break;
		case 'n':
			str_puts(out, a->name);
			break;
		case 'd':
			str_puts(out, dot ? dot + 1 : "");
			break;
		case 'i':
			str_addc(out, '0');
			break;
		case 'I':
			break;
		default:
			if (*at != 'p' || !a->whole)
				return err_set(err, ERR_INVALID,
					       "unknown format %%%c in '%.200s'; write %%%% for %%",
					       *at, text);
			str_puts(out, a->whole);
		}
	}
	return out->is_full ? err_set(err, ERR_LIMIT, "'%.60s...' is too long", text) : 0;
}

char *nodename_expand(const char *option, const char *host, struct err *err)
{
	auto_free char *whole = NULL;
	auto_free char *label = mem_dup(host, strcspn(host, "."));
	const struct abbreviations a = {.host = host, .name = label};
	auto_str out;

	if (!option || !option[0])
		whole = mem_printf("celery@%s", host);
	else if (!strchr(option, '@'))
		whole = mem_printf("celery@%s", option);
	else if (option[0] == '@')
		whole = mem_printf("celery%s%s", option, option[1] ? "" : host);
	else
		whole = mem_printf("%s%s", option, option[strlen(option) - 1] == '@' ? host : "");
	str_init(&out, NODENAME_MAX);
	if (expand(&out, whole, &a, err) != 0)
		return NULL;
	return str_detach(&out);
}

char *nodename_format(const char *path, const char *node, struct err *err)
{
	const char *at = strchr(node, '@');
	auto_free char *name = at ? mem_dup(node, (size_t)(at - node)) : mem_strdup("celery");
	const struct abbreviations a = {.host = at ? at + 1 : node, .name = name, .whole = node};
	auto_str out;

	str_init(&out, NODENAME_MAX);
	if (expand(&out, path, &a, err) != 0)
		return NULL;
	return str_detach(&out);
}

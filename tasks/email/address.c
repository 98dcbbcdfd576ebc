#include "tasks/email/address.h"

#include <idn2.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* RFC 5321 4.5.3.1 */
#define LOCAL_MAX 64
#define SPEC_MAX  254
/* Longer names make no sense to a reader and would only cost folding. */
#define NAME_MAX_BYTES 500
#define SHOWN_MAX      100

/* Length of the UTF-8 sequence at `p`, 0 when it is none (overlong, surrogate, cut). */
static size_t utf8_sequence(const unsigned char *p, size_t left)
{
	static const unsigned char low[] = {0, 0, 0x80, 0x80, 0x80};
	size_t len = p[0] < 0x80		    ? 1
		     : p[0] >= 0xc2 && p[0] <= 0xdf ? 2
		     : p[0] >= 0xe0 && p[0] <= 0xef ? 3
		     : p[0] >= 0xf0 && p[0] <= 0xf4 ? 4
						    : 0;

	if (len == 0 || len > left)
		return 0;
	for (size_t i = 1; i < len; i++)
		if (p[i] < low[len] || p[i] > 0xbf)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
	    (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
		return 0;
	return len;
}

int text_check(const char *field, const char *text, size_t len, struct fault *fault)
{
	const unsigned char *p = (const unsigned char *)text;
	size_t n;

	for (size_t i = 0; i < len; i += n) {
		if (p[i] < 0x20 || p[i] == 0x7f)
			return fault_set(fault, "%s: control character 0x%02x is not allowed",
					 field, p[i]);
		n = utf8_sequence(p + i, len - i);
		if (n == 0)
			return fault_set(fault, "%s: not valid UTF-8", field);
		/* C1 controls and the Unicode line ends are line ends to some readers. */
		if ((n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0) ||
		    (n == 3 && p[i] == 0xe2 && p[i + 1] == 0x80 && (p[i + 2] | 1) == 0xa9))
			return fault_set(fault, "%s: control character is not allowed", field);
	}
	return 0;
}

/* How much of a caller's text an error shows: whole characters. */
static int shown_len(const char *text)
{
	size_t len = strnlen(text, SHOWN_MAX + 1);

	if (len > SHOWN_MAX)
		for (len = SHOWN_MAX; len > 0 && ((unsigned char)text[len] & 0xc0) == 0x80; len--)
			continue;
	return (int)len;
}

static bool is_atext(unsigned char c)
{
	return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
	       (c != '\0' && strchr("!#$%&'*+-/=?^_`{|}~", c) != NULL);
}

static int check_local(const char *field, const char *local, size_t len, struct fault *fault)
{
	if (len == 0 || len > LOCAL_MAX)
		return fault_set(fault, "%s: the part before '@' must have 1 to %d characters",
				 field, LOCAL_MAX);
	if (len >= 2 && local[0] == '"' && local[len - 1] == '"') {
		for (size_t i = 1; i < len - 1; i++) {
			if (local[i] == '\\' && i + 1 < len - 1)
				i++;
			else if (local[i] == '"' || local[i] == '\\')
				return fault_set(fault, "%s: wrong quoting before '@'", field);
			if ((unsigned char)local[i] >= 0x80)
				return fault_set(fault, "%s: non-ASCII characters before '@'",
						 field);
		}
		return 0;
	}
	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)local[i];

		if (c >= 0x80)
			return fault_set(fault,
					 "%s: characters beyond ASCII before '@' need SMTPUTF8, "
					 "which is not supported",
					 field);
		if (c == '.' ? i == 0 || i == len - 1 || local[i - 1] == '.' : !is_atext(c))
			return fault_set(fault, "%s: character '%c' is not allowed before '@'",
					 field, c);
	}
	return 0;
}

static char *domain_to_ascii(const char *domain)
{
	uint8_t *ascii = NULL;
	char *copy = NULL;

	if (idn2_lookup_u8((const uint8_t *)domain, &ascii, IDN2_NONTRANSITIONAL) == IDN2_OK)
		copy = strdup((const char *)ascii);
	idn2_free(ascii);
	return copy;
}

static bool is_domain_name(const char *domain)
{
	size_t label = 0;

	for (const char *p = domain; *p; p++) {
		unsigned char c = (unsigned char)*p;

		if (c == '.') {
			if (label == 0 || p[-1] == '-')
				return false;
			label = 0;
			continue;
		}
		if (!((c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
		      c == '_' || (c == '-' && label > 0)))
			return false;
		if (++label > 63)
			return false;
	}
	return label > 0;
}

static bool is_address_literal(const char *domain)
{
	size_t len = strlen(domain);

	if (len < 4 || domain[0] != '[' || domain[len - 1] != ']')
		return false;
	for (size_t i = 1; i < len - 1; i++)
		if (!strchr("0123456789abcdefABCDEF.:IPv", domain[i]))
			return false;
	return true;
}

static char *domain_check(const char *field, const char *domain, struct fault *fault)
{
	bool is_ascii = true;
	char *ascii;

	for (const char *p = domain; *p; p++)
		if ((unsigned char)*p >= 0x80)
			is_ascii = false;
		else if (*p == '/' || *p == '@' || *p == ' ' || *p == '%' || *p == '?' ||
			 *p == '#' || *p == '\\') {
			fault_set(fault, "%s: character '%c' is not allowed in a domain", field,
				  *p);
			return NULL;
		}
	if (is_ascii && is_address_literal(domain))
		return strdup(domain);
	ascii = is_ascii ? strdup(domain) : domain_to_ascii(domain);
	if (!ascii || !is_domain_name(ascii)) {
		free(ascii);
		fault_set(fault, "%s: '%.*s' is not a domain name", field, shown_len(domain),
			  domain);
		return NULL;
	}
	return ascii;
}

int address_list_add_named(struct address_list *list, const char *field, const char *name,
			   const char *spec, struct fault *fault)
{
	const char *at = strrchr(spec, '@');
	char *domain;
	struct buf whole = {0};

	if (text_check(field, spec, strlen(spec), fault) < 0 ||
	    (name && text_check(field, name, strlen(name), fault) < 0))
		return -1;
	if (!at)
		return fault_set(fault, "%s: '%.*s' is not a mail address", field, shown_len(spec),
				 spec);
	if (name && strlen(name) > NAME_MAX_BYTES)
		return fault_set(fault, "%s: the name is longer than %d bytes", field,
				 NAME_MAX_BYTES);
	if (strlen(spec) > 4 * SPEC_MAX)
		return fault_set(fault, "%s: the address is too long", field);
	if (check_local(field, spec, (size_t)(at - spec), fault) < 0)
		return -1;
	if (list->count >= ADDRESS_MAX_COUNT)
		return fault_set(fault, "%s: more than %d addresses", field, ADDRESS_MAX_COUNT);
	domain = domain_check(field, at + 1, fault);
	if (!domain)
		return -1;
	buf_add(&whole, spec, (size_t)(at - spec) + 1);
	buf_puts(&whole, domain);
	free(domain);
	if (whole.len > SPEC_MAX) {
		buf_clear(&whole);
		return fault_set(fault, "%s: the address is longer than %d characters", field,
				 SPEC_MAX);
	}
	list->items = realloc(list->items, (list->count + 1) * sizeof(*list->items));
	if (!list->items)
		abort();
	list->items[list->count++] =
		(struct address){.name = name && *name ? strdup(name) : NULL, .spec = whole.data};
	return 0;
}

/* Where the entry that begins at `p` ends: at the comma behind it or at the end. */
static const char *entry_end(const char *p)
{
	bool in_quotes = false, in_angle = false;

	for (; *p; p++) {
		if (in_quotes && *p == '\\' && p[1])
			p++;
		else if (*p == '"')
			in_quotes = !in_quotes;
		else if (!in_quotes && *p == '<')
			in_angle = true;
		else if (!in_quotes && *p == '>')
			in_angle = false;
		else if (!in_quotes && !in_angle && *p == ',')
			break;
	}
	return p;
}

static char *trimmed(const char *p, size_t len)
{
	while (len && *p == ' ')
		p++, len--;
	while (len && p[len - 1] == ' ')
		len--;
	return strndup(p, len);
}

/* Takes the quotes and backslashes off a quoted display name, in place. */
static void unquote(char *name)
{
	size_t len = strlen(name);
	char *out = name;

	if (len < 2 || name[0] != '"' || name[len - 1] != '"')
		return;
	for (size_t i = 1; i < len - 1; i++) {
		if (name[i] == '\\' && i + 1 < len - 1)
			i++;
		*out++ = name[i];
	}
	*out = '\0';
}

static int add_entry(struct address_list *list, const char *field, const char *entry,
		     struct fault *fault)
{
	size_t len = strlen(entry);
	const char *open = len && entry[len - 1] == '>' ? strrchr(entry, '<') : NULL;
	char *name, *spec;
	int ret;

	if (!open)
		return address_list_add_named(list, field, NULL, entry, fault);
	name = trimmed(entry, (size_t)(open - entry));
	spec = trimmed(open + 1, len - (size_t)(open - entry) - 2);
	unquote(name);
	ret = address_list_add_named(list, field, name, spec, fault);
	free(name);
	free(spec);
	return ret;
}

int address_list_add(struct address_list *list, const char *field, const char *text,
		     struct fault *fault)
{
	const char *p = text;

	if (text_check(field, text, strlen(text), fault) < 0)
		return -1;
	for (;;) {
		const char *end = entry_end(p);
		char *entry = trimmed(p, (size_t)(end - p));
		int ret = *entry ? add_entry(list, field, entry, fault)
				 : fault_set(fault, "%s: empty address", field);

		free(entry);
		if (ret < 0 || !*end)
			return ret;
		p = end + 1;
	}
}

int address_list_add_json(struct address_list *list, const char *field, const json_t *value,
			  struct fault *fault)
{
	size_t i;
	json_t *item;

	if (!value || json_is_null(value))
		return 0;
	if (json_is_string(value)) {
		if (strlen(json_string_value(value)) != json_string_length(value))
			return fault_set(fault, "%s: control character 0x00 is not allowed", field);
		if (json_string_length(value) == strspn(json_string_value(value), " "))
			return 0;
		return address_list_add(list, field, json_string_value(value), fault);
	}
	if (!json_is_array(value))
		return fault_set(fault, "%s: must be a string or a list of strings", field);
	json_array_foreach (value, i, item) {
		if (!json_is_string(item))
			return fault_set(fault, "%s: must be a string or a list of strings", field);
		if (address_list_add_json(list, field, item, fault) < 0)
			return -1;
	}
	return 0;
}

void address_list_clear(struct address_list *list)
{
	for (size_t i = 0; i < list->count; i++) {
		free(list->items[i].name);
		free(list->items[i].spec);
	}
	free(list->items);
	*list = (struct address_list){0};
}

const char *address_domain(const struct address *address)
{
	return strrchr(address->spec, '@') + 1;
}

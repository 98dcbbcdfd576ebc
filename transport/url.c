#include "transport/url.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

enum { URL_MAX = 4096 };

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	if (c >= 'a' && c <= 'f')
		return c - 'a' + 10;
	if (c >= 'A' && c <= 'F')
		return c - 'A' + 10;
	return -1;
}

/* Sequences that are no escapes stay as they are, as in Python's unquote. */
static char *percent_decode(const char *text, size_t len, bool plus_is_space)
{
	char *out = mem_alloc(len + 1);
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		int high = i + 2 < len ? hex_digit(text[i + 1]) : -1;
		int low = i + 2 < len ? hex_digit(text[i + 2]) : -1;
		if (text[i] == '%' && high >= 0 && low >= 0) {
			out[n++] = (char)(high << 4 | low);
			i += 2;
		} else {
			out[n++] = plus_is_space && text[i] == '+' ? ' ' : text[i];
		}
	}
	out[n] = '\0';
	return out;
}

/* NULL for an empty part. */
static char *part_decode(const char *text, size_t len)
{
	return len ? percent_decode(text, len, false) : NULL;
}

static int text_check(const char *text, struct err *err)
{
	if (strlen(text) > URL_MAX)
		return err_set(err, ERR_LIMIT, "URL of more than %d bytes", URL_MAX);
	for (const char *p = text; *p; p++) {
		if ((unsigned char)*p < ' ' || *p == 0x7f)
			return err_set(err, ERR_INVALID, "control character in a URL");
		if (p[0] == '%' && p[1] == '0' && p[2] == '0')
			return err_set(err, ERR_INVALID, "%%00 in a URL");
	}
	return 0;
}

/* The transport is the part before '+': "redis+socket", "sqla+sqlite". */
static int scheme_parse(struct url *url, const char *text, size_t len, struct err *err)
{
	bool is_valid = len > 0 && isalpha((unsigned char)text[0]);

	for (size_t i = 0; i < len; i++)
		is_valid = is_valid && (isalnum((unsigned char)text[i]) || strchr("+-_", text[i]));
	if (!is_valid) {
		/* kombu names the part before '+'; '@' and beyond could be a password. */
		size_t shown = strcspn(text, "+@");
		shown = shown < len ? shown : len;
		return err_set(err, ERR_INVALID, "Invalid transport scheme: '%.*s'",
			       (int)(shown < 40 ? shown : 40), text);
	}
	url->scheme = mem_dup(text, len);
	for (char *p = url->scheme; *p; p++)
		*p = (char)tolower((unsigned char)*p);
	return 0;
}

static int port_parse(struct url *url, const char *text, size_t len, struct err *err)
{
	int port = 0;

	for (size_t i = 0; i < len; i++) {
		/* Not quoted: with an unescaped '#' or '/' in it, a password ends up here. */
		if (!isdigit((unsigned char)text[i]))
			return err_set(err, ERR_INVALID,
				       "the port of a URL is no number (special characters in a "
				       "password must be percent-encoded)");
		port = port * 10 + (text[i] - '0');
		if (port > 65535)
			return err_set(err, ERR_INVALID, "port out of range 0-65535 in a URL");
	}
	url->port = port;
	return 0;
}

static void userinfo_parse(struct url *url, const char *text, size_t len)
{
	const char *colon = memchr(text, ':', len);
	size_t user_len = colon ? (size_t)(colon - text) : len;

	url->user = part_decode(text, user_len);
	if (colon)
		url->password = part_decode(colon + 1, len - user_len - 1);
}

static int hostinfo_parse(struct url *url, const char *text, size_t len, struct err *err)
{
	const char *end = text + len;
	const char *host = text;
	const char *host_end = memchr(text, ':', len);
	const char *port;

	if (len > 0 && *text == '[') {
		host = text + 1;
		host_end = memchr(text, ']', len);
		if (!host_end)
			return err_set(err, ERR_INVALID, "']' is missing behind a URL's address");
		port = host_end + 1;
		if (port < end && *port != ':')
			return err_set(err, ERR_INVALID, "text behind ']' in a URL's address");
	} else {
		if (!host_end)
			host_end = end;
		port = host_end;
	}
	url->host = part_decode(host, (size_t)(host_end - host));
	for (char *p = url->host; p && *p; p++)
		*p = (char)tolower((unsigned char)*p);
	if (port < end)
		port++;
	return port_parse(url, port, (size_t)(end - port), err);
}

static const char *last_at(const char *text, size_t len)
{
	while (len > 0)
		if (text[--len] == '@')
			return text + len;
	return NULL;
}

/* What stands behind "://". */
static int rest_parse(struct url *url, const char *text, struct err *err)
{
	size_t net_len = strcspn(text, "/?#");
	const char *path = text + net_len;
	const char *at = last_at(text, net_len);
	const char *host = at ? at + 1 : text;

	if (at)
		userinfo_parse(url, text, (size_t)(at - text));
	if (hostinfo_parse(url, host, (size_t)(text + net_len - host), err) != 0)
		return -1;
	size_t path_len = strcspn(path, "?#");
	const char *query = path + path_len;
	if (path_len > 0 && *path == '/') {
		path++;
		path_len--;
	}
	url->path = percent_decode(path, path_len, false);
	if (*query == '?')
		url->query = mem_dup(query + 1, strcspn(query + 1, "#"));
	return 0;
}

int url_parse(struct url *url, const char *text, struct err *err)
{
	const char *sep = strstr(text, "://");

	*url = (struct url){0};
	if (text_check(text, err) != 0)
		return -1;
	if (!sep) { /* as in kombu, all of it is a host name */
		url->scheme = mem_strdup("amqp");
		url->host = *text ? mem_strdup(text) : NULL;
		url->path = mem_strdup("");
		return 0;
	}
	if (scheme_parse(url, text, (size_t)(sep - text), err) != 0 ||
	    rest_parse(url, sep + 3, err) != 0) {
		url_clear(url);
		return -1;
	}
	return 0;
}

void url_clear(struct url *url)
{
	free(url->scheme);
	free(url->host);
	free(url->user);
	free(url->password);
	free(url->path);
	free(url->query);
	*url = (struct url){0};
}

/* The last one counts, and empty ones not at all, as in Python's dict(parse_qsl()). */
char *url_query(const struct url *url, const char *name)
{
	const char *p = url->query;
	char *found = NULL;

	while (p && *p) {
		size_t len = strcspn(p, "&");
		const char *eq = memchr(p, '=', len);
		if (eq && eq + 1 < p + len) {
			auto_free char *key = percent_decode(p, (size_t)(eq - p), true);
			if (strcmp(key, name) == 0) {
				free(found);
				found = percent_decode(eq + 1, (size_t)(p + len - eq - 1), true);
			}
		}
		p += len;
		p += *p == '&';
	}
	return found;
}

static void add_quoted(struct str *out, const char *text, const char *safe)
{
	for (const char *p = text; *p; p++) {
		if (isalnum((unsigned char)*p) || strchr("_.-~", *p) || strchr(safe, *p))
			str_addc(out, *p);
		else
			str_addf(out, "%%%02X", (unsigned char)*p);
	}
}

/* "redis://me:12/3@host": of a password with a slash that was not written as %2F, the part up to
 * the slash was read as the port and the rest begins the path. */
static const char *path_to_show(struct str *out, const char *path)
{
	const char *at = path ? strrchr(path, '@') : NULL;

	if (!at)
		return path;
	str_puts(out, "**");
	return at;
}

int url_format_redacted(struct str *out, const struct url *url)
{
	str_addf(out, "%s://", url->scheme);
	if (url->user)
		add_quoted(out, url->user, "");
	if (url->password)
		str_puts(out, ":**");
	if (url->user || url->password)
		str_addc(out, '@');
	if (url->host && strchr(url->host, ':'))
		str_addf(out, "[%s]", url->host);
	else if (url->host)
		add_quoted(out, url->host, "");
	if (url->port)
		str_addf(out, ":%d", url->port);
	str_addc(out, '/');
	add_quoted(out, path_to_show(out, url->path), "/@");
	return out->is_full ? -1 : 0;
}

char *url_list_item(const char *list, unsigned index)
{
	const char *p = list;

	while (*p) {
		size_t len = strcspn(p, ";");
		const char *start = p, *end = p + len;
		while (start < end && isspace((unsigned char)*start))
			start++;
		while (end > start && isspace((unsigned char)end[-1]))
			end--;
		if (end > start && index-- == 0)
			return mem_dup(start, (size_t)(end - start));
		p += len;
		p += *p == ';';
	}
	return NULL;
}

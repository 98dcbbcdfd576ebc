#include "worker/control/http.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 128

union address {
	struct sockaddr any;
	struct sockaddr_in v4;
	struct sockaddr_in6 v6;
};

static int fail(const char *text, struct err *err)
{
	return err_set(err, ERR_INVALID,
		       "'%.80s' is no address to listen at: PORT, ADDRESS:PORT, [IPV6]:PORT or "
		       ":PORT (all addresses)",
		       text);
}

static int parse_port(const char *text, in_port_t *ret)
{
	size_t len = strspn(text, "0123456789");
	long port = len > 0 && len <= 5 && !text[len] ? strtol(text, NULL, 10) : -1;

	if (port < 0 || port > 65535)
		return -1;
	*ret = htons((in_port_t)port);
	return 0;
}

/* The part before the last colon, without the brackets of an IPv6 address. */
static int copy_host(const char *text, const char *colon, char *host, size_t size)
{
	size_t len = (size_t)(colon - text);

	if (len >= 2 && text[0] == '[' && text[len - 1] == ']') {
		text++;
		len -= 2;
		if (!memchr(text, ':', len))
			return -1;
	} else if (memchr(text, ':', len)) {
		return -1;
	}
	if (len >= size)
		return -1;
	memcpy(host, text, len);
	host[len] = '\0';
	return 0;
}

static int parse(const char *text, union address *ret, struct err *err)
{
	const char *colon = strrchr(text, ':');
	char host[64] = "127.0.0.1";
	in_port_t port;

	memset(ret, 0, sizeof(*ret));
	if (parse_port(colon ? colon + 1 : text, &port) != 0 ||
	    (colon && copy_host(text, colon, host, sizeof(host)) != 0))
		return fail(text, err);
	if (strcmp(host, "localhost") == 0)
		memcpy(host, "127.0.0.1", sizeof("127.0.0.1"));
	if (!host[0] || inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1) {
		ret->v6.sin6_family = AF_INET6;
		ret->v6.sin6_port = port;
		return 0;
	}
	if (inet_pton(AF_INET, host, &ret->v4.sin_addr) != 1)
		return fail(text, err);
	ret->v4.sin_family = AF_INET;
	ret->v4.sin_port = port;
	return 0;
}

int http_address_check(const char *address, struct err *err)
{
	union address parsed;

	return parse(address, &parsed, err);
}

static int open_socket(union address *address)
{
	int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	/* ":PORT" on a machine without IPv6. */
	if (fd < 0 && errno == EAFNOSUPPORT && address->any.sa_family == AF_INET6 &&
	    IN6_IS_ADDR_UNSPECIFIED(&address->v6.sin6_addr)) {
		in_port_t port = address->v6.sin6_port;

		memset(address, 0, sizeof(*address));
		address->v4.sin_family = AF_INET;
		address->v4.sin_port = port;
		fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	}
	return fd;
}

static void write_url(const union address *a, struct str *ret_url)
{
	char host[INET6_ADDRSTRLEN];

	if (a->any.sa_family == AF_INET6)
		str_addf(ret_url, "http://[%s]:%u",
			 inet_ntop(AF_INET6, &a->v6.sin6_addr, host, sizeof(host)),
			 ntohs(a->v6.sin6_port));
	else
		str_addf(ret_url, "http://%s:%u",
			 inet_ntop(AF_INET, &a->v4.sin_addr, host, sizeof(host)),
			 ntohs(a->v4.sin_port));
}

int http_address_listen(const char *address, struct str *ret_url, struct err *err)
{
	static const int yes = 1, no = 0;
	union address bound;
	socklen_t len = sizeof(bound);
	int fd;

	if (parse(address, &bound, err) != 0)
		return -1;
	fd = open_socket(&bound);
	if (fd < 0)
		return err_errno(err, "socket");
	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
	if (bound.any.sa_family == AF_INET6)
		setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &no, sizeof(no));
	if (bind(fd, &bound.any,
		 bound.any.sa_family == AF_INET6 ? sizeof(bound.v6) : sizeof(bound.v4)) != 0 ||
	    listen(fd, BACKLOG) != 0 || getsockname(fd, &bound.any, &len) != 0) {
		err_errno(err, "cannot listen at %s", address);
		close(fd);
		return -1;
	}
	write_url(&bound, ret_url);
	return fd;
}

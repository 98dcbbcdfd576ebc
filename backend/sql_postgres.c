/*
 * Batches in PostgreSQL over libpq's non-blocking interface: one connection, each batch a pipeline
 * of statements and one transaction. Names are looked up by libuv, because libpq would stop the
 * loop for that.
 */
#include "backend/sql_postgres.h"

#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#include "base/library.h"
#include "base/mem.h"

#define TEXT_MAX       ((size_t)64 << 10)
#define FIRST_DELAY_MS 100U
#define MAX_DELAY_MS   2000U

static int load(struct postgres_library *lib, struct err *err)
{
	const struct library_symbol symbols[] = {
		{"PQconnectStartParams", &lib->connect_start},
		{"PQconnectPoll", &lib->connect_poll},
		{"PQconndefaults", &lib->conndefaults},
		{"PQconninfoFree", &lib->conninfo_free},
		{"PQfinish", &lib->finish},
		{"PQsocket", &lib->socket},
		{"PQstatus", &lib->status},
		{"PQerrorMessage", &lib->error_message},
		{"PQsetnonblocking", &lib->setnonblocking},
		{"PQsetNoticeReceiver", &lib->set_notice_receiver},
		{"PQsendQuery", &lib->send_query},
		{"PQsendQueryParams", &lib->send_query_params},
		{"PQenterPipelineMode", &lib->enter_pipeline},
		{"PQpipelineSync", &lib->pipeline_sync},
		{"PQflush", &lib->flush},
		{"PQconsumeInput", &lib->consume_input},
		{"PQisBusy", &lib->is_busy},
		{"PQgetResult", &lib->get_result},
		{"PQresultStatus", &lib->result_status},
		{"PQresultErrorField", &lib->result_error_field},
		{"PQclear", &lib->clear},
		{"PQntuples", &lib->ntuples},
		{"PQgetisnull", &lib->getisnull},
		{"PQgetvalue", &lib->getvalue},
		{"PQgetlength", &lib->getlength},
		{"PQunescapeBytea", &lib->unescape_bytea},
		{"PQfreemem", &lib->freemem},
	};

	return library_load("libpq.so.5", "libpq5", symbols, sizeof(symbols) / sizeof(*symbols),
			    err);
}

/* One line of what libpq says, which ends lines and indents them. */
static void add_words(struct str *out, const char *text)
{
	for (const char *p = text; *p; p++) {
		bool is_space = strchr(" \t\r\n", *p) != NULL;

		if (is_space && (!p[1] || strchr(" \t\r\n", p[1])))
			continue;
		str_addc(out, is_space ? ' ' : *p);
	}
}

/* Watching the socket */

static void on_poll_closed(uv_handle_t *handle)
{
	free(handle);
}

static void unwatch(struct postgres_engine *e)
{
	if (!e->poll)
		return;
	uv_poll_stop(e->poll);
	uv_close((uv_handle_t *)e->poll, on_poll_closed);
	e->poll = NULL;
}

static void on_poll(uv_poll_t *poll, int status, int events);

/* libpq may have another socket than before, also under the same number. */
static int watch(struct postgres_engine *e, int events)
{
	int fd = e->lib.socket(e->conn);

	if (e->poll && e->fd == fd)
		return uv_poll_start(e->poll, events, on_poll);
	unwatch(e);
	e->poll = mem_calloc(1, sizeof(*e->poll));
	e->fd = fd;
	if (fd < 0 || uv_poll_init(e->base.options.loop, e->poll, fd) != 0) {
		mem_free_ptr(&e->poll);
		return -1;
	}
	e->poll->data = e;
	return uv_poll_start(e->poll, events, on_poll);
}

/* The connection */

static void on_timer(uv_timer_t *timer);
static void close_handles(struct postgres_engine *e);

static void disconnect(struct postgres_engine *e)
{
	unwatch(e);
	if (e->conn)
		e->lib.finish(e->conn);
	e->conn = NULL;
	e->batch = NULL;
}

void postgres_lost(struct postgres_engine *e, const char *why)
{
	auto_str words = STR_INIT(1000);
	uint64_t delay = FIRST_DELAY_MS << (e->tries < 5 ? e->tries : 5);

	add_words(&words, why);
	disconnect(e);
	e->state = POSTGRES_DOWN;
	e->tries++;
	uv_timer_start(&e->timer, on_timer, delay < MAX_DELAY_MS ? delay : MAX_DELAY_MS, 0);
	e->base.options.events->on_down(e->base.options.ctx, words.data ? words.data : "");
}

static void lost_by_libpq(struct postgres_engine *e)
{
	auto_free char *why = mem_strdup(e->lib.error_message(e->conn));

	postgres_lost(e, why);
}

int postgres_flush(struct postgres_engine *e)
{
	int left = e->lib.flush(e->conn);

	if (left < 0 || watch(e, left > 0 ? UV_READABLE | UV_WRITABLE : UV_READABLE) != 0) {
		lost_by_libpq(e);
		return -1;
	}
	return 0;
}

void postgres_wake(struct postgres_engine *e)
{
	if (e->poll)
		uv_poll_start(e->poll, UV_READABLE | UV_WRITABLE, on_poll);
}

static void on_notice(void *ctx, const PGresult *result)
{
	(void)ctx;
	(void)result; /* "relation exists already, skipping" */
}

static void connect_on(struct postgres_engine *e)
{
	if (e->poll)
		uv_poll_stop(e->poll);
	switch (e->lib.connect_poll(e->conn)) {
	case PGRES_POLLING_READING:
		if (watch(e, UV_READABLE) == 0)
			return;
		break;
	case PGRES_POLLING_WRITING:
		if (watch(e, UV_WRITABLE) == 0)
			return;
		break;
	case PGRES_POLLING_OK:
		if (e->lib.setnonblocking(e->conn, 1) != 0)
			break;
		e->lib.set_notice_receiver(e->conn, on_notice, NULL);
		postgres_prepare(e);
		return;
	case PGRES_POLLING_FAILED:
	case PGRES_POLLING_ACTIVE:
		break;
	}
	lost_by_libpq(e);
}

/* `addresses`: of the host, with commas, as many as `hosts`; or both NULL. */
static void connect_to(struct postgres_engine *e, const char *hosts, const char *addresses)
{
	const struct sql_place *place = e->base.options.place;
	const char **keys = mem_calloc(place->count + 3, sizeof(*keys));
	const char **values = mem_calloc(place->count + 3, sizeof(*values));
	size_t count = 0;

	for (size_t i = 0; i < place->count; i++) {
		keys[count] = place->keys[i];
		values[count++] =
			hosts && strcmp(place->keys[i], "host") == 0 ? hosts : place->values[i];
	}
	if (addresses) {
		keys[count] = "hostaddr";
		values[count] = addresses;
	}
	e->state = POSTGRES_CONNECTING;
	e->conn = e->lib.connect_start(keys, values, 0);
	free(keys);
	free(values);
	if (!e->conn || e->lib.status(e->conn) == CONNECTION_BAD || watch(e, UV_WRITABLE) != 0) {
		lost_by_libpq(e);
		return;
	}
	uv_timer_start(&e->timer, on_timer, (uint64_t)(e->base.options.connect_timeout_s * 1000),
		       0);
}

static void on_resolved(uv_getaddrinfo_t *request, int status, struct addrinfo *found)
{
	struct postgres_engine *e = request->data;
	const char *host = sql_place_value(e->base.options.place, "host");
	auto_str hosts = STR_INIT(TEXT_MAX);
	auto_str addresses = STR_INIT(TEXT_MAX);
	char text[INET6_ADDRSTRLEN];

	e->is_resolving = false;
	for (const struct addrinfo *a = found; a && !e->is_closing; a = a->ai_next) {
		if (getnameinfo(a->ai_addr, a->ai_addrlen, text, sizeof(text), NULL, 0,
				NI_NUMERICHOST) != 0)
			continue;
		str_addf(&hosts, "%s%s", hosts.len ? "," : "", host);
		str_addf(&addresses, "%s%s", addresses.len ? "," : "", text);
	}
	uv_freeaddrinfo(found);
	if (e->is_closing)
		close_handles(e);
	else if (status != 0 || addresses.len == 0)
		postgres_lost(e, status != 0 ? uv_strerror(status) : "the host has no address");
	else
		connect_to(e, hosts.data, addresses.data);
}

static void begin(struct postgres_engine *e)
{
	const struct addrinfo hints = {.ai_socktype = SOCK_STREAM};
	const struct sql_place *place = e->base.options.place;
	const char *host = sql_place_value(place, "host");
	int result;

	if (!host || *host == '/' || strchr(host, ',') || sql_place_value(place, "hostaddr")) {
		connect_to(e, NULL, NULL);
		return;
	}
	e->state = POSTGRES_CONNECTING;
	e->resolver.data = e;
	result =
		uv_getaddrinfo(e->base.options.loop, &e->resolver, on_resolved, host, NULL, &hints);
	if (result != 0)
		postgres_lost(e, uv_strerror(result));
	else
		e->is_resolving = true;
}

static void on_timer(uv_timer_t *timer)
{
	struct postgres_engine *e = timer->data;

	if (e->state == POSTGRES_DOWN)
		begin(e);
	else if (e->state == POSTGRES_CONNECTING)
		postgres_lost(e, "no connection in time");
	else
		postgres_lost(e, "no answer in time");
}

void postgres_await(struct postgres_engine *e, uint64_t ms)
{
	if (ms == 0)
		uv_timer_stop(&e->timer);
	else
		uv_timer_start(&e->timer, on_timer, ms, 0);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
	struct postgres_engine *e = poll->data;

	if (e->state == POSTGRES_CONNECTING) {
		connect_on(e);
		return;
	}
	if (status < 0) {
		postgres_lost(e, uv_strerror(status));
		return;
	}
	if ((events & UV_READABLE) && !e->lib.consume_input(e->conn)) {
		lost_by_libpq(e);
		return;
	}
	if (postgres_flush(e) == 0)
		postgres_answers(e);
}

/* Opening and closing */

static void handle_gone(struct postgres_engine *e)
{
	e->base.options.events->on_closed(e->base.options.ctx);
	str_clear(&e->store);
	str_clear(&e->revoke);
	str_clear(&e->read);
	free(e);
}

static void on_timer_closed(uv_handle_t *handle)
{
	handle_gone(handle->data);
}

static void close_handles(struct postgres_engine *e)
{
	disconnect(e);
	uv_close((uv_handle_t *)&e->timer, on_timer_closed);
}

static void postgres_close(struct sql_engine *base)
{
	struct postgres_engine *e = (struct postgres_engine *)base;

	e->is_closing = true;
	if (!e->is_resolving)
		close_handles(e);
	else
		uv_cancel((uv_req_t *)&e->resolver); /* or it ends by itself */
}

/* libpq would refuse them at each connection only. */
static int check_keywords(const struct postgres_engine *e, const struct sql_place *place,
			  struct err *err)
{
	PQconninfoOption *known = e->lib.conndefaults();
	int result = 0;

	for (size_t i = 0; known && result == 0 && i < place->count; i++) {
		const PQconninfoOption *k = known;

		while (k->keyword && strcmp(k->keyword, place->keys[i]) != 0)
			k++;
		if (!k->keyword)
			result = err_set(err, ERR_INVALID,
					 "result_backend: '%.40s' is no option of a PostgreSQL "
					 "connection",
					 place->keys[i]);
	}
	if (known)
		e->lib.conninfo_free(known);
	return result;
}

static struct sql_engine *postgres_open(const struct sql_engine_options *options, struct err *err)
{
	struct postgres_engine *e = mem_calloc(1, sizeof(*e));

	e->base = (struct sql_engine){.driver = &sql_postgres_engine, .options = *options};
	str_init(&e->store, TEXT_MAX);
	str_init(&e->revoke, TEXT_MAX);
	str_init(&e->read, TEXT_MAX);
	if (load(&e->lib, err) < 0 || check_keywords(e, options->place, err) < 0) {
		free(e);
		return NULL;
	}
	uv_timer_init(options->loop, &e->timer);
	e->timer.data = e;
	uv_timer_start(&e->timer, on_timer, 0, 0);
	return &e->base;
}

const struct sql_engine_driver sql_postgres_engine = {
	.open = postgres_open,
	.run = postgres_run,
	.close = postgres_close,
};

/* Where the tables are: SQLAlchemy's URLs, as sqlalchemy/engine/url.py reads them. */
#include <stdlib.h>
#include <string.h>

#include "backend/sql.h"
#include "base/mem.h"
#include "transport/url.h"

#define SQLITE_WAIT_S 5.0 /* pysqlite's timeout */
#define QUERIES_MAX   32

/* "db+postgresql+psycopg2" is of the dialect "postgresql", whatever Python's driver is. */
static bool is_dialect(const char *scheme, const char *dialect)
{
	const char *name = strchr(scheme, '+');
	size_t len = strlen(dialect);

	if (!name || (strncmp(scheme, "db+", 3) != 0 && strncmp(scheme, "database+", 9) != 0))
		return false;
	return strncmp(name + 1, dialect, len) == 0 &&
	       (name[1 + len] == '\0' || name[1 + len] == '+');
}

/* The database's name is not percent-decoded. */
static char *raw_path(const char *url)
{
	const char *rest = strstr(url, "://") + 3;
	const char *path = rest + strcspn(rest, "/?");

	if (*path != '/')
		return mem_strdup("");
	path++;
	return mem_dup(path, strcspn(path, "?"));
}

static int read_sqlite_query(struct sql_place *place, const struct url *url, struct err *err)
{
	for (const char *p = url->query; p && *p; p += strspn(p, "&")) {
		size_t len = strcspn(p, "&"), name = strcspn(p, "=&");

		if (strncmp(p, "timeout=", 8) == 0)
			place->wait_s = strtod(p + 8, NULL);
		else if (len > 0 && strncmp(p, "check_same_thread=", 18) != 0)
			return err_set(err, ERR_UNSUPPORTED,
				       "result_backend: '%.*s' of an SQLite URL is not known here, "
				       "only timeout is",
				       name > 40 ? 40 : (int)name, p);
		p += len;
	}
	return 0;
}

static int read_sqlite(struct sql_place *place, const struct url *url, const char *text,
		       struct err *err)
{
	place->path = raw_path(text);
	place->wait_s = SQLITE_WAIT_S;
	if (url->host || !*place->path || strcmp(place->path, ":memory:") == 0)
		return err_set(err, ERR_INVALID,
			       "result_backend: write db+sqlite:////folder/file.db (a database in "
			       "memory cannot be shared between processes)");
	place->label = mem_printf("SQLite %s", place->path);
	return read_sqlite_query(place, url, err);
}

static void place_add(struct sql_place *place, const char *key, char *value)
{
	if (!value)
		return;
	place->keys = mem_realloc(place->keys, (place->count + 2) * sizeof(*place->keys));
	place->values = mem_realloc(place->values, (place->count + 2) * sizeof(*place->values));
	place->keys[place->count] = mem_strdup(key);
	place->values[place->count++] = value;
	place->keys[place->count] = place->values[place->count] = NULL;
}

/* Of the query: libpq's own keywords, as psycopg2 passes them on. */
static int read_keywords(struct sql_place *place, const struct url *url, struct err *err)
{
	for (const char *p = url->query; p && *p; p += strspn(p, "&")) {
		size_t len = strcspn(p, "&"), name = strcspn(p, "=&");
		auto_free char *key = mem_dup(p, name);

		if (place->count > QUERIES_MAX)
			return err_set(err, ERR_LIMIT, "result_backend: too many options in a URL");
		if (name > 0 && !sql_place_value(place, key))
			place_add(place, key, url_query(url, key));
		p += len;
	}
	return 0;
}

static int read_postgres(struct sql_place *place, const struct url *url, const char *text,
			 struct err *err)
{
	auto_free char *name = raw_path(text);
	const char *host, *port, *database;

	place_add(place, "host", mem_strdup(url->host));
	if (url->port)
		place_add(place, "port", mem_printf("%d", url->port));
	place_add(place, "user", mem_strdup(url->user));
	place_add(place, "password", mem_strdup(url->password));
	if (*name)
		place_add(place, "dbname", mem_strdup(name));
	if (read_keywords(place, url, err) < 0)
		return -1;
	if (!sql_place_value(place, "application_name"))
		place_add(place, "application_name", mem_strdup("smallage-results"));
	host = sql_place_value(place, "host");
	port = sql_place_value(place, "port");
	database = sql_place_value(place, "dbname");
	place->label = mem_printf("PostgreSQL %s:%s/%s", host ? host : "(local socket)",
				  port ? port : "5432", database ? database : "");
	return 0;
}

int sql_place_read(struct sql_place *place, const char *text, enum sql_dialect *ret_dialect,
		   struct err *err)
{
	struct url url;
	int result;

	*place = (struct sql_place){0};
	if (!strstr(text, "://"))
		return err_set(err, ERR_INVALID,
			       "result_backend: where the database is stands behind db+, as in "
			       "db+postgresql://user:password@host/name, or in database_url");
	if (url_parse(&url, text, err) < 0)
		return err_prefix(err, "result_backend: ");
	*ret_dialect = is_dialect(url.scheme, "sqlite") ? SQL_SQLITE : SQL_POSTGRES;
	if (*ret_dialect == SQL_SQLITE)
		result = read_sqlite(place, &url, text, err);
	else if (is_dialect(url.scheme, "postgresql"))
		result = read_postgres(place, &url, text, err);
	else
		result = err_set(err, ERR_UNSUPPORTED,
				 "result_backend: '%.40s' is not spoken here; use db+postgresql:// "
				 "or db+sqlite:///",
				 url.scheme);
	url_clear(&url);
	return result;
}

const char *sql_place_value(const struct sql_place *place, const char *key)
{
	for (size_t i = 0; i < place->count; i++)
		if (strcmp(place->keys[i], key) == 0)
			return place->values[i];
	return NULL;
}

void sql_place_clear(struct sql_place *place)
{
	for (size_t i = 0; i < place->count; i++) {
		free(place->keys[i]);
		free(place->values[i]);
	}
	free(place->keys);
	free(place->values);
	free(place->label);
	free(place->path);
	*place = (struct sql_place){0};
}

/*
 * The tasks of a shop, as an example of a plug-in: a setting, a file that each process opens once,
 * wrong data, a retry, progress, a task that can be told to end, one that sends others. See
 * README.md.
 */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <smallage/task.h>

/* A process or thread runs one task at a time, so what it keeps needs no lock. */
static _Thread_local FILE *ledger;

/* The hooks: called once in each of them, at its beginning and at its end. */
static void open_ledger(const char *(*setting)(const char *name))
{
	ledger = fopen(setting("orders_ledger"), "a");
}

static void close_ledger(void)
{
	if (ledger)
		fclose(ledger);
	ledger = NULL;
}

/* One line {"price": 9.5, "count": 2}; -1 after raising. */
static double price_of(struct sm_job *job, size_t number, const json_t *line)
{
	const json_t *price = json_object_get(line, "price");
	const json_t *count = json_object_get(line, "count");

	if (json_is_number(price) && json_is_integer(count) && json_integer_value(count) >= 0)
		return json_number_value(price) * (double)json_integer_value(count);
	sm_raise(job, "ValueError", "line %zu has no price and count", number);
	return -1;
}

static json_t *total(struct sm_job *job)
{
	double sum = 0;
	json_t *line;
	size_t i;

	json_array_foreach (sm_json(job, "lines"), i, line) {
		double price = price_of(job, i + 1, line);

		if (price < 0)
			return NULL;
		sum += price;
	}
	return json_string(sm_printf(job, "%.2f", sum * (1 - sm_float(job, "discount"))));
}

/* .autoretry tries it again while the ledger cannot be written. */
static json_t *book(struct sm_job *job)
{
	if (!ledger)
		return sm_raise(job, "OSError", "%s cannot be opened",
				sm_setting(job, "orders_ledger"));
	fprintf(ledger, "%lld %s %s\n", (long long)sm_int(job, "order_id"), sm_text(job, "amount"),
		sm_id(job));
	if (fflush(ledger) != 0)
		return sm_raise(job, "OSError", "the ledger: %s", strerror(errno));
	sm_log_info(job, "booked order %lld", (long long)sm_int(job, "order_id"));
	return json_true();
}

static void close_file(void *file)
{
	fclose(file);
}

/* Counts the ledger's lines, slowly, and ends early when its soft time limit passes. */
static json_t *audit(struct sm_job *job)
{
	FILE *file = fopen(sm_setting(job, "orders_ledger"), "r");
	int64_t lines = 0;
	char line[4096];

	if (!file)
		return sm_raise(job, "OSError", "no ledger: %s", strerror(errno));
	sm_defer(job, close_file, file);
	while (fgets(line, sizeof(line), file)) {
		sm_progress(job, ++lines, sm_int(job, "expected"));
		if (sm_sleep(job, 0.05) != 0)
			return sm_raise_args(job, "SoftTimeLimitExceeded", json_array());
	}
	return json_integer(lines);
}

/* Sends a chain: total, and book with what it returned. The id is that of its result. */
static json_t *close_order(struct sm_job *job)
{
	json_t *total = sm_signature("orders.total", json_pack("[O]", sm_json(job, "lines")), NULL);
	json_t *book = sm_signature("orders.book", NULL,
				    json_pack("{s:I}", "order_id", sm_int(job, "order_id")));
	const char *id = sm_send(job, sm_chain(SM_LIST(total, book)));

	return id ? json_string(id) : NULL;
}

static const struct sm_task total_task = {
	.name = "orders.total",
	.signature = "lines: list, *, discount: float = 0",
	.doc = "The sum of an order's lines, as text with two decimals.",
	.run = total,
};

static const struct sm_task book_task = {
	.name = "orders.book",
	.signature = "amount: str | number, order_id: int",
	.doc = "Writes an order to the ledger.",
	.run = book,
	.autoretry = {.on = SM_NAMES("OSError"), .backoff = 2, .backoff_max_s = 60},
	.max_retries = 10,
	.acks_late = SM_YES,
};

static const struct sm_task audit_task = {
	.name = "orders.audit",
	.signature = "expected: int = 0",
	.doc = "Counts the orders in the ledger.",
	.run = audit,
	.soft_time_limit_s = 60,
};

static const struct sm_task close_task = {
	.name = "orders.close",
	.signature = "order_id: int, lines: list",
	.doc = "Has an order added up and booked; returns the id of the booking.",
	.run = close_order,
};

/* For `smallage check`. */
static int check(const char *(*setting)(const char *name), char *text, size_t size)
{
	const char *path = setting("orders_ledger");
	FILE *file = fopen(path, "a");

	snprintf(text, size, "%s: %s", path, file ? "can be written" : strerror(errno));
	if (file)
		fclose(file);
	return file ? 0 : -1;
}

static const struct sm_setting_def settings[] = {
	{"orders_ledger", "ORDERS_LEDGER", "ledger.txt", "File that booked orders go to.", false},
	{NULL, NULL, NULL, NULL, false},
};

SM_PLUGIN(.name = "orders", .version = "1.0", .settings = settings, .start = open_ledger,
	  .stop = close_ledger, .check = check,
	  .tasks = SM_TASKS(&total_task, &book_task, &audit_task, &close_task));

#include <check.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/mem.h"
#include "worker/request/packed.h"
#include "worker/request/shelf.h"

#define HOUR_US ((int64_t)3600 * 1000000)
#define ID	"f88e0f61-5897-4609-8da0-37a53061b87b"

static const struct sm_task plain = {.name = "t.plain", .max_retries = SM_UNLIMITED};
static char entry_name[] = "app.t.plain";
static const struct task_entry entry = {.decl = &plain, .name = entry_name};
static const struct config config = {.task_acks_late = true};

static void fill(struct task_message *m, const char *id)
{
	static const char body[] = "[[1, 2], {\"a\": 3}, {\"callbacks\": null, \"chain\": []}]";

	task_message_init(m);
	m->task = arena_strdup(&m->texts, entry_name);
	m->id = arena_strdup(&m->texts, id);
	m->root_id = arena_strdup(&m->texts, id);
	m->correlation_id = m->id;
	m->origin = arena_strdup(&m->texts, "gen1@h");
	m->lang = "py";
	m->argsrepr = arena_strdup(&m->texts, "(1, 2)");
	m->kwargsrepr = arena_strdup(&m->texts, "{'a': 3}");
	m->reply_to = arena_strdup(&m->texts, "c32b1b08-0000-4000-8000-0123456789ab");
	m->exchange = "";
	m->routing_key = arena_strdup(&m->texts, "celery");
	m->body = mem_dup(body, sizeof(body) - 1);
	m->body_len = sizeof(body) - 1;
	m->args = (struct span){m->body + 1, 6};
	m->kwargs = (struct span){m->body + 9, 8};
	m->chain = (struct span){m->body + 47, 2};
	m->eta_us = clock_wall_us() + HOUR_US;
	m->priority = 0;
}

static struct request *make(struct requests *all, const char *id)
{
	struct task_message m;

	fill(&m, id);
	struct request *r = request_new(all, &m, &entry, &config);

	requests_move(all, r, REQUEST_WAITING_ETA);
	return r;
}

static void assert_same_text(const char *a, const char *b)
{
	if (a == NULL || b == NULL)
		ck_assert_ptr_eq(a, b);
	else
		ck_assert_str_eq(a, b);
}

static void assert_same_span(struct span a, struct span b)
{
	ck_assert_int_eq(a.data == NULL, b.data == NULL);
	ck_assert_uint_eq(a.len, b.len);
	if (a.data)
		ck_assert_mem_eq(a.data, b.data, a.len);
}

static void assert_same(const struct task_message *a, const struct task_message *b)
{
	assert_same_text(a->task, b->task);
	assert_same_text(a->id, b->id);
	assert_same_text(a->shadow, b->shadow);
	assert_same_text(a->root_id, b->root_id);
	assert_same_text(a->parent_id, b->parent_id);
	assert_same_text(a->group, b->group);
	assert_same_text(a->origin, b->origin);
	assert_same_text(a->lang, b->lang);
	assert_same_text(a->argsrepr, b->argsrepr);
	assert_same_text(a->kwargsrepr, b->kwargsrepr);
	assert_same_text(a->stamped_headers, b->stamped_headers);
	assert_same_text(a->stamps, b->stamps);
	assert_same_text(a->custom_headers, b->custom_headers);
	assert_same_text(a->correlation_id, b->correlation_id);
	assert_same_text(a->reply_to, b->reply_to);
	assert_same_text(a->exchange, b->exchange);
	assert_same_text(a->routing_key, b->routing_key);
	ck_assert_int_eq(a->protocol, b->protocol);
	ck_assert_int_eq(a->expires_us, b->expires_us);
	ck_assert_int_eq(a->sent_us, b->sent_us);
	ck_assert_int_eq(a->group_index, b->group_index);
	ck_assert_int_eq(a->retries, b->retries);
	ck_assert_int_eq(a->replaced_task_nesting, b->replaced_task_nesting);
	ck_assert(a->time_limit_s == b->time_limit_s);
	ck_assert(a->soft_time_limit_s == b->soft_time_limit_s);
	ck_assert_int_eq(a->ignore_result, b->ignore_result);
	ck_assert_int_eq(a->priority, b->priority);
	ck_assert_int_eq(a->is_redelivered, b->is_redelivered);
	ck_assert_uint_eq(a->body_len, b->body_len);
	ck_assert_mem_eq(a->body, b->body, a->body_len);
	assert_same_span(a->args, b->args);
	assert_same_span(a->kwargs, b->kwargs);
	assert_same_span(a->callbacks, b->callbacks);
	assert_same_span(a->errbacks, b->errbacks);
	assert_same_span(a->chain, b->chain);
	assert_same_span(a->chord, b->chord);
}

static void assert_comes_back(const struct task_message *m)
{
	auto_str bytes = STR_INIT(1 << 20);
	struct task_message back;

	ck_assert_int_eq(packed_write(&bytes, m, entry_name), 0);
	task_message_init(&back);
	packed_read(&back, (const unsigned char *)bytes.data, entry_name);
	assert_same(m, &back);
	task_message_clear(&back);
}

START_TEST(a_message_comes_back_as_it_was_packed)
{
	struct task_message m;

	fill(&m, ID);
	assert_comes_back(&m);
	m.id = "not-a-uuid";
	m.root_id = "F88E0F61-5897-4609-8da0-37a53061b87b"; /* one in capitals stays so */
	m.parent_id = "f88e0f61-5897-4609-8da0-37a53061b87";
	m.group = "";
	m.task = "other.name";
	m.shadow = "żółć";
	m.stamped_headers = "[\"a\"]";
	m.stamps = "{\"a\": 1}";
	m.custom_headers = "{\"x\": null}";
	m.expires_us = -1;
	m.sent_us = INT64_MAX;
	m.group_index = INT64_MIN;
	m.retries = 1000000;
	m.replaced_task_nesting = 3;
	m.time_limit_s = 0.1;
	m.soft_time_limit_s = 1e300;
	m.ignore_result = TRI_TRUE;
	m.priority = -1;
	m.is_redelivered = true;
	m.protocol = 1;
	m.kwargs = (struct span){"{}", 2}; /* lent, as where a body has none */
	assert_comes_back(&m);
	task_message_clear(&m);
}
END_TEST

START_TEST(a_usual_message_needs_fewer_than_200_bytes_besides_its_body)
{
	struct requests all;
	struct task_message m;
	auto_str bytes = STR_INIT(1 << 20);

	requests_init(&all);
	fill(&m, ID);
	ck_assert_int_eq(packed_write(&bytes, &m, entry_name), 0);
	ck_assert_uint_lt(sizeof(struct shelved) + bytes.len - m.body_len, 200);
	task_message_clear(&m);
	requests_clear(&all);
}
END_TEST

START_TEST(one_on_the_shelf_waits_is_found_and_comes_back_whole)
{
	struct requests all;
	struct request *r;

	requests_init(&all);
	r = make(&all, ID);
	r->received_us = 77;
	r->session = 3;
	r->tag = 12345678901;
	ck_assert(shelf_put(&all, r));
	ck_assert_uint_eq(all.counts[REQUEST_WAITING_ETA], 1);
	ck_assert(list_is_empty(&all.lists[REQUEST_WAITING_ETA]));
	ck_assert_ptr_null(requests_find(&all, ID, 1));
	r = requests_find(&all, ID, 0);
	ck_assert_ptr_nonnull(r);
	ck_assert_ptr_null(shelf_first(&all));
	ck_assert_uint_eq(all.counts[REQUEST_WAITING_ETA], 1);
	ck_assert_int_eq(r->state, REQUEST_WAITING_ETA);
	ck_assert(r->policy.acks_late);
	ck_assert_int_eq(r->received_us, 77);
	ck_assert_uint_eq(r->session, 3);
	ck_assert_uint_eq(r->tag, 12345678901);
	ck_assert_int_eq(heap_min(&all.eta)->key, r->message.eta_us);
	requests_clear(&all);
}
END_TEST

START_TEST(what_is_due_soon_or_known_otherwise_is_not_put_there)
{
	struct requests all;
	struct request *r;

	requests_init(&all);
	r = make(&all, ID);
	r->message.eta_us = clock_wall_us() + 500000;
	ck_assert(!shelf_put(&all, r));
	r->message.eta_us = clock_wall_us() + HOUR_US;
	r->has_record = true;
	ck_assert(!shelf_put(&all, r));
	r->has_record = false;
	struct request *twin = make(&all, ID);

	ck_assert(!shelf_put(&all, r));
	request_free(&all, twin);
	ck_assert(shelf_put(&all, r));
	requests_clear(&all);
}
END_TEST

START_TEST(a_second_message_with_its_id_takes_it_down_and_comes_behind_it)
{
	struct requests all;
	struct request *r;

	requests_init(&all);
	r = make(&all, ID);
	r->tag = 1;
	ck_assert(shelf_put(&all, r));
	r = make(&all, ID);
	r->tag = 2;
	ck_assert_ptr_null(shelf_first(&all));
	ck_assert_uint_eq(requests_find(&all, ID, 0)->tag, 1);
	requests_clear(&all);
}
END_TEST

START_TEST(many_are_kept_in_the_order_of_their_time_and_taken_down_by_id)
{
	struct requests all;
	struct map *ids = map_new();
	char id[32];
	int64_t last = 0;

	requests_init(&all);
	for (int i = 0; i < 3000; i++) {
		snprintf(id, sizeof(id), "id-%d", i);
		struct request *r = make(&all, id);

		r->message.eta_us += (i * 7919 % 3000) * 1000;
		r->tag = (uint64_t)i;
		ck_assert(shelf_put(&all, r));
		if (i % 100 == 0)
			map_put(ids, id, ids);
	}
	ck_assert_ptr_nonnull(shelf_find(&all, "id-2999", 0));
	shelf_take_ids(&all, ids);
	ck_assert_ptr_null(shelf_find(&all, "id-2900", 0));
	ck_assert_uint_eq(all.counts[REQUEST_WAITING_ETA], 3000);
	ck_assert_uint_eq(all.shelf.due.count, 2970);
	while (shelf_first(&all)) {
		struct request *r = shelf_take(&all, shelf_first(&all));

		ck_assert_int_ge(r->message.eta_us, last);
		last = r->message.eta_us;
		snprintf(id, sizeof(id), "id-%u", (unsigned)r->tag);
		ck_assert_str_eq(r->message.id, id);
	}
	ck_assert_ptr_null(shelf_find(&all, "id-2999", 0));
	map_free(ids);
	requests_clear(&all);
}
END_TEST

START_TEST(looking_at_one_changes_nothing)
{
	struct requests all;
	struct request *r;

	requests_init(&all);
	ck_assert(shelf_put(&all, make(&all, ID)));
	r = shelf_look(&all, shelf_first(&all));
	ck_assert_str_eq(r->message.id, ID);
	ck_assert_int_eq(r->state, REQUEST_WAITING_ETA);
	request_discard(r);
	ck_assert_ptr_nonnull(shelf_first(&all));
	ck_assert_uint_eq(all.counts[REQUEST_WAITING_ETA], 1);
	ck_assert_uint_eq(all.total, 0);
	requests_clear(&all);
}
END_TEST

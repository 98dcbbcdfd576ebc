/* Mails over a kept connection to a server that offers PIPELINING: what a server may answer, and
 * where it may break off. */
#include <openssl/ssl.h>

#include <auth-client.h>

#include "tasks/email/buf.c"
#include "tasks/email/smtp.c"
#include "tasks/email/smtp_curl.c"
#define kept	kept_link
#define begins	esmtp_begins
#define explain esmtp_explain
#define on_read esmtp_on_read
#include "tasks/email/smtp_esmtp.c"
#include "tasks/email/smtp_esmtp_session.c"
#include "tasks/email/smtp_esmtp_tls.c"
#include "tasks/email/smtp_pipeline.c"

#include <check.h>

#include "tests/unit/tasks/smtp_peer.h"

static struct peer peer;
static struct smtp_reply replies[PIPELINE_RECIPIENTS_MAX + 1];
static bool is_impatient;

static bool is_over(void *arg)
{
	(void)arg;
	return is_impatient;
}

static struct smtp_result send_to(const char *const *recipients, size_t count, const char *data)
{
	struct smtp_server to = {
		.host = "127.0.0.1", .port = peer.port, .timeout_ms = 1000, .idle_ms = 5000};
	struct smtp_mail mail = {"s@b.c", recipients, count, data, strlen(data)};
	struct smtp_patience patience = {is_over, NULL};
	struct smtp_result ret = {.recipients = replies};

	smtp_send("auto", &to, &mail, &patience, &ret);
	return ret;
}

static struct smtp_result send_mail(const char *data)
{
	static const char *const recipients[] = {"a@b.c"};

	return send_to(recipients, 1, data);
}

static const char plain[] = "Subject: x\r\n\r\nx\r\n";

/* One mail is taken by a server like this, which then listens on. */
static void begin(const struct peer *like)
{
	peer = *like;
	if (!peer.extension)
		peer.extension = "PIPELINING";
	peer_start(&peer);
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
}

static void end(void)
{
	smtp_close();
	peer_stop(&peer);
}

START_TEST(commands_leave_together)
{
	begin(&(struct peer){.must_batch = true});
	for (int i = 0; i < 3; i++)
		ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	end();
	ck_assert_int_eq(peer.mails, 4);
	ck_assert_int_eq(peer.connections, 1);
}
END_TEST

/* libesmtp alone asks for MAIL's answer first. */
START_TEST(commands_leave_one_by_one_where_nothing_else_is_offered)
{
	begin(&(struct peer){.must_batch = true, .extension = "DSN"});
	ck_assert_int_eq(send_mail(plain).end, SMTP_LOST);
	end();
}
END_TEST

START_TEST(lines_that_begin_with_a_dot_arrive)
{
	static const char *const cases[][2] = {
		{"Subject: x\r\n\r\n.\r\n", "\r\n\r\n..\r\n"},
		{"Subject: x\r\n\r\n..\r\n.a\r\n\r\n.\r\nb.\r\n",
		 "\r\n\r\n...\r\n..a\r\n\r\n..\r\nb.\r\n"},
		{".Subject: x\r\n\r\nno end", "..Subject: x\r\n\r\nno end\r\n"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		begin(&(struct peer){0});
		memset(peer.last, 0, sizeof(peer.last));
		ck_assert_int_eq(send_mail(cases[i][0]).end, SMTP_SENT);
		end();
		ck_assert_msg(strstr(peer.last, cases[i][1]) != NULL, "%s", peer.last);
	}
}
END_TEST

START_TEST(refusals_are_told_apart_and_the_connection_goes_on)
{
	static const struct {
		struct peer answers;
		enum smtp_end end;
		int code;
	} cases[] = {
		{{.mail = "451 4.7.1 later"}, SMTP_REFUSED_SENDER, 451},
		{{.mail = "550 5.7.1 not you"}, SMTP_REFUSED_SENDER, 550},
		{{.rcpt = "450 4.2.1 grey"}, SMTP_REFUSED_RECIPIENTS, 250},
		{{.rcpt = "550 5.1.1 who", .data = "554 5.5.1 nobody"},
		 SMTP_REFUSED_RECIPIENTS,
		 554},
		{{.data = "452 4.3.1 full"}, SMTP_REFUSED_DATA, 452},
		{{.end = "554 5.6.0 spam"}, SMTP_REFUSED_DATA, 554},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_result ret;

		begin(&(struct peer){0});
		peer.mail = cases[i].answers.mail;
		peer.rcpt = cases[i].answers.rcpt;
		peer.data = cases[i].answers.data;
		peer.end = cases[i].answers.end;
		ret = send_mail(plain);
		ck_assert_msg(ret.end == cases[i].end, "case %zu: %d", i, ret.end);
		ck_assert_int_eq(ret.reply.code, cases[i].code);
		peer.mail = peer.rcpt = peer.data = peer.end = NULL;
		ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
		end();
		ck_assert_msg(peer.connections == 1, "case %zu", i);
		/* What was begun and not ended by a dot is taken back. */
		ck_assert_int_eq(peer.resets, cases[i].answers.data != NULL);
	}
}
END_TEST

/* A 2xx takes nothing yet: the mail has not been sent. */
START_TEST(data_answered_as_if_it_were_over_is_no_success)
{
	struct smtp_result ret;

	begin(&(struct peer){0});
	peer.data = "250 ok";
	ret = send_mail(plain);
	ck_assert_int_eq(ret.end, SMTP_LOST);
	ck_assert_ptr_nonnull(strstr(ret.text, "answered DATA with 250"));
	peer.data = NULL;
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	end();
}
END_TEST

/* libesmtp sends RSET only before a mail of its own. */
START_TEST(a_refused_first_mail_is_taken_back)
{
	peer = (struct peer){.extension = "PIPELINING", .end = "554 5.6.0 spam"};
	peer_start(&peer);
	ck_assert_int_eq(send_mail(plain).end, SMTP_REFUSED_DATA);
	peer.end = NULL;
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	end();
	ck_assert_int_eq(peer.resets, 1);
	ck_assert_int_eq(peer.connections, 1);
}
END_TEST

START_TEST(recipients_are_refused_one_by_one)
{
	static const char *const recipients[] = {"bad@b.c", "a@b.c", "bad2@b.c"};

	begin(&(struct peer){0});
	ck_assert_int_eq(send_to(recipients, 3, plain).end, SMTP_SENT);
	ck_assert_int_eq(replies[0].code, 550);
	ck_assert_str_eq(replies[0].text, "5.1.1 no such user");
	ck_assert_int_eq(replies[1].code, 250);
	ck_assert_int_eq(replies[2].code, 550);
	end();
}
END_TEST

START_TEST(many_recipients_go_by_libesmtp)
{
	const char *recipients[PIPELINE_RECIPIENTS_MAX + 1];

	for (size_t i = 0; i <= PIPELINE_RECIPIENTS_MAX; i++)
		recipients[i] = "a@b.c";
	begin(&(struct peer){0});
	ck_assert_int_eq(send_to(recipients, PIPELINE_RECIPIENTS_MAX, plain).end, SMTP_SENT);
	ck_assert_int_eq(send_to(recipients, PIPELINE_RECIPIENTS_MAX + 1, plain).end, SMTP_SENT);
	ck_assert_int_eq(replies[PIPELINE_RECIPIENTS_MAX].code, 250);
	end();
	ck_assert_int_eq(peer.connections, 1);
}
END_TEST

START_TEST(a_reply_of_many_lines_is_one_text)
{
	static const struct {
		const char *reply, *text;
	} cases[] = {
		{"250-2.0.0 taken\r\n250-2.0.0 as\r\n250 2.0.0 42", "2.0.0 taken as 42"},
		{"250-taken\r\n250-4.5 of it\r\n250", "taken 4.5 of it"},
	};

	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_result ret;

		begin(&(struct peer){0});
		peer.end = cases[i].reply;
		ret = send_mail(plain);
		ck_assert_int_eq(ret.end, SMTP_SENT);
		ck_assert_str_eq(ret.reply.text, cases[i].text);
		end();
	}
}
END_TEST

/* A reply longer than we keep is cut, one without an end is not waited for. */
START_TEST(replies_have_limits)
{
	static char reply[20000];
	struct smtp_result ret;

	snprintf(reply, sizeof(reply), "250 %09000d", 7);
	begin(&(struct peer){0});
	peer.end = reply;
	ret = send_mail(plain);
	ck_assert_int_eq(ret.end, SMTP_SENT);
	ck_assert_uint_eq(strlen(ret.reply.text), sizeof(ret.reply.text) - 1);
	reply[0] = '\0';
	for (size_t i = 0; i < 1000; i++)
		snprintf(reply + i * 10, 11, "250-again\n");
	ck_assert_int_eq(send_mail(plain).end, SMTP_UNKNOWN);
	snprintf(reply, sizeof(reply), "what?");
	peer.end = NULL;
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	peer.end = reply;
	ck_assert_int_eq(send_mail(plain).end, SMTP_UNKNOWN);
	end();
	ck_assert_int_eq(peer.mails, 5);
}
END_TEST

/* Before the dot nobody has the mail, after it somebody may: then it is not sent a second time. */
START_TEST(a_broken_connection_is_lost_or_unknown)
{
	begin(&(struct peer){0});
	peer.cut_at = "RCPT";
	ck_assert_int_eq(send_mail(plain).end, SMTP_LOST);
	peer.cut_at = NULL;
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	peer.cut_at = "DOT";
	ck_assert_int_eq(send_mail(plain).end, SMTP_UNKNOWN);
	end();
	ck_assert_int_eq(peer.mails, 2);
}
END_TEST

START_TEST(a_server_that_says_421_is_left)
{
	begin(&(struct peer){.mails_per_connection = 0});
	peer.end = "421 4.3.2 closing";
	ck_assert_int_eq(send_mail(plain).end, SMTP_REFUSED_DATA);
	peer.end = NULL;
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	ck_assert_int_eq(peer.connections, 2);
	/* Said to MAIL it is about the connection, not the mail. */
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	peer.mail = "421 4.4.2 idle";
	ck_assert_int_eq(send_mail(plain).end, SMTP_REFUSED_SENDER); /* by the next one, too */
	end();
	ck_assert_int_eq(peer.connections, 3);
}
END_TEST

START_TEST(a_silent_server_costs_the_timeout)
{
	int64_t start;

	begin(&(struct peer){0});
	peer.mute_at = "DATA";
	start = smtp_now_ms();
	ck_assert_int_eq(send_mail(plain).end, SMTP_LOST);
	ck_assert_int_ge(smtp_now_ms() - start, 900);
	ck_assert_int_lt(smtp_now_ms() - start, 3000);
	end();
	ck_assert_int_eq(peer.mails, 1);
}
END_TEST

/* Each byte ends a wait before the timeout does. */
START_TEST(a_server_that_dribbles_costs_the_time_of_a_mail)
{
	static const char *const recipients[] = {"a@b.c"};
	struct smtp_mail mail = {"s@b.c", recipients, 1, plain, sizeof(plain) - 1};
	struct smtp_result ret = {.recipients = replies};
	struct smtp_server to;
	int64_t start;

	begin(&(struct peer){.dribble_ms = 20});
	to = kept->server;
	to.timeout_ms = 100;
	peer.dribble_at = "DATA";
	start = smtp_now_ms();
	smtp_send("auto", &to, &mail, NULL, &ret);
	ck_assert_int_eq(ret.end, SMTP_LOST);
	ck_assert_int_lt(smtp_now_ms() - start, 3000);
	end();
}
END_TEST

START_TEST(the_soft_limit_ends_the_dribbling)
{
	int64_t start;

	begin(&(struct peer){.dribble_ms = 20});
	peer.dribble_at = "DATA";
	is_impatient = true;
	start = smtp_now_ms();
	ck_assert_int_eq(send_mail(plain).end, SMTP_EXPIRED);
	ck_assert_int_lt(smtp_now_ms() - start, 900);
	is_impatient = false;
	end();
}
END_TEST

START_TEST(a_line_without_an_end_is_not_read_for_ever)
{
	int64_t start;

	begin(&(struct peer){0});
	peer.dribble_at = "DATA";
	start = smtp_now_ms();
	ck_assert_int_eq(send_mail(plain).end, SMTP_LOST);
	ck_assert_int_lt(smtp_now_ms() - start, 900);
	end();
}
END_TEST

START_TEST(the_soft_limit_ends_the_waiting)
{
	begin(&(struct peer){0});
	peer.mute_at = "MAIL";
	is_impatient = true;
	ck_assert_int_eq(send_mail(plain).end, SMTP_EXPIRED);
	is_impatient = false;
	peer.mute_at = NULL;
	ck_assert_int_eq(send_mail(plain).end, SMTP_SENT);
	end();
	ck_assert_int_eq(peer.mails, 2);
	ck_assert_int_eq(peer.connections, 2); /* the mail without time left was not begun anew */
}
END_TEST

/* The engine's thread counts the idle time from the last mail, whoever sent it. */
START_TEST(an_unused_connection_is_closed_in_time)
{
	struct smtp_server to;
	static const char *const recipients[] = {"a@b.c"};
	struct smtp_mail mail = {"s@b.c", recipients, 1, plain, sizeof(plain) - 1};
	struct smtp_result ret = {.recipients = replies};

	peer = (struct peer){.extension = "PIPELINING"};
	peer_start(&peer);
	to = (struct smtp_server){
		.host = "127.0.0.1", .port = peer.port, .timeout_ms = 1000, .idle_ms = 200};
	for (int i = 0; i < 5; i++) {
		smtp_send("auto", &to, &mail, NULL, &ret);
		ck_assert_int_eq(ret.end, SMTP_SENT);
		poll(NULL, 0, 100);
	}
	ck_assert_int_eq(peer.connections, 1);
	poll(NULL, 0, 300);
	pthread_mutex_lock(&kept->lock);
	ck_assert_int_eq(kept->state, LINK_CLOSED);
	pthread_mutex_unlock(&kept->lock);
	smtp_send("auto", &to, &mail, NULL, &ret);
	ck_assert_int_eq(ret.end, SMTP_SENT);
	end();
	ck_assert_int_eq(peer.connections, 2);
}
END_TEST

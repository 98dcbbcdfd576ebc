/* Both SMTP engines against servers that refuse, hang and break off. Each test runs with each
 * engine, so that a mail ends the same whichever sends it. */
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

static const char *const engines[] = {"auto", "esmtp", "curl"};
static struct peer peer;
static struct smtp_reply replies[2];
static bool is_impatient;

static bool is_over(void *arg)
{
	(void)arg;
	return is_impatient;
}

static struct smtp_server server(void)
{
	return (struct smtp_server){
		.host = "127.0.0.1", .port = peer.port, .timeout_ms = 1000, .idle_ms = 5000};
}

static struct smtp_result send_mail(const char *engine, const struct smtp_server *to, size_t count)
{
	static const char *const recipients[] = {"a@b.c", "bad@b.c"};
	static const char data[] = "Subject: x\r\n\r\n.dot\r\n..\r\nend\r\n";
	struct smtp_mail mail = {"s@b.c", recipients, count, data, sizeof(data) - 1};
	struct smtp_patience patience = {is_over, NULL};
	struct smtp_result ret = {.recipients = replies};

	smtp_send(engine, to, &mail, &patience, &ret);
	return ret;
}

/* One mail to a peer set up by `like`. */
static struct smtp_result run(const char *engine, const struct peer *like)
{
	struct smtp_result ret;
	struct smtp_server to;

	peer = *like;
	peer_start(&peer);
	to = server();
	ret = send_mail(engine, &to, 1);
	smtp_close();
	peer_stop(&peer);
	return ret;
}

#define EACH_ENGINE(engine) for (size_t e_ = 0; e_ < 3 && ((engine) = engines[e_]); e_++)

START_TEST(a_mail_arrives_as_it_is)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_result ret = run(engine, &(struct peer){.extension = "PIPELINING"});

		ck_assert_int_eq(ret.end, SMTP_SENT);
		ck_assert_int_eq(ret.reply.code, 250);
		ck_assert_str_eq(ret.reply.text, "2.0.0 taken");
		/* Dots are doubled on the way. */
		ck_assert_ptr_nonnull(strstr(peer.last, "Subject: x\r\n"));
		ck_assert_ptr_nonnull(strstr(peer.last, "\r\n\r\n..dot\r\n...\r\nend\r\n"));
	}
}
END_TEST

START_TEST(a_connection_is_kept_for_many_mails)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_server to;

		peer = (struct peer){.extension = "PIPELINING"};
		peer_start(&peer);
		to = server();
		for (int i = 0; i < SMTP_MAILS_PER_CONNECTION + 20; i++)
			ck_assert_int_eq(send_mail(engine, &to, 1).end, SMTP_SENT);
		smtp_close();
		peer_stop(&peer);
		ck_assert_int_eq(peer.connections, 2);
		ck_assert_int_eq(peer.mails, SMTP_MAILS_PER_CONNECTION + 20);
	}
}
END_TEST

START_TEST(a_connection_the_server_closed_is_replaced_unseen)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_server to;

		peer = (struct peer){.extension = "PIPELINING", .mails_per_connection = 1};
		peer_start(&peer);
		to = server();
		for (int i = 0; i < 5; i++)
			ck_assert_int_eq(send_mail(engine, &to, 1).end, SMTP_SENT);
		smtp_close();
		peer_stop(&peer);
		ck_assert_int_eq(peer.mails, 5);
		ck_assert_int_eq(peer.connections, 5);
	}
}
END_TEST

/* The server hangs up at the very moment the next mail begins: it cannot have taken it. */
START_TEST(a_connection_that_breaks_at_mail_from_is_replaced_unseen)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_server to;

		peer = (struct peer){.extension = "PIPELINING", .must_cut_second = true};
		peer_start(&peer);
		to = server();
		for (int i = 0; i < 3; i++)
			ck_assert_int_eq(send_mail(engine, &to, 1).end, SMTP_SENT);
		smtp_close();
		peer_stop(&peer);
		ck_assert_int_eq(peer.mails, 3);
		ck_assert_int_eq(peer.connections, 3);
	}
}
END_TEST

START_TEST(every_refusal_is_told_apart)
{
	static const struct {
		struct peer peer;
		enum smtp_end end;
		int code;
	} cases[] = {
		{{.greeting = "554 no service"}, SMTP_REFUSED_CONNECT, 554},
		{{.greeting = "421 busy"}, SMTP_REFUSED_CONNECT, 421},
		{{.mail = "451 later"}, SMTP_REFUSED_SENDER, 451},
		{{.mail = "550 not you"}, SMTP_REFUSED_SENDER, 550},
		{{.data = "452 full"}, SMTP_REFUSED_DATA, 452},
		{{.end = "554 spam"}, SMTP_REFUSED_DATA, 554},
	};
	const char *engine;

	EACH_ENGINE(engine)
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_result ret = run(engine, &cases[i].peer);

		ck_assert_msg(ret.end == cases[i].end, "%s, case %zu: %d", engine, i, ret.end);
		ck_assert_int_eq(ret.reply.code, cases[i].code);
	}
}
END_TEST

/* A 2xx takes nothing yet: the mail has not been sent. */
START_TEST(data_answered_as_if_it_were_over_is_no_success)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_result ret = run(engine, &(struct peer){.data = "250 ok"});

		ck_assert_msg(ret.end == SMTP_LOST, "%s: %d", engine, ret.end);
		ck_assert_str_ne(ret.text, "");
	}
}
END_TEST

START_TEST(recipients_are_refused_one_by_one)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_result ret;
		struct smtp_server to;

		peer = (struct peer){0};
		peer_start(&peer);
		to = server();
		ret = send_mail(engine, &to, 2);
		ck_assert_int_eq(ret.end, SMTP_SENT);
		ck_assert_int_eq(replies[0].code, 250);
		ck_assert_int_eq(replies[1].code, 550);
		ck_assert_str_eq(replies[1].text, "5.1.1 no such user");
		smtp_close();
		peer_stop(&peer);

		ret = run(engine, &(struct peer){.rcpt = "450 greylisted"});
		ck_assert_int_eq(ret.end, SMTP_REFUSED_RECIPIENTS);
		ck_assert_int_eq(replies[0].code, 450);
	}
}
END_TEST

START_TEST(a_broken_connection_is_lost_or_unknown)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		ck_assert_int_eq(run(engine, &(struct peer){.cut_at = "EHLO"}).end, SMTP_LOST);
		ck_assert_int_eq(run(engine, &(struct peer){.cut_at = "MAIL"}).end, SMTP_LOST);
		ck_assert_int_eq(run(engine, &(struct peer){.cut_at = "RCPT"}).end, SMTP_LOST);
		ck_assert_int_eq(run(engine, &(struct peer){.cut_at = "DOT"}).end, SMTP_UNKNOWN);
	}
}
END_TEST

START_TEST(a_silent_server_costs_the_timeout) /* timeout 30 */
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_result ret = run(engine, &(struct peer){.mute_at = "MAIL"});

		ck_assert(ret.end == SMTP_LOST || ret.end == SMTP_TIMEOUT);
	}
}
END_TEST

START_TEST(the_soft_limit_ends_the_waiting)
{
	const char *engine;

	is_impatient = true;
	EACH_ENGINE(engine)
	ck_assert_int_eq(run(engine, &(struct peer){.mute_at = "MAIL"}).end, SMTP_EXPIRED);
	is_impatient = false;
}
END_TEST

START_TEST(nobody_listens)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_server to = server();
		struct smtp_result ret;

		to.port = "1";
		ret = send_mail(engine, &to, 1);
		ck_assert_int_eq(ret.end, SMTP_CONNECT_FAILED);
		ck_assert(ret.is_connection_refused);
		smtp_close();
	}
}
END_TEST

START_TEST(starttls_can_be_demanded)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_server to;

		peer = (struct peer){0};
		peer_start(&peer);
		to = server();
		to.tls = SMTP_TLS_REQUIRED;
		ck_assert_int_eq(send_mail(engine, &to, 1).end, SMTP_NO_STARTTLS);
		smtp_close();
		peer_stop(&peer);
		ck_assert_int_eq(peer.mails, 0);
	}
}
END_TEST

/* With a user set, no mail goes out unauthenticated, whatever the server offers. */
START_TEST(authentication_is_never_skipped)
{
	static const struct {
		struct peer peer;
		enum smtp_end end;
		int mails;
	} cases[] = {
		{{.extension = "AUTH PLAIN"}, SMTP_SENT, 1},
		{{.extension = "AUTH PLAIN", .auth = "535 5.7.8 no"}, SMTP_REFUSED_AUTH, 0},
		{{.extension = "AUTH PLAIN", .auth = "454 4.7.0 later"}, SMTP_REFUSED_AUTH, 0},
		{{0}, SMTP_NO_AUTH_MECHANISM, 0},
		{{.extension = "AUTH X-NEW"}, SMTP_NO_AUTH_MECHANISM, 0},
	};
	const char *engine;

	EACH_ENGINE(engine)
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
		struct smtp_server to;
		struct smtp_result ret;

		peer = cases[i].peer;
		peer_start(&peer);
		to = server();
		to.user = "me";
		to.password = "secret";
		ret = send_mail(engine, &to, 1);
		smtp_close();
		peer_stop(&peer);
		ck_assert_msg(ret.end == cases[i].end, "%s, case %zu: %d", engine, i, ret.end);
		ck_assert_int_eq(peer.mails, cases[i].mails);
	}
}
END_TEST

START_TEST(a_probe_sends_nothing)
{
	const char *engine;

	EACH_ENGINE(engine)
	{
		struct smtp_result ret = {0};
		struct smtp_server to;

		peer = (struct peer){.extension = "AUTH PLAIN"};
		peer_start(&peer);
		to = server();
		to.user = "me";
		to.password = "secret";
		smtp_probe(engine, &to, &ret);
		smtp_close();
		peer_stop(&peer);
		ck_assert_int_eq(ret.end, SMTP_SENT);
		ck_assert_int_eq(peer.connections, 1);
		ck_assert_int_eq(peer.mails, 0);
	}
}
END_TEST

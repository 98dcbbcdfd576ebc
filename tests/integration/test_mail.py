"""The mail tasks against a real SMTP server: errors, TLS, AUTH, Unicode, folding, injection."""
import time

import pytest

import services
from test_clients import mail_env, parse, text_of
from worker import JUDGE

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: the shipped tasks are smallage's")

NAME = "app.tasks.notifications.send_email_task"


class Post:
    def __init__(self, broker, results):
        self.broker, self.results = broker, results

    def send(self, to="to@example.com", subject="Subject", body="Body\n", **kwargs):
        return self.broker.send(NAME, (), {"to": to, "subject": subject, "body": body, **kwargs})

    def sent(self, *args, **kwargs):
        value = self.results.value(self.send(*args, **kwargs))
        assert value["status"] == "sent", value
        return value

    def refused(self, *args, **kwargs):
        return self.results.error(self.send(*args, **kwargs))


@pytest.fixture
def post(broker, results):
    broker.declare()
    return Post(broker, results)


@pytest.fixture(params=["auto", "esmtp", "curl"])
def run(request, post, worker, smtp):
    """All engines, unless the test starts its own worker. A first mail opens the connection, as
    what follows over a kept one is sent in another way."""
    one = worker(concurrency=1, env=mail_env(smtp, EMAIL_ENGINE=request.param,
                                             EMAIL_RETRY_DELAY="0.1"))
    if request.param == "auto":
        post.sent()
        smtp.mails.clear()
    return one


class TestText:
    @pytest.mark.parametrize("subject", [
        "Plain", "Zażółć gęślą jaźń", "日本語の件名", "😀 party 🎉", "=?utf-8?q?fake?=", "é" * 200,
        "word " * 120, "x" * 300, "", " leading and trailing "])
    def test_any_subject_arrives_as_it_was(self, post, run, smtp, subject):
        post.sent(subject=subject)
        message = parse(smtp.wait(1)[0])
        assert message["Subject"].strip() == subject.strip()
        assert not message.defects
        assert all(len(line) <= 998 for line in smtp.mails[0].raw.split(b"\r\n"))

    @pytest.mark.parametrize("body", [
        "one line without an end", "two\nlines\n", ".\n..\n.dot\nend.\n", "Zażółć\n日本語\n😀\n",
        "x" * 5000 + "\n", "\n\n\n", "CRLF\r\nhere\r\n", "trailing spaces   \ntab\t\n",
        "=3D quoted =\n", "From the start\n>From\n"])
    def test_any_body_arrives_as_it_was(self, post, run, smtp, body):
        post.sent(body=body, html="<p>ż</p>")
        message = parse(smtp.wait(1)[0])
        got = text_of(message, "plain")
        assert got.replace("\r\n", "\n").rstrip("\n") == body.replace("\r\n", "\n").rstrip("\n")
        assert text_of(message, "html").strip() == "<p>ż</p>"
        assert all(len(line) <= 998 for line in smtp.mails[0].raw.split(b"\r\n"))
        assert b"\n" not in smtp.mails[0].raw.replace(b"\r\n", b"")

    def test_names_in_any_script_arrive(self, post, run, smtp):
        post.sent(to=['"Żółć, Zoë" <a@example.com>', "日本 太郎 <b@example.com>"],
                  from_email="Müller & Söhne <shop@example.com>", reply_to="help@example.com",
                  cc=["c@example.com"], bcc=["hidden@example.com"], headers={"X-Tenant": "acme"})
        mail = smtp.wait(1)[0]
        message = parse(mail)
        assert [(a.display_name, a.addr_spec) for a in message["To"].addresses] == [
            ("Żółć, Zoë", "a@example.com"), ("日本 太郎", "b@example.com")]
        assert message["From"].addresses[0].display_name == "Müller & Söhne"
        assert message["Reply-To"].addresses[0].addr_spec == "help@example.com"
        assert message["Cc"].addresses[0].addr_spec == "c@example.com"
        assert message["X-Tenant"] == "acme"
        assert message["Bcc"] is None and b"hidden@example.com" not in mail.raw
        assert sorted(mail.recipients) == [f"{name}@example.com"
                                           for name in ("a", "b", "c", "hidden")]

    def test_a_large_mail_arrives_whole(self, post, run, smtp):
        body = "".join(f"line {n} żółć\n" for n in range(100000))
        post.sent(body=body)
        assert text_of(parse(smtp.wait(1)[0]), "plain").replace("\r\n", "\n") == body


class TestInjection:
    @pytest.mark.parametrize("field", [
        {"subject": "x\r\nBcc: evil@example.com"}, {"subject": "x\nBcc: evil@example.com"},
        {"to": "a@example.com\r\nBcc: evil@example.com"}, {"to": ["a@example.com\n<b@example.com>"]},
        {"from_email": "a@example.com\r\nX: y"}, {"reply_to": "a@example.com\nX: y"},
        {"headers": {"X-Tenant": "a\r\nBcc: evil@example.com"}},
        {"headers": {"X-Ten\r\nBcc": "evil@example.com"}}, {"headers": {"Bcc": "evil@example.com"}},
        {"subject": "nul\u0000byte"}, {"to": "a@example.com> SIZE=1\r\nRCPT TO:<evil@example.com"}],
        ids=repr)
    def test_a_line_end_in_a_header_is_refused(self, post, run, smtp, field):
        assert post.refused(**field)[0] == "ValueError"
        post.sent()
        assert [mail.recipients for mail in smtp.wait(1)] == [["to@example.com"]]
        assert b"evil" not in smtp.mails[0].raw

    def test_a_body_that_looks_like_commands_is_a_body(self, post, run, smtp):
        post.sent(body=".\r\nMAIL FROM:<evil@example.com>\r\nRCPT TO:<x@example.com>\r\n.\r\n")
        post.sent()
        assert len(smtp.wait(2)) == 2


class TestErrors:
    @pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
    def test_a_4xx_is_tried_again(self, post, run, smtp, verb):
        smtp.script = [(verb, "451 4.3.0 try later")]
        assert post.sent()["attempts"] == 2
        assert len(smtp.mails) == 1

    @pytest.mark.parametrize("verb,kind", [("MAIL", "SMTPSenderRefused"),
                                           ("RCPT", "SMTPRecipientsRefused"),
                                           ("DATA", "SMTPDataError")])
    def test_a_5xx_fails_at_once_with_the_servers_text(self, post, run, smtp, verb, kind):
        smtp.script = [(verb, "554 5.7.1 we do not like you")]
        got, args, module = post.refused()
        assert (got, module) == (kind, "smtplib")
        assert "we do not like you" in str(args) and "554" in str(args)
        assert post.sent()["attempts"] == 1

    @pytest.mark.parametrize("verb", ["MAIL", "RCPT", "DATA"])
    def test_a_broken_connection_is_tried_again(self, post, run, smtp, verb):
        # A kept connection that breaks at MAIL is replaced unseen: nobody has seen the mail.
        is_unseen = smtp.connections > 0 and verb == "MAIL"
        smtp.script = [(verb, "close")]
        assert post.sent()["attempts"] == (1 if is_unseen else 2)
        assert len(smtp.mails) == 1

    def test_a_server_that_is_away_is_tried_again_until_the_limit(self, post, worker, smtp):
        smtp.close()
        worker(env=mail_env(smtp, EMAIL_RETRY_DELAY="0.1", EMAIL_MAX_RETRIES="2"))
        kind, args, module = post.refused()
        assert (kind, module) == ("ConnectionRefusedError", "builtins")

    def test_a_server_that_comes_back_gets_the_mail(self, post, worker, smtp):
        smtp.close()
        worker(env=mail_env(smtp, EMAIL_RETRY_DELAY="0.5"))
        id = post.send()
        post.results.wait(id, "RETRY")
        smtp.start()
        assert post.results.value(id)["attempts"] > 1

    def test_a_server_that_hangs_is_given_up_in_time(self, post, worker, smtp):
        worker(env=mail_env(smtp, EMAIL_TIMEOUT="1", EMAIL_RETRY_DELAY="0.1"))
        smtp.script = [("DATA", "hang")]
        started = time.monotonic()
        assert post.sent()["attempts"] == 2
        assert time.monotonic() - started < 8

    @pytest.mark.prefork
    def test_a_hard_limit_ends_a_hanging_mail(self, post, worker, smtp):
        worker("--time-limit", 2, env=mail_env(smtp))
        smtp.script = [("MAIL", "hang")]
        assert post.refused()[0] == "TimeLimitExceeded"

    def test_refused_recipients_among_good_ones_are_named(self, post, run, smtp):
        smtp.script = [("RCPT", "550 5.1.1 no such user", "gone@example.com")]
        value = post.sent(to=["to@example.com", "gone@example.com"])
        assert value["refused"]["gone@example.com"][0] == 550
        assert smtp.mails[0].recipients == ["to@example.com"]

    @pytest.mark.parametrize("to", ["", "nobody", "@example.com", [], None, "a@b@c", "a b@c.d"])
    def test_a_wrong_address_never_reaches_the_server(self, post, run, smtp, to):
        assert post.refused(to=to)[0] in ("ValueError", "TypeError")
        assert smtp.mails == []


class TestConnection:
    def test_one_connection_carries_many_mails(self, post, run, smtp):
        ids = [post.send(subject=str(n)) for n in range(30)]
        post.results.wait_all(ids)
        assert len(smtp.wait(30)) == 30
        assert smtp.connections <= 3

    def test_a_kept_connection_that_died_is_replaced_silently(self, post, run, smtp):
        post.sent()
        smtp.close()
        smtp.start()
        assert post.sent()["attempts"] == 1

    @pytest.mark.parametrize("tls", ["starttls", "implicit"])
    @pytest.mark.parametrize("engine", ["auto", "curl"])
    def test_a_mail_goes_over_tls_with_a_password(self, post, worker, tls, engine):
        with services.Smtp(tls=tls, user="shop", password="pä55 w0rd") as server:
            one = worker(env=mail_env(
                server, EMAIL_HOST="localhost", EMAIL_HOST_USER="shop",
                EMAIL_HOST_PASSWORD="pä55 w0rd", EMAIL_CA_FILE=server.ca_file, EMAIL_ENGINE=engine,
                EMAIL_USE_SSL="true" if tls == "implicit" else "auto"))
            assert post.sent()["status"] == "sent"
            assert server.mails[0].user == "shop" and server.mails[0].is_tls
            assert "w0rd" not in one.log

    def test_a_wrong_password_fails_at_once(self, post, worker):
        with services.Smtp(tls="starttls", user="shop", password="right") as server:
            one = worker(env=mail_env(server, EMAIL_HOST="localhost", EMAIL_HOST_USER="shop",
                                      EMAIL_HOST_PASSWORD="wr0ng-one",
                                      EMAIL_CA_FILE=server.ca_file))
            kind, args, module = post.refused()
            assert (kind, args[0], module) == ("SMTPAuthenticationError", 535, "smtplib")
            assert "wr0ng-one" not in one.log

    def test_an_unknown_certificate_is_refused(self, post, worker):
        with services.Smtp(tls="starttls") as server:
            worker(env=mail_env(server, EMAIL_HOST="localhost", EMAIL_USE_TLS="true",
                                EMAIL_MAX_RETRIES="0"))
            kind, args, module = post.refused()
            assert module == "ssl" and server.mails == []

    def test_no_password_goes_over_a_plain_connection(self, post, worker):
        with services.Smtp(user="shop", password="secret", auth_needs_tls=False) as server:
            worker(env=mail_env(server, EMAIL_HOST_USER="shop", EMAIL_HOST_PASSWORD="secret",
                                EMAIL_MAX_RETRIES="0"))
            assert post.refused()[2] == "smtplib"
            assert server.logins == []


class TestSwitches:
    def test_without_email_enabled_nothing_is_sent(self, post, worker, smtp):
        worker(env={**mail_env(smtp), "EMAIL_ENABLED": "False"})
        value = post.results.value(post.send())
        assert value["status"] == "suppressed" and value["to"] == ["to@example.com"]
        assert smtp.connections == 0

    def test_a_template_is_replaced_without_a_build_or_a_restart(self, post, worker, smtp, tmp_path):
        own = tmp_path / "templates" / "welcome"
        own.mkdir(parents=True)
        (own / "subject.txt").write_text("Willkommen, {{ user_name }}!\n")
        (own / "body.txt").write_text("Hallo {{ user_name }}.\n")
        (own / "body.html").write_text("<p>Hallo {{ user_name }}.</p>\n")
        worker(env={**mail_env(smtp), "SMALLAGE_TEMPLATE_DIRS": str(tmp_path / "templates")})
        post.results.value(post.broker.send("app.tasks.notifications.send_welcome_email_task",
                                            ("a@example.com", "<b>Bo</b> & Co")))
        message = parse(smtp.wait(1)[0])
        assert message["Subject"] == "Willkommen, <b>Bo</b> & Co!"
        assert text_of(message, "plain").strip() == "Hallo <b>Bo</b> & Co."
        assert text_of(message, "html").strip() == "<p>Hallo &lt;b&gt;Bo&lt;/b&gt; &amp; Co.</p>"
        # A changed file is read again, without a restart.
        (own / "subject.txt").write_text("Servus, {{ user_name }}!\n")
        post.results.value(post.broker.send("app.tasks.notifications.send_welcome_email_task",
                                            ("a@example.com", "Bo")))
        assert parse(smtp.wait(2)[1])["Subject"] == "Servus, Bo!"

    @pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
    def test_every_pool_sends(self, post, worker, smtp, pool):
        worker(pool=pool, concurrency=4, env=mail_env(smtp))
        ids = [post.send(to=f"u{n}@example.com") for n in range(40)]
        post.results.wait_all(ids)
        assert sorted(m.recipients[0] for m in smtp.wait(40)) == sorted(
            f"u{n}@example.com" for n in range(40))

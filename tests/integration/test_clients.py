"""Every shipped task, called by Celery 5.7, 5.2 and 4.4; the mails are read by Python's email."""
import email
import email.policy
import json
import os
import subprocess

import pytest

from pythons import python_of
from worker import JUDGE

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: the shipped tasks are smallage's")

HERE = os.path.dirname(__file__)
PREFIXES = ["app.tasks.notifications", "src.apps.core.tasks"]


def mail_env(smtp, **more):
    return {"EMAIL_ENABLED": "True", "EMAIL_HOST": "127.0.0.1", "EMAIL_PORT": str(smtp.port),
            "EMAIL_FROM_ADDRESS": "shop@example.com", "EMAIL_FROM_NAME": "The Shop",
            "EMAIL_BASE_URL": "https://shop.example.com/", **more}


def sms_env(twilio, **more):
    return {"SMS_PROVIDER": "twilio", "TWILIO_ACCOUNT_SID": twilio.account,
            "TWILIO_AUTH_TOKEN": twilio.token, "TWILIO_FROM_NUMBER": twilio.sender,
            "TWILIO_API_BASE": twilio.url, "SMS_RETRY_DELAY": "0.1", **more}


def parse(mail):
    return email.message_from_bytes(mail.raw, policy=email.policy.default)


def text_of(message, kind):
    part = message.get_body((kind,))
    return part and part.get_content()


EXPECTED = {
    "plain@example.com": ("Plain", ["Only text."], None),
    "both@example.com": ("Both parts", ["As text"], ["<p>As HTML</p>"]),
    "new@example.com": ("Welcome", ["Hello Zoë Żółć"], ["Zoë Żółć"]),
    "kw@example.com": ("Welcome", ["Hello Kay"], ["Kay"]),
    "buyer@example.com": ("Order A-1001 confirmed", ["A-1001", "99.99 USD"],
                          ["A-1001", "99.99 USD"]),
    "kw-buyer@example.com": ("Order 42 confirmed", ["42", "1234.50 EUR"], ["1234.50 EUR"]),
    "reset@example.com": ("Set a new password for The Shop",
                          ["https://shop.example.com/reset-password?token=t0ken-r", "Hello Ron"],
                          ["https://shop.example.com/reset-password?token=t0ken-r"]),
    "verify@example.com": ("Confirm your mail address for The Shop",
                           ["https://shop.example.com/verify-email?token=t0ken-v", "Vera"],
                           ["token=t0ken-v"]),
    "ip@example.com": ("New sign-in to The Shop from 203.0.113.9",
                       ["203.0.113.9", "token=w-t0ken", "token=b-t0ken"],
                       ["203.0.113.9", "token=w-t0ken", "token=b-t0ken"]),
}


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("version", ["5.7", "5.2", "4.4"])
def test_a_client_calls_every_shipped_task(broker, worker, results, smtp, twilio, test_home,
                                           tmp_path, version, prefix):
    """T-1 T-3 T-26 T-97 T-111"""
    python = python_of(version, test_home)
    broker.declare()
    one = worker(concurrency=2, env={**mail_env(smtp), **sms_env(twilio)})
    done = subprocess.run([python, f"{HERE}/client.py", broker.url, results.url, prefix],
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=100,
                          check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    answer = json.loads(done.stdout.splitlines()[-1])
    assert answer["celery"].startswith(version)
    assert answer["states"] == ["SUCCESS"] * len(answer["ids"])
    check_mails(smtp, answer)
    check_messages(twilio, answer)
    assert answer["errors"][0][0] == answer["errors"][1][0] == "ValueError"
    assert answer["errors"][2][0] == "TypeError"
    assert answer["delayed"] == "+48123456789"
    for secret in ("t0ken-r", "t0ken-v", "w-t0ken", "b-t0ken"):
        assert secret not in one.log
        assert secret not in json.dumps(answer["values"])


def check_mails(smtp, answer):
    mails = {mail.recipients[0]: mail for mail in smtp.mails}
    assert len(smtp.mails) == len(mails) == len(EXPECTED)
    ids = dict(zip([(v["to"] if isinstance(v["to"], str) else v["to"][0])
                    for v in answer["values"]], zip(answer["ids"], answer["values"])))
    for address, (subject, texts, htmls) in EXPECTED.items():
        mail = mails[address]
        message = parse(mail)
        assert not message.defects, (address, message.defects)
        assert mail.sender == "shop@example.com" and mail.recipients == [address]
        assert message["From"].addresses[0].addr_spec == "shop@example.com"
        assert message["From"].addresses[0].display_name == "The Shop"
        assert message["To"].addresses[0].addr_spec == address
        assert message["Subject"].startswith(subject)
        assert message["Date"].datetime is not None
        assert message["MIME-Version"] == "1.0"
        id, value = ids[address]
        assert id in message["Message-ID"] and value["message_id"] == message["Message-ID"]
        assert value["status"] == "sent" and value["attempts"] == 1
        plain = text_of(message, "plain")
        assert all(text in plain for text in texts), (address, plain)
        if htmls is None:
            assert message.get_content_type() == "text/plain"
        else:
            assert message.get_content_type() == "multipart/alternative"
            html = text_of(message, "html")
            assert all(text in html for text in htmls), (address, html)
    welcome = parse(mails["new@example.com"])
    assert welcome["To"].addresses[0].display_name == "Zoë Żółć"


def check_messages(twilio, answer):
    assert [(m["To"], m["Body"], m["From"]) for m in twilio.messages if m["Body"] != "later"] in (
        [("+48123456789", "Your code is 1234", twilio.sender),
         ("+15551234567", "Zażółć 😀", twilio.sender)],
        [("+15551234567", "Zażółć 😀", twilio.sender),
         ("+48123456789", "Your code is 1234", twilio.sender)])
    sids = {m["To"]: m["sid"] for m in twilio.messages if m["Body"] != "later"}
    for value in answer["values"]:
        if isinstance(value["to"], str):
            assert value["sid"] == sids[value["to"]] and value["status"] == "queued"
            assert value["attempts"] == 1


class TestTwilio:
    @pytest.fixture
    def run(self, broker, worker, twilio):
        broker.declare()
        return worker(env=sms_env(twilio))

    def send(self, broker, *args, **kwargs):
        return broker.send("app.tasks.notifications.send_sms_task", args, kwargs)

    def test_a_number_that_is_not_e164_never_leaves(self, broker, results, run, twilio):
        for number in ("48123456789", "+0123456", "+48 123", "", "+1234567890123456"):
            assert results.error(self.send(broker, number, "x"))[0] == "ValueError"
        assert not twilio.requests

    def test_a_text_may_have_1600_characters(self, broker, results, run, twilio):
        assert results.value(self.send(broker, "+48123456789", "ż" * 1600))["status"] == "queued"
        assert results.error(self.send(broker, "+48123456789", "x" * 1601))[0] == "ValueError"
        assert results.error(self.send(broker, "+48123456789", ""))[0] == "ValueError"
        assert len(twilio.messages) == 1

    def test_twilios_own_error_is_the_exception(self, broker, results, run, twilio):
        id = self.send(broker, "+48123456789", "x", sender="+15005550001")
        kind, args, module = results.error(id)
        assert (kind, module) == ("TwilioRestException", "twilio.base.exceptions")
        assert args[0] == 400 and args[3] == 21606 and "is not a valid" in args[2]
        assert len(twilio.requests) == 1

    @pytest.mark.parametrize("status", [429, 500, 503])
    def test_a_temporary_error_is_tried_again(self, broker, results, run, twilio, status):
        twilio.script = [(status, {}, '{"code": 20429, "message": "Too Many Requests"}')] * 2
        value = results.value(self.send(broker, "+48123456789", "x"))
        assert value["attempts"] == 3 and len(twilio.requests) == 3

    def test_retry_after_is_respected(self, broker, results, run, twilio):
        import time
        twilio.script = [(429, {"Retry-After": "2"}, '{"code": 20429, "message": "slow"}')]
        started = time.monotonic()
        assert results.value(self.send(broker, "+48123456789", "x"))["attempts"] == 2
        assert time.monotonic() - started >= 2

    def test_a_broken_connection_is_tried_again(self, broker, results, run, twilio):
        twilio.script = ["close"]
        assert results.value(self.send(broker, "+48123456789", "x"))["attempts"] == 2

    def test_a_wrong_token_fails_at_once(self, broker, results, worker, twilio):
        broker.declare()
        one = worker(env=sms_env(twilio, TWILIO_AUTH_TOKEN="wr0ng-t0ken"))
        kind, args, _ = results.error(self.send(broker, "+48123456789", "x"))
        assert kind == "TwilioRestException" and args[0] == 401
        assert "wr0ng-t0ken" not in one.log

    def test_an_answer_that_is_no_json_does_no_harm(self, broker, results, run, twilio):
        twilio.script = [(502, {"Content-Type": "text/html"}, "<html>bad gateway</html>"),
                         (400, {}, "{broken")]
        kind, args, _ = results.error(self.send(broker, "+48123456789", "x"))
        assert kind == "TwilioRestException" and args[0] == 400

    def test_the_log_provider_sends_nothing(self, broker, results, worker, twilio):
        broker.declare()
        one = worker(env=sms_env(twilio, SMS_PROVIDER="log"))
        value = results.value(self.send(broker, "+48123456789", "secret code"))
        assert value["status"] == "logged"
        one.wait_log(r"SMS to \+48123456789")
        assert "secret code" not in one.log and not twilio.requests

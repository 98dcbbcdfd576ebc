"""Whoever may ask over the broker learns no password."""
import pytest

from kombu.utils.url import maybe_sanitize_url

from mailbox import Mailbox
from worker import JUDGE

ASKED = [("stats", {}), ("conf", {}), ("conf", {"with_defaults": True}), ("report", {})]


@pytest.mark.brokers("rabbitmq", why="the list has AMQP's addresses")
@pytest.mark.parametrize("other", ["amqp://me:hidden@127.0.0.1:1/v", "amqp://me:h%40dden@h2",
                                   "amqp://:hidden@h3//x"])
def test_fail_over_urls_are_shown_without_passwords(broker, worker, other):
    """C-14 C-19 C-69"""
    broker.declare()
    worker(broker_url=f"{broker.url};{other}")
    box = Mailbox(broker)
    for method, arguments in ASKED:
        text = str(box.ask(method, arguments))
        assert "hidden" not in text and "h%40dden" not in text and "guest:guest" not in text, text
    assert box.ask("stats")["broker"]["alternates"] == [maybe_sanitize_url(url)
                                                        for url in (broker.url, other)]
    if not JUDGE:  # which does not count an option as a setting
        shown = box.ask("conf")["broker_url"]
        assert shown == broker.url.replace("guest:guest", "guest:********"), shown
    box.close()


@pytest.mark.smallage_only("settings in the file, and of plug-ins")
def test_settings_of_plug_ins_are_masked(broker, worker):
    """C-19"""
    broker.declare()
    worker(env={"EMAIL_HOST_PASSWORD": "hidden", "EMAIL_HOST": "mail.example",
                "TWILIO_AUTH_TOKEN": "hidden"})
    box = Mailbox(broker)
    for method, arguments in ASKED:
        assert "hidden" not in str(box.ask(method, arguments))
    conf = box.ask("conf")
    assert (conf["email_host"], conf["email_host_password"]) == ("mail.example", "********")
    box.close()

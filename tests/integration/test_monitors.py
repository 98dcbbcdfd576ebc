"""Celery's own monitors: `celery events --dump`, and its screen program, in other time zones too."""
import datetime
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import threading
import time

import pytest

from mailbox import Mailbox
from pythons import python_of
from services.keeper import wait_until

SECONDS = float(os.environ.get("SMALLAGE_CURSES_SECONDS", "12"))
LINE = re.compile(r"^(\S+) \[(.+?)\] (.+?): ?(.*)$")


def is_watched(broker):
    """A monitor has bound its queue."""
    return "#" in broker.bound("celeryev").values()


class Dump:
    """celery events --dump, running."""

    def __init__(self, broker, path, zone="UTC", python=sys.executable):
        self.path = path
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "SMALLAGE_"))}
        with open(path, "wb") as out:
            self.process = subprocess.Popen(
                [python, "-u", "-m", "celery", "-b", broker.url, "events", "--dump"], stdout=out,
                stderr=subprocess.STDOUT, cwd="/tmp",
                env={**clean, "TZ": zone, "PYTHONDONTWRITEBYTECODE": "1"})
        wait_until(lambda: is_watched(broker), 30, "celery events")

    @property
    def text(self):
        return self.path.read_text(errors="replace")

    def rows(self, words=""):
        """(node, time, what, fields as text) of the lines whose event says `words`."""
        found = [LINE.match(line) for line in self.text.splitlines()]
        return [match.groups() for match in found if match and words in match[3]]

    def wait(self, words, count=1, timeout=15):
        wait_until(lambda: len(self.rows(words)) >= count, timeout, f"{words} in {self.text}", 0.1)
        return self.rows(words)

    def close(self):
        self.process.terminate()
        self.process.wait(20)


@pytest.fixture
def dump(broker, tmp_path):
    """dump(zone=, python=) starts one."""
    started = []

    def start(**more):
        started.append(Dump(broker, tmp_path / f"dump-{len(started)}.log", **more))
        return started[-1]
    yield start
    for one in started:
        one.close()


def test_the_dump_shows_every_field(broker, worker, results, dump):
    """C-33"""
    broker.declare()
    one = worker("-E")
    seen = dump()
    # The monitor's own request makes each worker known at once.
    first = seen.wait("heartbeat")[0]
    assert first[0] == one.node
    if broker.kind == "rabbitmq":  # elsewhere it asks before it listens
        assert "freq=5" in first[3] and "active=" not in first[3]
    beats = [row for row in seen.wait("heartbeat", 4) if "freq=2.0" in row[3]]
    for field in ("active", "processed", "loadavg", "sw_ident", "sw_ver", "sw_sys", "pid", "clock"):
        assert f"{field}=" in beats[0][3], beats[0]
    times = [datetime.datetime.fromisoformat(row[1]) for row in beats]
    assert all(1.5 < (later - earlier).total_seconds() < 2.6
               for earlier, later in zip(times, times[1:]))
    results.value(broker.send("add", (1, 2)))
    results.error(broker.send("raise_", ("ValueError", "no luck")))
    for words in ("task received", "task started", "task succeeded", "task failed"):
        assert seen.wait(words)[0][0] == one.node
    one.stop()
    seen.wait("shutdown")
    assert "Traceback" not in seen.text.replace("traceback=Traceback", "")


@pytest.mark.parametrize("zones", [("UTC", "Asia/Kolkata"), ("Asia/Kolkata", "UTC"),
                                   ("America/St_Johns", "Asia/Kolkata")])
@pytest.mark.parametrize("version", ["5.7", "5.2"])
@pytest.mark.deviates("Celery's times are wrong by the difference of the zones")
def test_times_are_true_in_every_zone(broker, worker, results, dump, test_home, zones, version):
    """C-38 C-70"""
    broker.declare()
    seen = dump(zone=zones[1], python=python_of(version, test_home))
    worker("-E", env={"TZ": zones[0]})
    results.value(broker.send("add", (1, 2)))
    now = datetime.datetime.now(datetime.timezone.utc)
    for words in ("started", "heartbeat", "task received", "task succeeded"):
        at = datetime.datetime.fromisoformat(seen.wait(words)[-1][1])
        at = at if at.tzinfo else at.replace(tzinfo=datetime.timezone.utc)
        assert abs((at - now).total_seconds()) < 15, (words, at, now)
    assert "drift" not in seen.text


class Screen:
    """celery events on a terminal: a large one, its pages break where they find no room."""

    def __init__(self, broker):
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 160, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "celery", "-b", broker.url, "events"], stdin=slave,
            stdout=slave, stderr=slave, cwd="/tmp", start_new_session=True,
            env={**os.environ, "TERM": "xterm", "LINES": "60", "COLUMNS": "160",
                 "PYTHONDONTWRITEBYTECODE": "1"})
        os.close(slave)
        self.output = b""
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self):
        while True:
            try:
                data = os.read(self.master, 65536)
            except OSError:
                return
            if not data:
                return
            self.output += data

    def press(self, key):
        os.write(self.master, key.encode())

    def close(self):
        # By a kill: Celery's program now and then misses every interrupt while it draws.
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)


@pytest.mark.slow
@pytest.mark.timeout(max(120, SECONDS * 2 + 60))
def test_the_screen_program_survives_tasks_of_every_fate(broker, worker, results):
    """C-37"""
    broker.declare()
    worker("-E", concurrency=3)
    box = Mailbox(broker)
    screen = Screen(broker)
    try:
        wait_until(lambda: is_watched(broker), 30, "the screen")
        end = time.monotonic() + SECONDS
        number = 0
        while time.monotonic() < end:
            for task, *args in (("add", 1, 2), ("raise_", "ValueError", "żółć " * 50),
                                ("retry", 2), ("retry_raise", 0), ("echo", None), ("ignore",),
                                ("big", 500), ("no.such.task",), ("reject",)):
                broker.send(task, tuple(args))
            box.cast("revoke", {"task_id": f"revoked-{number}"})
            broker.send("noop", id=f"revoked-{number}")
            broker.send("noop", expires="2020-01-01T00:00:00+00:00")
            id = broker.send("sleep", (60,))
            broker.send("sleep", (60,), timelimit=[1, None])
            # Down, down, up, then what is shown of the chosen one: information, traceback, result.
            for key in "jjkit r ":
                screen.press(key)
                time.sleep(0.05)
            box.cast("terminate", {"task_id": id, "signal": "SIGKILL"})
            number += 1
            time.sleep(0.5)
            assert screen.process.poll() is None, screen.output[-3000:].decode(errors="replace")
        # Its thread still draws.
        drawn = len(screen.output)
        id = broker.send("add", (1, 2))
        results.wait(id)

        def draws():
            screen.press(" ")  # whatever page is shown: on
            return len(screen.output) > drawn + 100
        try:
            wait_until(draws, 30, "new lines on the screen", 0.2)
        except AssertionError:
            raise AssertionError(screen.output[-2500:].decode(errors="replace")) from None

        text = screen.output.decode(errors="replace")
        # Not RETRY: the retry's message is received at once, and the screen is drawn once a second.
        assert [word for word in ("testtasks.add", "SUCCESS", "FAILURE") if word not in text] == []
        assert [word for word in ("TypeError", "Exception in thread") if word in text] == []
    finally:
        screen.close()
        box.close()

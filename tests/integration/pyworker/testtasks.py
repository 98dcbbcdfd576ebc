"""The test tasks in Python: what tests/plugin/testtasks/testtasks.c says in C, for the
judge.

SMALLAGE_TEST_SETTINGS holds the settings as JSON; they are those a smallage worker gets as
CELERY_* variables.
"""
import json
import os
import signal
import sys
import time

import celery.exceptions
from celery import Celery
from celery.exceptions import Ignore, Reject, SoftTimeLimitExceeded

from queues import queues_of

app = Celery("testtasks")
app.conf.update(json.loads(os.environ.get("SMALLAGE_TEST_SETTINGS", "{}")))
if app.conf.task_queues:
    app.conf.task_queues = queues_of(app.conf.task_queues)
app.conf.broker_connection_retry_on_startup = True


def task(*args, **options):
    """A task called testtasks.<function>."""
    def register(function):
        return app.task(name=f"testtasks.{function.__name__}", **options)(function)
    return register(*args) if args else register


def exception_class(name):
    module, _, name = name.rpartition(":")
    if module:
        return getattr(sys.modules.get(module) or __import__(module, fromlist=[name]), name)
    found = getattr(__builtins__, name, None) if not isinstance(__builtins__, dict) \
        else __builtins__.get(name)
    return found or getattr(celery.exceptions, name)


@task
def add(x, y):
    return x + y


@task(rate_limit="2/s")
def paced(value=None):
    return value


@task(rate_limit="1/h")
def hourly(value=None):
    return value


@task
def noop():
    pass


@task
def echo(value=None, **extra):
    return value


@task(bind=True)
def header(self, name):
    return (self.request.headers or {}).get(name)


@task
def sleep(seconds):
    time.sleep(seconds)
    return seconds


@task
def spin(seconds):
    """Burns processor time; stops only when the soft limit's exception arrives."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        pass
    return seconds


@task
def raise_(type, text):
    raise exception_class(type)(text)


@task
def raise_args(type, args):
    raise exception_class(type)(*args)


@task
def crash(signal):
    os.kill(os.getpid(), signal)
    time.sleep(10)


@task
def exit_(code):
    os._exit(code)


@task(bind=True, max_retries=None)
def retry(self, times=1, countdown=0):
    if self.request.retries < times:
        raise self.retry(countdown=countdown)
    return self.request.retries


@task(bind=True)
def retry_raise(self, countdown=0):
    raise self.retry(countdown=countdown, exc=ValueError("again"))


@task(bind=True)
def retry_limited(self, countdown=0):
    """Gives no exception, so the limit has its own."""
    raise self.retry(countdown=countdown)


@task(bind=True)
def retry_secret(self, token, countdown=0):
    """In C its token is declared secret; Celery has no such thing."""
    raise self.retry(countdown=countdown)


@task(bind=True, ignore_result=True, max_retries=None)
def retry_ignored(self, times=1, countdown=0):
    if self.request.retries < times:
        raise self.retry(countdown=countdown)
    return self.request.retries


@task(bind=True, default_retry_delay=60)
def crash_retried(self, signal):
    os.kill(os.getpid(), signal)
    time.sleep(10)


@task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=True, max_retries=9)
def autoretry_jitter(self, times=1):
    raise ConnectionError("not yet")


@task(bind=True, autoretry_for=(ConnectionError,), retry_kwargs={"max_retries": 2, "countdown": 0.2})
def autoretry_fixed(self, times=1):
    if self.request.retries < times:
        raise ConnectionError("not yet")
    return self.request.retries


@task(bind=True, autoretry_for=(ConnectionError,), retry_backoff=1, retry_backoff_max=4,
      retry_jitter=False, max_retries=5)
def autoretry_backoff(self, times=1):
    if self.request.retries < times:
        raise ConnectionError("not yet")
    return self.request.retries


@task
def ignore():
    raise Ignore()


@task(acks_late=True)
def reject(requeue=False):
    raise Reject("no reason", requeue=requeue)


@task
def early_reject(requeue=False):
    raise Reject("no reason", requeue=requeue)


@task(bind=True)
def progress(self, steps, pause=0):
    for step in range(1, steps + 1):
        self.update_state(state="PROGRESS", meta={"current": step, "total": steps})
        time.sleep(pause)
    return steps


@task
def big(size):
    return "x" * size


@task
def soft(seconds):
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        return "caught"
    return "slept"


@task
def stubborn(seconds):
    """Goes on through its soft limit."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            time.sleep(end - time.monotonic())
        except SoftTimeLimitExceeded:
            pass
    return seconds


@task(soft_time_limit=1)
def limited(seconds):
    time.sleep(seconds)
    return seconds


@task(acks_late=True)
def late(seconds=0):
    time.sleep(seconds)
    return seconds


@task(acks_late=True, reject_on_worker_lost=True)
def late_requeue(seconds=0):
    time.sleep(seconds)
    return seconds


@task(acks_late=True, acks_on_failure=False)
def late_nofail():
    raise ValueError("no ack")


@task(acks_late=True, acks_on_timeout=False)
def late_timeout(seconds):
    time.sleep(seconds)
    return seconds


@task(ignore_result=True)
def ignored(value=None):
    return value


@task(track_started=True)
def tracked(seconds=0):
    time.sleep(seconds)
    return seconds


_kept = []


@task
def leak(mib):
    _kept.append(b"x" * (mib << 20))
    return os.getpid()


def _write_line(path, mark, text):
    """In a cluster also which worker, and when."""
    node = os.environ.get("CHAOS_NODE")
    seen = f" {node} {time.monotonic():.3f}" if node else ""
    with open(path, "a", buffering=1) as out:
        out.write(f"{mark} {text}{seen}\n")


def _append(path, text, pause):
    _write_line(path, "S", text)
    time.sleep(pause)
    _write_line(path, "E", text)
    return text


@task(acks_late=True, reject_on_worker_lost=True)
def append(path, text, pause=0):
    return _append(path, text, pause)


@task
def append_early(path, text, pause=0):
    return _append(path, text, pause)


def _append_tries(self, path, text, pause, times):
    """All but the last try fail."""
    _append(path, f"{text}:{self.request.retries}", pause)
    if self.request.retries < times:
        raise ConnectionError("not yet")
    return self.request.retries


TRIES = {"bind": True, "autoretry_for": (ConnectionError,),
         "retry_kwargs": {"max_retries": 3, "countdown": 0.05}}


@task(acks_late=True, reject_on_worker_lost=True, **TRIES)
def append_tries(self, path, text, pause=0, times=1):
    return _append_tries(self, path, text, pause, times)


@task(**TRIES)
def append_tries_early(self, path, text, pause=0, times=1):
    return _append_tries(self, path, text, pause, times)


def _send(sigs):
    return [app.signature(each).apply_async().id for each in sigs]


@task
def send_all(sigs):
    """The ids of what it sends."""
    return _send(sigs)


def _send_and(self, end, sigs):
    """What it does once all is sent."""
    _send(sigs)
    if end == "fail":
        raise ValueError("after sending")
    if end == "retry" and self.request.retries == 0:
        raise self.retry(countdown=0)
    if end == "ignore":
        raise Ignore()
    if end == "progress":
        self.update_state(state="PROGRESS", meta={"current": 1, "total": 2})
        time.sleep(1)
    if end == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    return end


@task(bind=True)
def send_and(self, end, sigs):
    return _send_and(self, end, sigs)


@task(bind=True, acks_late=True, reject_on_worker_lost=True)
def send_late(self, end, sigs):
    return _send_and(self, end, sigs)


@task(bind=True)
def again(self, options, times=1, text=None, note=None):
    if self.request.retries < times:
        raise self.retry(**options, exc=ValueError(text) if text else None)
    return [self.request.retries, note, self.request.timelimit]


@task(bind=True)
def request(self, *args, **kwargs):
    names = ["id", "task", "root_id", "parent_id", "group", "group_index", "retries", "eta",
             "expires", "timelimit", "origin", "delivery_info", "headers", "hostname", "reply_to",
             "correlation_id", "shadow", "callbacks", "errbacks", "chain", "chord", "stamps",
             "stamped_headers", "args", "kwargs", "ignore_result", "replaced_task_nesting",
             "argsrepr", "kwargsrepr", "lang"]
    return {name: getattr(self.request, name, None) for name in names}


@task(bind=True)
def replace(self, sig):
    return self.replace(app.signature(sig))


@task(bind=True)
def grow(self, value, sig):
    self.add_to_chord(app.signature(sig))
    return value


@task
def on_error(request, exc, traceback, path=None):
    """A line about what failed; without a path it fails itself."""
    _write_line(path, "X", f"{request.id} {type(exc).__name__} {json.dumps(list(exc.args))} "
                           f"{int(traceback is not None)}")

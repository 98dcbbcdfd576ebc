"""The tasks of compositions in Python: what tests/plugin/canvastasks/canvastasks.c says in C.

Each gives back its tag and what it was called with, so a result tells its whole descent. All take
one value: the result of what came before.
"""
import copy
import json
import os
import time

from celery.exceptions import Ignore, Reject

from testtasks import app

# Celery stores RETRY when the next try is on its way already: another worker must not be quicker.
SOON = 1


def task(*args, **options):
    """A task called canvastasks.<function>."""
    def register(function):
        return app.task(name=f"canvastasks.{function.__name__}", **options)(function)
    return register(*args) if args else register


def write_line(text):
    """To the file that tells what left no record."""
    path = os.environ.get("CANVAS_JOURNAL")
    if path:
        with open(path, "a", buffering=1) as out:
            out.write(text + "\n")


@task
def mark(value=None, tag=""):
    return [tag, value]


@task(ignore_result=True)
def quiet(value=None, tag=""):
    return [tag, value]


@task
def nap(value=None, tag="", seconds=0.02):
    time.sleep(seconds)
    return [tag, value]


@task
def size(value=None, tag=""):
    return len(value)


@task
def draw(value=None, tag=""):
    """Another number each time."""
    time.sleep(0.02)
    return time.monotonic_ns()


@task
def tell(value=None, tag="", text=""):
    """Writes down what it was called with."""
    write_line(f"told {text} {json.dumps(value)}")
    return tag


@task
def fail(value=None, tag=""):
    raise ValueError("failed", tag)


@task(bind=True, max_retries=None)
def again(self, value=None, tag="", times=1):
    if self.request.retries < times:
        raise self.retry(countdown=SOON)
    return [tag, value, self.request.retries]


@task(bind=True, max_retries=1)
def give_up(self, value=None, tag=""):
    raise self.retry(countdown=SOON, exc=ValueError("gave up"))


@task
def skip(value=None, tag=""):
    raise Ignore()


@task
def turn_down(value=None, tag=""):
    raise Reject("no reason", requeue=False)


@task(bind=True)
def swap(self, value=None, tag="", sig=None):
    """Replaces itself."""
    raise self.replace(app.signature(copy.deepcopy(sig)))


@task(bind=True)
def grow(self, value=None, tag="", sig=None):
    """Adds to the chord that it is part of."""
    self.add_to_chord(app.signature(copy.deepcopy(sig)))
    return [tag, value]


@task
def send(value=None, tag="", sig=None):
    app.signature(copy.deepcopy(sig)).apply_async()
    return [tag, value]


@task
def note_error(id, *, tag=""):
    """An errback of the old style: a task of its own."""
    return ["error", tag]


@task
def note_failure(request, exc, traceback):
    """An errback of the new style: called in the worker of the task that failed."""
    write_line(f"{request.id} {type(exc).__name__} {json.dumps(exc.args)}")

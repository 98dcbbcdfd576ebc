"""One RabbitMQ and one Redis for all tests of a process; a virtual host and a database for each."""
import contextlib
import itertools
import os
import pathlib
import time

import pytest

import services
from broker import Broker
from results import Results
from worker import BUILD, JUDGE, SANITIZERS, Worker

_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "deviates(why): smallage does better than Celery here")
    config.addinivalue_line("markers", "smallage_only(why): Celery has no such thing")
    config.addinivalue_line("markers", "prefork: a process that runs a task is killed")
    config.addinivalue_line("markers", "judge_only(why): not in this version of smallage")
    if not JUDGE and not (BUILD / "bin/smallage").exists():
        pytest.exit(f"{BUILD}/bin/smallage is missing: make", returncode=3)
    os.environ.update(SANITIZERS)  # commands that tests run themselves


def pytest_collection_modifyitems(items):
    for item in items:
        for name in ("deviates", "smallage_only"):
            mark = item.get_closest_marker(name)
            if JUDGE and mark:
                item.add_marker(pytest.mark.skip(reason=f"{name}: {mark.args[0]}"))
        if os.environ.get("SMALLAGE_POOL", "prefork") != "prefork" and \
                item.get_closest_marker("prefork"):
            item.add_marker(pytest.mark.skip(reason="only a process can be killed"))
        mark = item.get_closest_marker("judge_only")
        if not JUDGE and mark:
            item.add_marker(pytest.mark.skip(reason=f"judge_only: {mark.args[0]}"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the logs of its workers."""
    report = yield
    if report.failed:
        for worker in item.funcargs.get("worker").all if "worker" in item.funcargs else ():
            report.sections.append((" ".join(worker.command[-12:]), worker.log[-6000:]))
    return report


@pytest.fixture(scope="session")
def rabbit():
    with services.RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server():
    with services.Redis() as server:
        yield server


@contextlib.contextmanager
def fresh_broker(rabbit):
    vhost = rabbit.add_vhost(f"t{next(_numbers)}")
    own = Broker(rabbit, vhost)
    yield own
    own.close()
    rabbit.delete_vhost(vhost)


@contextlib.contextmanager
def fresh_results(redis_server):
    store = Results(redis_server.port, next(_numbers) % 200)
    store.client.flushdb()
    yield store
    store.client.flushdb()
    store.close()


@pytest.fixture
def broker(rabbit):
    with fresh_broker(rabbit) as own:
        yield own


@pytest.fixture
def results(redis_server):
    with fresh_results(redis_server) as store:
        yield store


@pytest.fixture
def worker(broker, results, tmp_path):
    """worker(*options, concurrency=2, queues=, pool=, settings={}, ...) starts one."""
    started = []

    def start(*options, broker_url=broker.url, backend_url=results.url, **more):
        one = Worker(tmp_path, broker_url, backend_url, *options, **more)
        started.append(one)
        return one

    start.all = started
    start.is_judge = JUDGE
    yield start
    for one in started:
        one.end()
    for one in started:
        assert not one.faults(), "\n".join(one.faults()) + "\n" + one.log[-6000:]
        if not one.judge and not one.may_fault:
            assert one.code in (0, 1, -15), f"the worker ended with {one.code}"


@pytest.fixture
def pair(rabbit, redis_server, tmp_path):
    """pair(*options, settings=, concurrency=, ...) starts Celery's worker and the tested one."""
    from pair import Pair, Side
    with contextlib.ExitStack() as stack:
        def start(*options, **more):
            sides = [Side(stack, rabbit, redis_server, tmp_path / name, judge, options, **more)
                     for name, judge in (("judge", True), ("tested", JUDGE))]
            for side in sides:
                side.worker.wait_ready()
                side.mailbox.settle(5)
            return Pair(*sides)
        yield start


@pytest.fixture
def app(broker, results):
    """A Python producer of Celery 5.7, in this process."""
    from celery import Celery
    client = Celery("client", broker=broker.url, backend=results.url, set_as_current=False)
    client.conf.broker_connection_retry = False
    yield client
    client.close()


@pytest.fixture
def control(app):
    """control(method, **arguments): what the only worker answers; control.took: in how many
    seconds."""
    def call(method, **arguments):
        started = time.monotonic()
        replies = app.control.broadcast(method, arguments=arguments, reply=True, timeout=5, limit=1)
        assert len(replies) == 1, replies
        call.took = time.monotonic() - started
        return next(iter(replies[0].values()))
    return call


@pytest.fixture
def smtp():
    with services.Smtp() as server:
        yield server


@pytest.fixture
def twilio():
    with services.Twilio() as server:
        yield server


@pytest.fixture(scope="session")
def test_home():
    return pathlib.Path(os.environ.get("SMALLAGE_TEST_HOME",
                                       pathlib.Path.home() / ".cache/smallage-tests"))

"""One broker and one Redis for all tests of a process; a virtual host and a database for each.

SMALLAGE_BROKER: rabbitmq (default), redis or filesystem, for the tests whose subject is no broker.
"""
import contextlib
import itertools
import os
import pathlib
import time

import pytest

import services
from broker import Broker
from broker_folder import FolderBroker
from broker_redis import RedisBroker
from results import Results
from worker import BUILD, JUDGE, SANITIZERS, Worker

KIND = os.environ.get("SMALLAGE_BROKER", "rabbitmq")
# Where a fixture tells that the subject is one server.
SERVERS = {"rabbit": "rabbitmq", "redis_broker": "redis"}
_numbers = itertools.count(1)


def pytest_configure(config):
    config.addinivalue_line("markers", "deviates(why): smallage does better than Celery here")
    config.addinivalue_line("markers", "smallage_only(why): Celery has no such thing")
    config.addinivalue_line("markers", "brokers(*kinds, why=): only on these")
    config.addinivalue_line("markers", "judge_cannot(kind, why): Celery's worker fails on this broker")
    config.addinivalue_line("markers", "prefork: a process that runs a task is killed")
    config.addinivalue_line("markers", "judge_only(why): not in this version of smallage")
    if not JUDGE and not (BUILD / "bin/smallage").exists():
        pytest.exit(f"{BUILD}/bin/smallage is missing: make", returncode=3)
    os.environ.update(SANITIZERS)  # commands that tests run themselves


def _reasons(item):
    """Why a test is not run."""
    for name in ("deviates", "smallage_only"):
        mark = item.get_closest_marker(name)
        if JUDGE and mark:
            yield f"{name}: {mark.args[0]}"
    mark = item.get_closest_marker("judge_only")
    if not JUDGE and mark:
        yield f"judge_only: {mark.args[0]}"
    if os.environ.get("SMALLAGE_POOL", "prefork") != "prefork" and \
            item.get_closest_marker("prefork"):
        yield "only a process can be killed"
    for mark in item.iter_markers("brokers"):
        if KIND not in mark.args:
            yield f"only on {', '.join(mark.args)}: {mark.kwargs['why']}"
    for mark in item.iter_markers("judge_cannot"):
        if JUDGE and KIND == mark.args[0]:
            yield f"Celery on {KIND}: {mark.args[1]}"
    if KIND != "rabbitmq" and not {"broker", "new_broker", "scene"} & set(item.fixturenames):
        yield "it has no broker, or one of its own"
    for fixture, kind in SERVERS.items():
        if fixture in item.fixturenames and KIND not in (kind, "rabbitmq"):
            yield f"its subject is {kind}"


def pytest_collection_modifyitems(items):
    for item in items:
        for reason in _reasons(item):
            item.add_marker(pytest.mark.skip(reason=reason))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the logs of its workers."""
    report = yield
    if report.failed:
        for worker in item.funcargs.get("worker").all if "worker" in item.funcargs else ():
            report.sections.append((" ".join(worker.command[-12:]), worker.log[-6000:]))
    return report


def pytest_terminal_summary(terminalreporter):
    """What tests of many cases say about their number."""
    lines = [f"{report.nodeid.split('::')[-1]}: {value}"
             for reports in terminalreporter.stats.values() for report in reports
             for name, value in getattr(report, "user_properties", ()) if name == "compared"
             and report.when == "call"]
    if lines:
        terminalreporter.section("compared")
        terminalreporter.write("\n".join(sorted(lines)) + "\n")


@pytest.fixture(scope="session")
def rabbit():
    with services.RabbitMQ() as server:
        yield server


@pytest.fixture(scope="session")
def redis_server():
    with services.Redis() as server:
        yield server


@pytest.fixture(scope="session")
def redis_for_brokers():
    """Not that of the results: what stops or fills one leaves the other alone."""
    with services.Redis() as server:
        yield server


@contextlib.contextmanager
def fresh_rabbit_broker(rabbit):
    vhost = rabbit.add_vhost(f"t{next(_numbers)}")
    own = Broker(rabbit, vhost)
    yield own
    own.close()
    rabbit.delete_vhost(vhost)


@contextlib.contextmanager
def fresh_redis_broker(server):
    own = RedisBroker(server, next(_numbers) % 200)
    own.client.flushdb()
    yield own
    own.client.flushdb()
    own.close()


@contextlib.contextmanager
def fresh_folder_broker(folder):
    own = FolderBroker(folder)
    yield own
    own.close()


def broker_maker(request, tmp_path, kind=KIND):
    """A function that gives a context with a broker nobody else uses."""
    if kind == "rabbitmq":
        return lambda: fresh_rabbit_broker(request.getfixturevalue("rabbit"))
    if kind == "redis":
        return lambda: fresh_redis_broker(request.getfixturevalue("redis_for_brokers"))
    if kind == "filesystem":
        return lambda: fresh_folder_broker(tmp_path / f"broker-{next(_numbers)}")
    raise pytest.UsageError(f"SMALLAGE_BROKER={kind}: rabbitmq, redis or filesystem")


@contextlib.contextmanager
def fresh_results(redis_server):
    store = Results(redis_server.port, next(_numbers) % 200)
    store.client.flushdb()
    yield store
    store.client.flushdb()
    store.close()


@pytest.fixture
def new_broker(request, tmp_path):
    return broker_maker(request, tmp_path)


@pytest.fixture
def broker(new_broker):
    with new_broker() as own:
        yield own


@pytest.fixture
def redis_broker(request, tmp_path):
    """Always Redis, for tests that look at its keys."""
    with broker_maker(request, tmp_path, "redis")() as own:
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
        if broker_url == broker.url:
            more.setdefault("broker", broker)
        listeners = broker.listeners()
        one = Worker(tmp_path, broker_url, backend_url, *options, **more)
        started.append(one)
        if more.get("ready", True):
            broker.wait_listeners(listeners + 1)
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
def pair(new_broker, redis_server, tmp_path):
    """pair(*options, settings=, concurrency=, ...) starts Celery's worker and the tested one."""
    from pair import Pair, Side
    with contextlib.ExitStack() as stack:
        def start(*options, **more):
            sides = [Side(stack, new_broker, redis_server, tmp_path / name, judge, options, **more)
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
    client.conf.broker_transport_options = broker.transport_options or {}
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

"""Flower with two workers and a browser; the harness is that of tests/integration."""
import types

import pytest

from browser import Browser
from integration.conftest import (broker_maker, fresh_results, pytest_collection_modifyitems,  # noqa: F401
                                  pytest_configure, rabbit, redis_for_brokers,  # noqa: F401
                                  redis_server, test_home)  # noqa: F401
from server import Flower
from worker import Worker

_scenes = []


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows the logs."""
    report = yield
    if report.failed and _scenes:
        scene = _scenes[-1]
        for name, log in (("Flower", scene.flower.log), *((one.node, one.log)
                                                          for one in scene.workers)):
            report.sections.append((name, log[-4000:]))
    return report


@pytest.fixture(scope="module")
def scene(request, redis_server, test_home, tmp_path_factory):  # noqa: F811
    """Everything of one module: what a test changes, the next one sees."""
    folder = tmp_path_factory.mktemp("flower")
    with broker_maker(request, folder)() as broker, fresh_results(redis_server) as results:
        broker.declare()
        broker.declare("other")
        one = types.SimpleNamespace(broker=broker, results=results, workers=[], folder=folder)
        settings = {"worker_pool_restarts": True, "task_send_sent_event": True}
        one.main = Worker(folder, broker.url, results.url, name="main@flower.test",
                          settings=settings)
        one.auto = Worker(folder, broker.url, results.url, "--autoscale", "4,1", queues="other",
                          concurrency=None, name="auto@flower.test", settings=settings)
        one.workers = [one.main, one.auto]
        options = []
        if broker.kind == "rabbitmq":
            options = [f"--broker-api=http://guest:guest@127.0.0.1:{broker.rabbit.api_port}/api/"]
        one.flower = Flower(test_home, folder, broker.url, results.url, *options)
        one.browser = Browser()
        _scenes.append(one)
        yield one
        one.browser.close()
        one.flower.close()
        for worker in one.workers:
            worker.end()
        for worker in one.workers:
            assert not worker.faults(), worker.log[-4000:]


@pytest.fixture(scope="module")
def app(scene):
    """A producer that tells of what it sends."""
    from celery import Celery
    client = Celery("client", broker=scene.broker.url, backend=scene.results.url,
                    set_as_current=False)
    client.conf.task_send_sent_event = True
    yield client
    client.close()

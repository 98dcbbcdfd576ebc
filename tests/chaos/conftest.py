"""Servers that die are this folder's own; the harness is that of tests/integration."""
import os
import random

import pytest

import services
import tally
import verdict
from cluster import Cluster
from integration.conftest import broker, new_broker, rabbit, results, worker  # noqa: F401
from integration.conftest import redis_for_brokers  # noqa: F401
from integration.conftest import pytest_collection_modifyitems as modify_integration
from integration.conftest import pytest_configure as configure_integration
from world import World

SEED = int(os.environ.setdefault("CHAOS_SEED", str(random.SystemRandom().randrange(1 << 32))))
TABLES = {"chaos": tally.table, "clusters on Redis": verdict.table}
rows = {name: [] for name in TABLES}


def pytest_configure(config):
    configure_integration(config)
    config.addinivalue_line("markers", "chaos: kills servers and processes under load")


def pytest_collection_modifyitems(items):
    """Over RabbitMQ each test loads both processors by itself, so those follow each other; over
    Redis they have little to do for most of the time, and run beside."""
    modify_integration(items)
    for item in items:
        if not item.path.name.startswith("test_redis"):
            item.add_marker(pytest.mark.xdist_group("one after the other"))


def pytest_report_header():
    return f"chaos: seed {SEED}"


def pytest_runtest_logreport(report):
    """The rows of the tables come with the reports, also from tests that ran in other processes."""
    if report.when == "teardown":
        for name, cells in report.user_properties:
            if name in rows:
                rows[name].append(cells)


def pytest_terminal_summary(terminalreporter):
    for name, lines in rows.items():
        if lines:
            terminalreporter.section(f"{name}, seed {SEED}")
            terminalreporter.write(TABLES[name](lines))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """A failed test shows its kills and the logs of its last workers."""
    report = yield
    if report.failed:
        workers = list(item.funcargs["worker"].all) if "worker" in item.funcargs else []
        if "world" in item.funcargs:
            world = item.funcargs["world"]
            workers += world.workers
            report.sections.append(("kills", " ".join(kill.kind for kill in world.kills)))
        if "cluster" in item.funcargs:
            workers += [node.worker for one in item.funcargs["cluster"].all for node in one.nodes]
        for one in workers[-3:]:
            report.sections.append((one.log_path.name, one.log[-6000:]))
    return report


@pytest.fixture(scope="session")
def redis_server():
    # What it has confirmed is on disk: a result that is missing then was lost by the worker.
    with services.Redis("--appendfsync", "always") as server:
        yield server


@pytest.fixture
def world(request, rabbit, broker, redis_server, results, tmp_path):  # noqa: F811
    one = World(request.node.name, f"{SEED} {request.node.name}", rabbit, broker, redis_server,
                results, tmp_path)
    yield one
    request.node.user_properties += [("chaos", found.cells()) for found in one.found]
    one.close()


@pytest.fixture
def cluster(request, results, tmp_path):  # noqa: F811
    """cluster(visibility_s=, server_args=, ...) makes one, without workers yet."""
    def make(**options):
        name = request.node.name
        make.all.append(Cluster(name, f"{SEED} {name}", results, tmp_path, **options))
        return make.all[-1]

    make.all = []
    yield make
    for one in make.all:
        if one.found:
            request.node.user_properties += [("clusters on Redis", one.found.cells(kind))
                                             for kind in one.found.kinds()]
        one.close()

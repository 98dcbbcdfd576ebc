"""Servers that die are this folder's own; the harness is that of tests/integration."""
import os
import random

import pytest

import services
import tally
from integration.conftest import broker, rabbit, results, worker  # noqa: F401
from integration.conftest import pytest_collection_modifyitems  # noqa: F401
from integration.conftest import pytest_configure as configure_integration
from world import World

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))


def pytest_configure(config):
    configure_integration(config)
    config.addinivalue_line("markers", "chaos: kills servers and processes under load")


def pytest_report_header():
    return f"chaos: seed {SEED}"


def pytest_terminal_summary(terminalreporter):
    if tally.rows:
        terminalreporter.section(f"chaos, seed {SEED}")
        terminalreporter.write(tally.table())


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
    one.close()

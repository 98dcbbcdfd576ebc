"""Servers that die are this folder's own; the harness is that of tests/integration."""
import os
import random

import pytest

import services
import tally
from integration.conftest import (broker, pytest_configure as _configure,  # noqa: F401
                                  pytest_runtest_makereport, rabbit, results, worker)
from world import World

SEED = int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(1 << 32))


def pytest_configure(config):
    _configure(config)
    config.addinivalue_line("markers", "chaos: kills servers and processes under load")


def pytest_report_header():
    return f"chaos: seed {SEED}"


def pytest_terminal_summary(terminalreporter):
    if tally.rows:
        terminalreporter.section(f"chaos, seed {SEED}")
        terminalreporter.write(tally.table())


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

"""What the tests of links, chains, groups and chords share; imported by name, as fixtures."""
import pytest


@pytest.fixture
def queue(broker):
    """Nobody consumes from `later` and `errors`."""
    for name in ("celery", "later", "errors"):
        broker.declare(name)
    return broker


@pytest.fixture
def sig(app):
    """sig("add", 1, y=2) is a signature of the test task."""
    def make(name, *args, **kwargs):
        return app.signature(f"testtasks.{name}", args=args, kwargs=kwargs)
    return make

"""Results in the tables of Celery's SQLAlchemy backend: tasks.md section 9, lines 119 and 181."""
import datetime
import json
import sqlite3
import subprocess
import time

import pytest
import services
from celery import Celery, chain, chord, signature

from services.keeper import wait_until
from worker import BUILD

COLUMNS = ["id", "task_id", "status", "result", "date_done", "traceback", "children", "name",
           "args", "kwargs", "worker", "retries", "queue", "stamps"]


class Sqlite:
    def __init__(self, folder):
        self.path = folder / "results.db"
        self.url = f"db+sqlite:///{self.path}"

    def row(self, id, table="celery_taskmeta"):
        if not self.path.exists():
            return None
        link = sqlite3.connect(self.path, timeout=10)
        link.row_factory = sqlite3.Row
        try:
            found = link.execute(f"SELECT * FROM {table} WHERE task_id = ?", (id,)).fetchone()
        except sqlite3.OperationalError:
            return None  # no table yet
        finally:
            link.close()
        return found and dict(found)

    def run(self, text):
        link = sqlite3.connect(self.path, timeout=10)
        link.executescript(text)
        link.close()


class PostgresTables:
    count = 0

    def __init__(self, server):
        PostgresTables.count += 1
        self.server, self.name = server, f"shop{PostgresTables.count}"
        server.ask(f"CREATE DATABASE {self.name}")
        self.url = "db+" + server.url(self.name, "+psycopg2")

    def row(self, id, table="celery_taskmeta"):
        import psycopg2
        import psycopg2.extras
        link = psycopg2.connect(self.server.url(self.name))
        with link, link.cursor(cursor_factory=psycopg2.extras.RealDictCursor) as cursor:
            cursor.execute("SELECT to_regclass(%s) IS NOT NULL AS there", (table,))
            found = None
            if cursor.fetchone()["there"]:
                cursor.execute(f"SELECT * FROM {table} WHERE task_id = %s", (id,))
                found = cursor.fetchone()
        link.close()
        return found and {k: bytes(v) if isinstance(v, memoryview) else v
                          for k, v in found.items()}

    def run(self, text):
        self.server.ask(text, self.name)


@pytest.fixture(scope="module")
def postgres():
    with services.Postgres() as server:
        yield server


@pytest.fixture(params=["sqlite", "postgresql"])
def database(request, tmp_path):
    if request.param == "sqlite":
        return Sqlite(tmp_path)
    return PostgresTables(request.getfixturevalue("postgres"))


@pytest.fixture
def tables(broker, worker, database):
    """tables(*options, ...) starts a worker that stores there; tables.app: a Python client."""
    broker.declare()

    def start(*options, **more):
        return worker(*options, backend_url=database.url, **more)
    start.app = Celery("client", broker=broker.url, backend=database.url, set_as_current=False)
    start.app.conf.result_extended = True  # else it does not read those columns
    start.app.conf.broker_transport_options = broker.transport_options or {}
    yield start
    start.app.close()


def wait_row(database, id, state=None, timeout=20):
    def is_there():
        row = database.row(id)
        return row and row["status"] in ((state,) if state else ("SUCCESS", "FAILURE")) and row
    return wait_until(is_there, timeout, "a row")


def get(result):
    return result.get(timeout=20, interval=0.05)


def test_clients_read_what_was_stored(tables, broker, database):
    """T-119 T-181"""
    tables(settings={"result_extended": True})
    app = tables.app
    sent = [app.send_task("testtasks.add", (n, 1)) for n in range(40)]
    failing = app.send_task("testtasks.raise_", ("ValueError", "no"))
    retrying = app.send_task("testtasks.retry", (2, 0.1))
    steps = chain(signature("testtasks.add", (1, 2), app=app),
                  signature("testtasks.add", (3,), app=app), app=app).apply_async()
    assert [get(each) for each in sent] == [n + 1 for n in range(40)]
    with pytest.raises(ValueError) as error:
        get(failing)
    assert error.value.args == ("no",)
    assert get(retrying) == 2 and get(steps) == 6
    assert [child.id for child in steps.parent.children] == [steps.id]

    id = broker.send("add", (1, 2), stamped_headers=["st"], stamps={"st": "abc", "no": 1})
    row = wait_row(database, id)
    # The order in a table of before differs.
    assert sorted(row) == sorted(COLUMNS)
    assert json.loads(row["result"]) == 3 and row["traceback"] is None
    assert row["children"] is None
    assert (row["name"], json.loads(row["args"]), json.loads(row["kwargs"])) == \
        ("testtasks.add", [1, 2], {})
    assert (row["retries"], row["queue"]) == (0, "celery") and row["worker"].endswith("@test")
    assert json.loads(row["stamps"]) == {"stamped_headers": ["st"], "stamps": {"st": "abc"}}
    meta = app.AsyncResult(id).backend.get_task_meta(id)
    assert meta["st"] == "abc" and meta["stamped_headers"] == ["st"]
    now = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None)
    assert abs((meta["date_done"] - now).total_seconds()) < 60


def test_a_success_is_kept_and_a_failure_is_not(tables, broker, database):
    """T-181"""
    tables()
    kept = broker.send("echo", (1,))
    wait_row(database, kept, "SUCCESS")
    broker.send("raise_", ("ValueError", "x"), id=kept)
    broker.send("echo", (2,), id=kept)
    other = broker.send("raise_", ("ValueError", "x"))
    wait_row(database, other, "FAILURE")
    broker.send("echo", (3,), id=other)
    row = wait_row(database, other, "SUCCESS")
    assert json.loads(row["result"]) == 3 and row["traceback"] is None
    broker.wait_empty()
    assert json.loads(wait_row(database, kept)["result"]) == 1


def test_tables_of_celery_5_6_get_their_columns(tables, broker, database):
    """T-181"""
    is_sqlite = isinstance(database, Sqlite)
    bytes_type = "BLOB" if is_sqlite else "BYTEA"
    if not is_sqlite:
        database.run("CREATE SEQUENCE task_id_sequence")
    database.run(f"""
        CREATE TABLE celery_taskmeta (id INTEGER NOT NULL PRIMARY KEY
        {"AUTOINCREMENT" if is_sqlite else ""}, task_id VARCHAR(155), status VARCHAR(50),
        result {bytes_type}, date_done {"DATETIME" if is_sqlite else "TIMESTAMP"}, traceback TEXT,
        UNIQUE (task_id))""")
    tables()
    result = tables.app.send_task("testtasks.add", (1, 2))
    assert get(result) == 3
    assert sorted(wait_row(database, result.id)) == sorted(COLUMNS)


def test_serializer_and_names_of_the_tables(tables, broker, database):
    """T-119"""
    names = {"database_table_names": {"task": "Shop results"}, "result_serializer": "msgpack"}
    tables(settings=names)
    app = tables.app
    app.conf.update(names, accept_content=["json", "msgpack"])
    result = app.send_task("testtasks.echo", ([1, {"a": "b"}],))
    assert get(result) == [1, {"a": "b"}]
    assert database.row(result.id, '"Shop results"')["result"] == b"\x92\x01\x81\xa1a\xa1b"


def test_expired_rows_are_removed_when_asked_to(tables, broker, database):
    """T-150"""
    tables(settings={"result_expires": 3600})
    old, new = broker.send("echo", (1,)), broker.send("echo", (2,))
    wait_row(database, old), wait_row(database, new)
    database.run(f"UPDATE celery_taskmeta SET date_done = '2020-01-01' WHERE task_id = '{old}'")
    broker.send("celery.backend_cleanup")
    wait_until(lambda: not database.row(old), 10, "an empty place")
    assert database.row(new)


@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_chords_wait_by_chord_unlock(tables, database):
    """T-149"""
    tables(settings={"result_chord_retry_interval": 0.2})
    app = tables.app
    app.conf.result_chord_retry_interval = 0.2
    echo = signature("testtasks.echo", app=app)
    header = [signature("testtasks.add", (1, i), app=app) for i in range(10)]
    good = chord(header, echo, app=app).apply_async()
    bad = chord([header[0], signature("testtasks.raise_", ("ValueError", "no"), app=app)], echo,
                app=app).apply_async()
    assert get(good) == [1 + i for i in range(10)]
    error = bad.get(timeout=30, interval=0.05, propagate=False)
    assert type(error).__name__ == "ChordError" and "ValueError('no')" in str(error)


@pytest.mark.smallage_only("commands of smallage")
def test_commands_read_the_tables(tables, broker, database):
    """T-119"""
    tables()
    servers = ["-b", broker.url, "--result-backend", database.url]
    called = subprocess.run([BUILD / "bin/smallage", "call", *servers, "testtasks.add", "1", "2"],
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                            timeout=30, check=False)
    assert (called.returncode, called.stdout) == (0, "3\n")
    checked = subprocess.run([BUILD / "bin/smallage", "check", *servers], stdout=subprocess.PIPE,
                             stderr=subprocess.STDOUT, text=True, timeout=30, check=False)
    assert checked.returncode == 0 and "can be read at" in checked.stdout, checked.stdout
    assert "s3cret" not in checked.stdout


@pytest.mark.deviates("Celery gives up after three tries")
def test_nothing_is_lost_while_postgresql_is_away(broker, worker, tmp_path):
    """T-119: a stop and a crash in the middle."""
    broker.declare()
    with services.Postgres() as server:
        tables = PostgresTables(server)
        one = worker(backend_url=tables.url, concurrency=2)
        ids = []
        for end in (server.stop, server.kill):
            ids += [broker.send("sleep", (0.002,)) for _ in range(150)]
            wait_until(lambda: tables.row(ids[-140]), 20, "a first row")
            end()
            ids += [broker.send("echo", (1,)) for _ in range(50)]
            one.wait_log("results wait")
            time.sleep(0.3)
            server.start()
            wait_row(tables, ids[-1], timeout=30)
        wait_until(lambda: server.ask("SELECT count(*) FROM celery_taskmeta WHERE status = "
                                      "'SUCCESS'", tables.name) == [str(len(ids))], 30, "all rows")
        one.wait_log("is back", count=2)
        assert "s3cret" not in one.log
        one.stop()


@pytest.mark.deviates("Celery writes on into a file that is gone")
def test_an_sqlite_file_may_be_locked_or_replaced(broker, worker, tmp_path):
    """T-119"""
    broker.declare()
    tables = Sqlite(tmp_path)
    one = worker(backend_url=tables.url + "?timeout=0.2", concurrency=2)
    wait_row(tables, broker.send("echo", (1,)))
    link = sqlite3.connect(tables.path, isolation_level=None)
    link.execute("BEGIN EXCLUSIVE")
    id = broker.send("echo", (2,))
    one.wait_log("results wait: database is locked")
    link.execute("ROLLBACK")
    link.close()
    wait_row(tables, id)
    one.wait_log("is back")
    tables.path.rename(tmp_path / "old.db")
    wait_row(tables, broker.send("echo", (3,)))

"""Every page and every button of Flower, in a real browser. The tests follow each other.

SMALLAGE_PICTURES=folder keeps the pictures of docs/FLOWER.md there."""
import os
import re
import time

import pytest

import messages
from services.keeper import wait_until

IDS = {}


def toast(browser, kind="success"):
    """The text of the newest toast, and away with it."""
    def shown():
        return browser.texts("#toast-container .toast.show .toast-body")
    found = browser.wait(shown, 8, "a toast")
    classes = browser.run("return document.querySelector('#toast-container .toast').className")
    browser.run("document.getElementById('toast-container').replaceChildren()")
    assert f"text-bg-{kind}" in classes, found
    return found[-1]


def picture(scene, name):
    folder = os.environ.get("SMALLAGE_PICTURES")
    if folder:
        time.sleep(0.5)  # what fades in
        scene.browser.picture(f"{folder}/flower-{name}.png")


def open_worker(scene, name="main@flower.test", tab=None):
    scene.browser.open(f"{scene.flower.url}/worker/{name}")
    assert scene.browser.text("#workername") == name
    if tab:
        show_tab(scene.browser, tab)


def show_tab(browser, tab):
    browser.click(f"#worker-tab-{tab}")
    browser.wait(lambda: browser.run("let e = document.querySelector(arguments[0]);"
                                     "return e.classList.contains('show')", f"#tab-{tab}"))


def task_events(scene, *states):
    """Flower has learned of tasks in these states."""
    seen = {}

    def known():
        seen.clear()
        seen.update((task["uuid"], task["state"])
                    for task in scene.flower.get("/api/tasks")[1].values())
        return set(states) <= set(seen.values())
    try:
        wait_until(known, 20, "states", 0.3)
    except AssertionError:
        raise AssertionError({what: seen.get(id) for what, id in IDS.items()}) from None


@pytest.fixture(scope="module", autouse=True)
def life(scene, app):
    """Tasks of every fate, and some that wait. Sent once Flower has switched task events on."""
    def is_on():
        for queue in ("celery", "other"):
            app.send_task("testtasks.noop", queue=queue).get(timeout=10)
        done = [task["worker"] for task in scene.flower.get("/api/tasks")[1].values()
                if task["state"] == "SUCCESS"]
        return len(set(done)) == 2
    wait_until(is_on, 30, "task events", 0.5)

    def send(what, name, *args, **options):
        IDS[what] = app.send_task(f"testtasks.{name}", args=args, **options).id
    send("good", "add", 1, 2)
    send("bad", "raise_", "ValueError", "no such luck")
    send("again", "retry_raise", 300)
    send("unknown", "no_such_task")
    IDS["expired"] = scene.broker.send("noop", expires=messages.now(-10))
    send("other", "add", 5, 6, queue="other")
    send("slow", "sleep", 0.5)
    wait_until(lambda: (scene.results.record(IDS["slow"]) or {}).get("status") == "SUCCESS", 10,
               "the slow task")
    send("running", "sleep", 600)
    send("running too", "sleep", 601)
    time.sleep(0.5)
    send("waiting", "echo", "a ż <b>&amp;</b>")
    send("waiting too", "noop")
    send("later", "add", 3, 4, countdown=3600)
    send("never", "add", 4, 4, countdown=3600)
    app.control.revoke("00000000-dead-4000-8000-000000000000")
    task_events(scene, "SUCCESS", "FAILURE", "REVOKED", "STARTED", "RECEIVED")


def test_the_list_of_workers(scene):
    """C-40"""
    browser = scene.browser
    browser.open(f"{scene.flower.url}/workers")
    browser.wait(lambda: browser.text("#workers-online") == "2")
    # Active comes with the next heartbeat.
    browser.wait(lambda: browser.text("#workers-active") == "2", 15, "two active tasks")
    rows = {row[0].replace("\n", ""): row for row in browser.rows("#workers-table")}
    assert set(rows) == {"main@flower.test", "auto@flower.test"}
    name, status, active, processed, failed, succeeded, load = rows["main@flower.test"]
    assert (status, active) == ("Online", "2")
    assert int(processed) >= 9 and int(failed) >= 2 and int(succeeded) >= 3
    assert re.fullmatch(r"[\d.]+\n[\d.]+\n[\d.]+", load)
    assert rows["auto@flower.test"][1:3] == ["Online", "0"]
    picture(scene, "workers")


FILLED = {
    "pool": ["Max concurrency", "Processes", "Max tasks per child", "Timeouts", "Worker PID",
             "Prefetch Count", "Implementation"],
    "broker": ["Hostname", "Userid", "Virtual host", "Port", "Transport", "Heartbeat",
               "Login method", "Connect timeout"],
    "system": ["utime", "stime", "maxrss", "minflt", "nvcsw"],
    "other": ["uptime"],
    "config": ["worker_pool_restarts"],
}


def test_all_eight_tabs_are_filled(scene):
    """C-40 C-44 C-79"""
    browser = scene.browser
    open_worker(scene)
    shown = browser.run("return [...document.querySelectorAll('.worker-tabs-nav a')]"
                        ".map(e => e.innerText)")
    assert shown == ["Pool", "Broker", "Queues", "Tasks", "Limits", "Config", "System", "Other"]
    for tab, names in FILLED.items():
        show_tab(browser, tab)
        rows = {row[0]: row[1] for row in browser.rows(f"#tab-{tab}") if len(row) == 2}
        for name in names:
            assert rows.get(name) not in (None, ""), (tab, name, rows)
    pool = {row[0]: row[1] for row in browser.rows("#tab-pool")}
    assert pool["Worker PID"].replace(",", "") == str(scene.main.pid)
    assert pool["Max concurrency"] == "2"
    show_tab(browser, "pool")
    picture(scene, "worker")
    show_tab(browser, "queues")
    assert browser.rows("#tab-queues")[0][:9] == ["celery", "False", "True", "celery", "False",
                                                  "None", "None", "None", "False"]
    assert "guest:guest" not in browser.run("return document.body.innerText")
    limits = browser.texts("#limits-table tr td:first-child")
    # Flower shows the first fifty.
    assert {"testtasks.add", "testtasks.hourly [rate_limit=1/h]"} <= set(limits)


def test_the_tab_of_tasks(scene):
    """C-40"""
    browser = scene.browser
    open_worker(scene, tab="tasks")
    processed, active, scheduled, reserved, revoked = [
        browser.rows(f"#tab-tasks table:nth-of-type({n})") for n in range(1, 6)]
    assert {row[0]: row[1] for row in processed}["testtasks.sleep"] == "3"
    assert sorted((row[0], row[2], row[4]) for row in active) == \
        [("testtasks.sleep", "True", "(600,)"), ("testtasks.sleep", "True", "(601,)")]
    assert {row[3].replace(",", "") for row in active} <= {str(pid)
                                                           for pid in scene.main.children()}
    assert sorted(row[2] for row in scheduled) == ["[3, 4]", "[300]", "[4, 4]"]
    assert sorted((row[0], row[2], row[3]) for row in reserved) == \
        [("testtasks.echo", "['a ż <b>&amp;</b>']", "{}"), ("testtasks.noop", "[]", "{}")]
    picture(scene, "worker-tasks")
    # An expired task counts as revoked.
    assert [row[0] for row in revoked] == [IDS["expired"], "00000000-dead-4000-8000-000000000000"]


def test_the_broker_page(scene):
    """C-40"""
    browser = scene.browser
    scene.browser.open(f"{scene.flower.url}/broker")
    rows = {row[0]: row for row in browser.rows("#queue-table")}
    assert set(rows) == {"celery", "other"}

    def unacked():
        browser.open(f"{scene.flower.url}/broker")
        rows = {row[0]: row for row in browser.rows("#queue-table")}
        if scene.broker.kind == "redis":  # what a worker holds is not counted
            return "5" if rows["celery"][1] == "0" else None
        return rows["celery"][2] if rows["celery"][4] == "1" else None
    # Reserved and scheduled ones: what runs is acked.
    browser.wait(lambda: unacked() == "5", 15, "the queue's unacked messages")
    picture(scene, "broker")


def test_the_list_of_tasks(scene):
    """C-42"""
    browser = scene.browser
    browser.open(f"{scene.flower.url}/tasks")
    browser.wait(lambda: len(browser.rows("#tasks-table")) >= 10)
    picture(scene, "tasks")
    for state in ("SUCCESS", "FAILURE", "REVOKED", "STARTED", "RECEIVED"):
        browser.open(f"{scene.flower.url}/tasks?state={state}")
        # Name, id, state, received, runtime, worker.
        browser.wait(lambda: {row[2] for row in browser.rows("#tasks-table") if len(row) > 2}
                     == {state}, what=f"tasks in {state}")  # noqa: B023


def test_the_page_of_a_task(scene):
    """C-42"""
    browser = scene.browser
    for what, texts in {
            "good": ["testtasks.add", "SUCCESS", "(1, 2)", "3", "main@flower.test"],
            "bad": ["testtasks.raise_", "FAILURE", "ValueError('no such luck')"],
            "again": ["testtasks.retry_raise", "ValueError('again')", "Retries"],
            "other": ["auto@flower.test", "11"]}.items():
        browser.open(f"{scene.flower.url}/task/{IDS[what]}")
        shown = browser.run("return document.body.innerText")
        for text in texts:
            assert text.lower() in shown.lower(), (what, text, shown)
        if what == "bad":
            picture(scene, "task")


def test_the_interface_of_tasks(scene):
    """C-42"""
    status, tasks = scene.flower.get("/api/tasks")
    assert status == 200
    states = {what: tasks[id]["state"] for what, id in IDS.items() if id in tasks}
    # The next try's task-received may come before (Celery) or after (smallage) task-retried.
    assert states.pop("again") in ("RETRY", "RECEIVED")
    assert states == {"good": "SUCCESS", "bad": "FAILURE", "unknown": "FAILURE",
                      "expired": "REVOKED", "other": "SUCCESS", "slow": "SUCCESS",
                      "running": "STARTED", "running too": "STARTED", "waiting": "RECEIVED",
                      "waiting too": "RECEIVED", "later": "RECEIVED", "never": "RECEIVED"}
    for what in ("good", "slow"):
        task = tasks[IDS[what]]
        assert task["routing_key"] == "celery" and task["exchange"] == ""
        assert task["worker"] == "main@flower.test" and task["runtime"] > 0
        assert task["received"] <= task["started"] <= task["succeeded"]
        assert abs(task["sent"] - task["received"]) < 5  # the client tells after it has sent
        assert task["client"].startswith("gen") and task["root_id"] == IDS[what]
    assert tasks[IDS["slow"]]["runtime"] >= 0.5 and tasks[IDS["slow"]]["result"] == "0.5"
    assert tasks[IDS["bad"]]["exception"] == "ValueError('no such luck')"
    assert tasks[IDS["bad"]]["traceback"].startswith("Traceback")
    assert tasks[IDS["again"]]["exception"] == "ValueError('again')"
    for path in ("/api/task/types", f"/api/task/info/{IDS['good']}", "/api/queues/length",
                 f"/api/task/result/{IDS['good']}", "/api/workers", "/healthcheck",
                 "/api/workers?status=true"):
        assert scene.flower.get(path)[0] == 200, path
    assert scene.flower.get(f"/api/task/result/{IDS['good']}")[1]["result"] == 3


def test_the_interface_of_workers(scene):
    """C-44 C-79: eight inspects side by side, none of them late."""
    for _ in range(3):
        status, workers = scene.flower.get("/api/workers", refresh=1,
                                           workername="main@flower.test")
        assert status == 200
        assert {"stats", "active_queues", "registered", "conf", "scheduled", "active", "reserved",
                "revoked"} <= set(workers["main@flower.test"])
    started = time.monotonic()
    assert scene.flower.get("/worker/nobody@flower.test")[0] == 404
    assert time.monotonic() - started < 4
    started = time.monotonic()
    assert scene.flower.get("/worker/main@flower.test")[0] == 200
    assert time.monotonic() - started < 2


METRICS = ["flower_events_total", "flower_task_runtime_seconds", "flower_task_prefetch_time_seconds",
           "flower_worker_prefetched_tasks", "flower_worker_online",
           "flower_worker_number_of_currently_executing_tasks"]


def samples(scene, name):
    """{labels: value} of the main worker."""
    text = scene.flower.get("/metrics")[1]
    return {labels: float(value) for labels, value in
            re.findall(rf'^{name}\{{([^}}]*main@flower[^}}]*)\}} (\S+)$', text, re.M)}


def test_the_metrics(scene):
    """C-43"""
    for name in METRICS:
        assert samples(scene, name + ("_count" if "runtime" in name else "")), name
    assert samples(scene, "flower_worker_online") == {'worker="main@flower.test"': 1}
    assert samples(scene, "flower_worker_number_of_currently_executing_tasks") == \
        {'worker="main@flower.test"': 2}
    waiting = samples(scene, "flower_worker_prefetched_tasks")
    assert waiting['task="testtasks.add",worker="main@flower.test"'] == 0
    assert waiting['task="testtasks.echo",worker="main@flower.test"'] == 1


def test_refresh(scene):
    """C-41"""
    open_worker(scene)
    for button, text in (("refresh", "Successfully refreshed"),
                         ("refresh-all", "Refreshed All Workers")):
        scene.browser.click("#worker-group")
        scene.browser.click(f"#worker-{button}")
        assert toast(scene.browser) == text


def test_the_buttons_of_the_tab_limits(scene):
    """C-41 C-79"""
    browser = scene.browser
    open_worker(scene, tab="limits")
    row = browser.run("return [...document.querySelectorAll('#limits-table tr')].findIndex("
                      "r => r.cells[0].innerText == 'testtasks.echo') + 1")
    cells = f"#limits-table tr:nth-child({row}) td:nth-child"
    browser.type(f"{cells}(2) input", 200)
    browser.click(f"{cells}(2) button")
    assert toast(browser) == "new rate limit set successfully"
    for button, seconds in ((1, 100), (2, 120)):
        browser.type(f"{cells}(3) input", seconds)
        browser.click(f"{cells}(3) button:nth-of-type({button})")
        assert toast(browser) == "time limits set successfully"
    scene.flower.get("/api/workers", refresh=1, workername="main@flower.test")
    open_worker(scene, tab="limits")
    assert "testtasks.echo [rate_limit=200]" in browser.texts("#limits-table td:first-child")


def test_the_buttons_of_the_tab_queues(scene, app):
    """C-41 C-79"""
    browser = scene.browser
    open_worker(scene, tab="queues")
    browser.type("#add-consumer-name", "added")
    browser.click("#worker-add-consumer")
    assert toast(browser) == "add consumer added"

    def queues():
        open_worker(scene, tab="queues")
        return [row[0] for row in browser.rows("#tab-queues")]
    browser.wait(lambda: sorted(queues()) == ["added", "celery"])
    browser.click("#worker-cancel-consumer-added")
    assert toast(browser) == "no longer consuming from added"
    browser.wait(lambda: queues() == ["celery"])


def test_the_buttons_of_a_task(scene):
    """C-41 C-43 C-79"""
    browser = scene.browser
    for what, button in (("never", "revoke"), ("running", "terminate"),
                         ("running too", "terminate"), ("again", "revoke")):
        browser.open(f"{scene.flower.url}/task/{IDS[what]}")
        browser.click(f"#task-{button}")
        assert "Revoked" in toast(browser), what
    for what in ("running", "running too", "never", "again"):
        assert scene.results.wait(IDS[what])["status"] == "REVOKED"
    wait_until(lambda: scene.flower.get("/api/tasks")[1][IDS["running too"]]["state"] == "REVOKED",
               10, "revoked in Flower", 0.3)
    # Those that waited have run.
    wait_until(lambda: set(samples(scene, "flower_worker_prefetched_tasks").values()) == {0.0}, 15,
               "no prefetched task", 0.3)
    wait_until(lambda: list(samples(scene, METRICS[5]).values()) == [0.0], 15, "idle", 0.3)


def processes(scene):
    _, workers = scene.flower.get("/api/workers", refresh=1, workername="main@flower.test")
    return len(workers["main@flower.test"]["stats"]["pool"]["processes"])


def test_the_buttons_of_the_tab_pool(scene, app):
    """C-41 C-79"""
    browser = scene.browser
    open_worker(scene)
    browser.type("#pool-size", 2)
    browser.click("#worker-pool-grow")
    assert "main@flower.test" in toast(browser)
    wait_until(lambda: processes(scene) == 4, 10, "four processes", 0.3)
    browser.type("#pool-size", 1)
    browser.click("#worker-pool-shrink")
    assert "main@flower.test" in toast(browser)
    wait_until(lambda: processes(scene) == 3, 10, "three processes", 0.3)
    browser.click("#worker-group")
    browser.click("#worker-pool-restart")
    assert "main@flower.test" in toast(browser)
    assert app.send_task("testtasks.add", args=(2, 3)).get(timeout=20) == 5


def test_the_button_of_autoscale(scene):
    """C-41 C-79"""
    browser = scene.browser
    open_worker(scene, "auto@flower.test")
    assert browser.rows("#tab-pool .worker-autoscaler-panel")
    browser.type("#min-autoscale", 2)
    browser.type("#max-autoscale", 5)
    browser.click("#worker-pool-autoscale")
    assert "auto@flower.test" in toast(browser)
    # What cannot be done says so.
    open_worker(scene, "auto@flower.test")
    browser.click("#worker-pool-grow")
    assert "autoscale" in toast(browser, "danger")


def test_tasks_are_sent_by_flower(scene):
    """C-41 C-79"""
    flower = scene.flower
    status, answer = flower.post_json("/api/task/apply/testtasks.add", {"args": [20, 22]})
    assert (status, answer["result"]) == (200, 42)
    status, answer = flower.post_json("/api/task/async-apply/testtasks.add", {"args": [1, 1]})
    assert status == 200 and scene.results.value(answer["task-id"]) == 2
    status, answer = flower.post_json("/api/task/send-task/testtasks.add", {"args": [2, 2]})
    assert status == 200 and scene.results.value(answer["task-id"]) == 4


def test_shut_down(scene):
    """C-30 C-41 C-79"""
    browser = scene.browser
    open_worker(scene, "auto@flower.test")
    browser.click("#worker-group")
    browser.click("#worker-shutdown")
    assert toast(browser) == "Shutting down!"
    assert scene.auto.wait_end() == 0
    browser.open(f"{scene.flower.url}/workers")
    browser.wait(lambda: {row[0].replace("\n", ""): row[1] for row in browser.rows("#workers-table")
                          if len(row) > 1}
                 == {"main@flower.test": "Online", "auto@flower.test": "Offline"}, 15)


def test_nothing_failed_inside_flower(scene):
    """C-40 C-79"""
    scene.browser.gather()
    assert not scene.flower.faults()
    assert not [each for each in scene.browser.requests if each[0] >= 500]
    assert not [text for text in scene.browser.complaints if "403" not in text], \
        scene.browser.complaints

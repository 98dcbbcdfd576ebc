"""A real Prometheus scrapes the worker; rules and dashboard ask for what is there."""
import json
import re
import subprocess
import urllib.error

import pytest

import services
from services.keeper import wait_until
from test_clients import mail_env
from test_http import families, get
from worker import JUDGE, ROOT

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: Celery has no metrics")

FOLDER = ROOT / "examples/monitoring"
RULES = FOLDER / "smallage.rules.yml"


def promtool(*args):
    done = subprocess.run(["promtool", *map(str, args)], stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, cwd=FOLDER)
    assert done.returncode == 0, done.stdout
    return done.stdout


def dashboard():
    return json.loads((FOLDER / "smallage.dashboard.json").read_text())


def expressions():
    """Of every panel, with Grafana's variables filled in."""
    for panel in dashboard()["panels"]:
        for target in panel.get("targets", ()):
            yield panel["title"], re.sub(r"\$(job|instance|task)", ".*", target["expr"]).replace(
                "$__rate_interval", "30s")


def test_the_rules_are_right_and_fire_when_they_should():
    assert "12 rules found" in promtool("check", "rules", RULES)
    assert "SUCCESS" in promtool("test", "rules", "smallage.rules.test.yml")
    promtool("check", "config", "prometheus.yml")


def test_every_rule_is_tested():
    alerts = set(re.findall(r"alert: (\w+)", RULES.read_text()))
    tests = (FOLDER / "smallage.rules.test.yml").read_text()
    assert alerts == set(re.findall(r"alertname: (\w+)\n\s+exp_alerts", tests))


def test_the_dashboard_is_one():
    """Panels with ids of their own, side by side and within the grid."""
    board = dashboard()
    ids = [panel["id"] for panel in board["panels"]]
    taken = set()
    assert len(set(ids)) == len(ids) > 10 and board["title"] and board["uid"]
    for panel in board["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}
        assert not cells & taken and at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells
    used = set(re.findall(r"\$(\w+)", json.dumps(board["panels"])))
    known = {variable["name"] for variable in board["templating"]["list"]}
    assert used <= known | {"__rate_interval"}


def test_prometheus_scrapes_the_worker(broker, worker, results, smtp):
    """No scrape fails; promtool finds nothing to say; every query of the dashboard and every rule
    works on what is there, and all metrics they name exist."""
    broker.declare()
    port = services.free_port()
    one = worker("--http", port, concurrency=2, env=mail_env(smtp))
    one.port = port
    with services.Prometheus([f"127.0.0.1:{port}"], [RULES]) as prometheus:
        wait_until(lambda: prometheus.query("up == 1"), 30, "a scrape")
        results.wait_all(broker.send_many("noop", 100))
        results.error(broker.send("raise_", ("ValueError", "x")))
        results.value(broker.send("app.tasks.notifications.send_email_task",
                                  ("a@b.example", "s", "b")))
        wait_until(lambda: prometheus.query(
            'smallage_tasks_total{task="testtasks.noop", outcome="succeeded"} == 100'), 30, "tasks")
        text = get(one, "/metrics")[2]
        lint = subprocess.run(["promtool", "check", "metrics"], input=text, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
        assert (lint.returncode, lint.stdout) == (0, ""), lint.stdout
        # Rates need a later scrape.
        results.wait_all(broker.send_many("noop", 100))
        results.error(broker.send("raise_", ("ValueError", "x")))
        results.value(broker.send("app.tasks.notifications.send_email_task",
                                  ("a@b.example", "s", "b")))
        wait_until(lambda: [value for _, value in prometheus.query(
            "sum(rate(smallage_answers_total[30s]))") if value > 0], 30, "a rate")
        exist = {name for family, (kind, _) in families(text).items() for name in (
            [f"{family}_{end}" for end in ("bucket", "sum", "count")] if kind == "histogram"
            else [f"{family}_total"] if kind == "counter" else [family])}
        asked = RULES.read_text() + json.dumps(dashboard())
        assert set(re.findall(r"smallage_[a-z_]+", re.sub(r"/smallage_\w+|smallage\.\w+", "", asked))) \
            <= exist
        for title, expression in expressions():
            try:
                rows = prometheus.query(expression)
            except urllib.error.HTTPError as error:
                raise AssertionError(f"{title}: {expression}: {error.read()}") from None
            assert rows, f"{title}: {expression}"
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        wait_until(lambda: all(rule["health"] == "ok" for group in prometheus.get("rules")["groups"]
                               for rule in group["rules"]), 20, "evaluated rules")
        assert len(rules) == 12
        one.stop()
        wait_until(lambda: prometheus.query("up == 0"), 10, "the end of the worker")
        wait_until(lambda: [alert for alert in prometheus.get("alerts")["alerts"]
                            if alert["labels"]["alertname"] == "SmallageDown"], 10, "an alert")
        assert "error" not in prometheus.log().lower(), prometheus.log()

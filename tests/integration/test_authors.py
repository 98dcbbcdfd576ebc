"""What authors of tasks use: `smallage run`, `smallage stubs`."""
import inspect
import importlib.util
import json
import pathlib
import re
import signal
import subprocess
import time

import pytest

from pythons import python_of
from services.keeper import wait_until
from test_commands import PLUGIN, run
from worker import BUILD, JUDGE, ROOT

pytestmark = pytest.mark.skipif(JUDGE, reason="smallage_only: Celery has no such commands")


def catches(pid, number):
    found = re.search(r"^SigCgt:\s*(\w+)", pathlib.Path(f"/proc/{pid}/status").read_text(), re.M)
    return bool(int(found[1], 16) >> number - 1 & 1)


def run_task(folder, *args, **more):
    return run(folder, "run", "-I", PLUGIN, *args, **more)


class TestRun:
    def test_the_result_alone_is_on_standard_output(self, tmp_path):
        done = run_task(tmp_path, "testtasks.add", "[1, 2.5]")
        assert (done.returncode, done.stdout, done.stderr) == (0, "3.5\n", "")
        assert not list(tmp_path.iterdir())  # no broker, no result store

    @pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
    def test_each_pool_runs_it(self, tmp_path, pool):
        done = run_task(tmp_path, "-P", pool, "testtasks.add", "-k", '{"x": 1, "y": 2}')
        assert (done.returncode, done.stdout, done.stderr) == (0, "3\n", "")

    @pytest.mark.parametrize("args, code, last", [
        (["testtasks.raise_", "smtplib:SMTPException", "oh"], 1, "FAILURE: SMTPException: oh"),
        (["testtasks.add", "1"], 1, "FAILURE: TypeError: add() missing 1 required positional "
                                    "argument: 'y'"),
        (["testtasks.crash", "11"], 1, "FAILURE: WorkerLostError: Worker exited prematurely: "
                                       "signal 11 (SIGSEGV) Job: 1."),
        (["--time-limit", "0.2", "testtasks.sleep", "5"], 1, "FAILURE: TimeLimitExceeded: 0.2"),
        (["--soft-time-limit", "0.2", "testtasks.sleep", "5"], 1, "FAILURE: SoftTimeLimitExceeded"),
        (["testtasks.retry", "1", "5"], 3, "RETRY in 5 s"),
        (["testtasks.retry_raise", "7"], 3, "RETRY in 7 s: ValueError('again')"),
        (["testtasks.autoretry_fixed", "9"], 3, "RETRY in 0.2 s: ConnectionError('not yet')"),
        (["--retries", "2", "testtasks.autoretry_fixed", "9"], 1,
         "FAILURE: ConnectionError: not yet"),
        (["testtasks.ignore"], 4, "IGNORED"),
        (["testtasks.reject"], 4, "REJECTED: no reason"),
        (["testtasks.reject", "true"], 4, "REJECTED back to its queue: no reason"),
        (["testtasks.ad", "1"], 2, "there is no task 'testtasks.ad', did you mean 'testtasks.add'?; "
                                   "-I names plug-ins"),
        ([], 2, "which task? smallage run NAME [ARGS]"),
        (["--retries", "-1", "testtasks.add"], 2, "option --retries: '-1' is no number of tries"),
        (["-I", "none.so", "testtasks.add"], 2, "there is no plug-in file or folder 'none.so'")])
    def test_each_end_has_its_exit_code_and_line(self, tmp_path, args, code, last):
        done = run_task(tmp_path, *args)
        assert (done.returncode, done.stdout) == (code, ""), done.stderr
        assert done.stderr.splitlines()[-1] == "smallage run: " + last

    def test_a_try_is_the_one_it_is_told_to_be(self, tmp_path):
        done = run_task(tmp_path, "--retries", "1", "testtasks.retry", "1", "5")
        assert (done.returncode, done.stdout) == (0, "1\n")

    def test_it_has_the_headers_that_are_given(self, tmp_path):
        for header, value in (("tenant=ann", "ann"), ('tenant={"id": 7}', {"id": 7}), ("a=b=c", None)):
            done = run_task(tmp_path, "--header", header, "testtasks.header", "tenant")
            assert (done.returncode, json.loads(done.stdout)) == (0, value)

    def test_states_come_on_standard_error_as_they_are_told(self, tmp_path):
        done = run_task(tmp_path, "testtasks.progress", "2")
        assert (done.returncode, done.stdout) == (0, "2\n")
        assert done.stderr == ('PROGRESS {"current": 1, "total": 2}\n'
                               'PROGRESS {"current": 2, "total": 2}\n')

    def test_all_of_it_can_be_had_as_json(self, tmp_path):
        record = json.loads(run_task(tmp_path, "--json", "testtasks.progress", "1").stdout)
        assert len(record.pop("task_id")) == 36 and record.pop("runtime") < 5
        assert record == {"status": "SUCCESS", "result": 1, "traceback": None, "sent": [], "states": [
            {"status": "PROGRESS", "result": {"current": 1, "total": 1}}]}
        done = run_task(tmp_path, "--json", "testtasks.retry_raise", "7")
        record = json.loads(done.stdout)
        assert (done.returncode, done.stderr, record["status"]) == (3, "", "RETRY")
        assert record["countdown"] == 7 and record["result"] == {
            "exc_type": "ValueError", "exc_message": ["again"], "exc_module": "builtins"}
        record = json.loads(run_task(tmp_path, "--json", "testtasks.reject", "true").stdout)
        assert (record["status"], record["reason"], record["requeue"]) == \
            ("REJECTED", "no reason", True)

    def test_what_it_sends_is_shown_and_not_sent(self, tmp_path):
        args = ["testtasks.send_all", json.dumps([[{"task": "a.b", "args": [1], "kwargs": {},
                                                   "options": {"task_id": "x"}}]])]
        done = run_task(tmp_path, *args)
        assert done.returncode == 0 and done.stderr.startswith('SENDS {"task": "a.b", "args": [1]')
        record = json.loads(run_task(tmp_path, "--json", *args).stdout)
        assert record["sent"][0]["task"] == "a.b"

    def test_the_shipped_tasks_run_too(self, tmp_path):
        done = run(tmp_path, "run", "send_sms_task", '"+4915212345678"', "Hello",
                   env={"SMS_PROVIDER": "log"})
        assert done.returncode == 0 and json.loads(done.stdout)["status"] == "logged"

    def test_ctrl_c_is_a_soft_limit_and_a_second_one_the_end(self, tmp_path):
        for task, presses, code, line in (
                ("testtasks.soft", 1, 0, '"caught"'),
                ("testtasks.stubborn", 2, 1, "smallage run: REVOKED")):
            child = subprocess.Popen(
                [BUILD / "bin/smallage", "run", "-I", PLUGIN, task, "30"], text=True, cwd=tmp_path,
                stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
            try:
                wait_until(lambda: catches(child.pid, signal.SIGINT), 20, "a handler of Ctrl-C")
                for _ in range(presses):
                    time.sleep(0.5)
                    child.send_signal(signal.SIGINT)
                said = child.communicate(timeout=20)[0]
            finally:
                child.kill()
            assert child.returncode == code and said.splitlines()[-1] == line, said


STRANGE = r'''
#include <smallage/task.h>
static json_t *run(struct sm_job *job)
{
	return json_incref(sm_args(job));
}
#define TASK(id, n, s, ...) static const struct sm_task id = {.name = n, .signature = s, .run = run, __VA_ARGS__}
TASK(one, "shop.add", "x: int, /, y: number = 1.5, *more: float | None, k: str = \"it's \\\"\\u00e9\\n\"", .doc = "Says \"hello\" \\ and more.");
TASK(two, "bank.add", "", .ignore_result = SM_YES);
TASK(three, "shop.add-now!", "*, flag: bool = True, limit: float = NaN", .ignore_result = SM_NO);
TASK(four, "shop.class", "a: list = [1, null, {\"k\": [true]}], **extra");
TASK(five, "shop.Any", "value");
TASK(six, "shop.7up", "a, b, c, d, a_rather_long_name: int, and_a_longer_one_for_a_second_line: dict | None = None");
SM_PLUGIN(.name = "strange", .version = "1", .tasks = SM_TASKS(&one, &two, &three, &four, &five, &six));
'''


@pytest.fixture(scope="module")
def strange(tmp_path_factory):
    folder = tmp_path_factory.mktemp("strange")
    (folder / "strange.c").write_text(STRANGE)
    subprocess.run("cc -std=c17 -Wall -Werror -shared -fPIC -fvisibility=hidden "
                   f"-I{ROOT}/include -o strange.so strange.c $(pkg-config --libs jansson)",
                   shell=True, cwd=folder, check=True)
    return folder / "strange.so"


def stubs(folder, *args):
    done = run(folder, "stubs", *args)
    assert (done.returncode, done.stderr) == (0, "")
    (folder / "tasks.py").write_text(done.stdout)
    return done.stdout


class TestStubs:
    def test_names_parameters_and_texts_are_pythons(self, tmp_path, strange):
        text = stubs(tmp_path, "-I", strange)
        assert max(map(len, text.splitlines())) <= 100
        spec = importlib.util.spec_from_file_location("stubs_of_strange", tmp_path / "tasks.py")
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        signatures = {name: str(inspect.signature(getattr(module, name).run))
                      for name in module.__all__ if "email" not in name and "_task" not in name}
        assert signatures == {
            "shop_add": "(x: 'int', /, y: 'int | float | Decimal' = 1.5, *more: 'float | None', "
                        "k: 'str' = 'it\\'s \"é\\n') -> 'Any'",
            "bank_add": "() -> 'Any'",
            "add_now_": "(*, flag: 'bool' = True, limit: 'float' = nan) -> 'Any'",
            "class_": "(a: 'list' = [1, None, {'k': [True]}], **extra) -> 'Any'",
            "Any_": "(value: 'Any') -> 'Any'",
            "_7up": "(a: 'Any', b: 'Any', c: 'Any', d: 'Any', a_rather_long_name: 'int', "
                    "and_a_longer_one_for_a_second_line: 'dict | None' = None) -> 'Any'"}
        assert module.shop_add.__doc__ == 'Says "hello" \\ and more.'
        assert module.add_now_.name == "shop.add-now!"
        assert [module.bank_add.ignore_result, module.add_now_.ignore_result] == [True, False]
        with pytest.raises(NotImplementedError, match="shop.class runs in smallage: use .delay()"):
            module.class_()

    def test_a_module_may_be_named(self, tmp_path):
        text = stubs(tmp_path, "--module", "src.apps.core.tasks")
        assert "@shared_task(name='src.apps.core.tasks.send_sms_task')\n" in text
        assert "app.tasks.notifications" not in text
        assert "name='celery." not in stubs(tmp_path)  # Python has those
        assert "@shared_task(name='app.tasks.notifications.send_sms_task')\n" in stubs(tmp_path)
        done = run(tmp_path, "stubs", "--module", "no.such")
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == "smallage stubs: no task is of module no.such\n"

    @pytest.mark.brokers("rabbitmq", "redis", why="a folder needs more of its producers than a URL")
    @pytest.mark.parametrize("version", ["5.7", "5.2", "4.4"])
    def test_producers_call_by_them(self, worker, broker, results, tmp_path, test_home, version):
        worker()
        stubs(tmp_path, "-I", PLUGIN)
        (tmp_path / "producer.py").write_text(f"""
from celery import Celery, chain
app = Celery("shop", broker={broker.url!r}, backend={results.url!r})
import tasks
print(tasks.add.delay(1, 2).get(timeout=20), (tasks.add.s(3) | tasks.add.s(4)).apply_async((5,)).get(timeout=20))
for wrong in (1,), (1, 2, 3):
    try:
        tasks.add.delay(*wrong)
    except TypeError as exc:
        print(exc)
""")
        done = subprocess.run([python_of(version, test_home), "-B", "producer.py"], cwd=tmp_path,
                              stdout=subprocess.PIPE, text=True, timeout=60, check=True)
        assert done.stdout == ("3 12\nadd() missing 1 required positional argument: 'y'\n"
                               "add() takes 2 positional arguments but 3 were given\n")

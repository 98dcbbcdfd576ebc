"""The second half of examples/quickstart: worker, producer, mail. Run that instead.

The servers (SMTP; RabbitMQ and Redis when asked for) are those of the tests: on private ports and
folders, and gone when this program is, whatever ends it.
"""

import ast
import contextlib
import email
import email.policy
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import services  # noqa: E402
from services import keeper  # noqa: E402

SMALLAGE = ROOT / "build/bin/smallage"
# The caller's own settings must not send anything to the real world.
FOREIGN = re.compile(r"(CELERY|SMALLAGE|EMAIL|SMS|TWILIO|REDIS)_|DEBUG$")


@contextlib.contextmanager
def step(name):
    print(f"  {name:26}", end="", flush=True)
    started = time.monotonic()
    yield
    print(f"{time.monotonic() - started:7.2f} s", flush=True)


@contextlib.contextmanager
def running_worker(folder, env):
    """`smallage worker`, ready; stopped by SIGTERM as a service manager would do it."""
    log, socket = folder / "worker.log", folder / "worker.sock"
    worker = keeper.start([SMALLAGE, "worker", "-l", "info", "--logformat", "text", "--socket", socket],
                          log=log, env=env, cwd=folder)
    status = [SMALLAGE, "status", "--socket", socket]

    def is_ready():
        if worker.poll() is not None:
            raise RuntimeError("the worker ended")
        return subprocess.run(status, env=env, cwd=folder, capture_output=True, check=False).returncode == 0

    try:
        keeper.wait_until(is_ready, 30, "the worker", 0.01)
        yield
    except BaseException:
        keeper.end(worker)
        print("\n\nthe worker's log:", log.read_text(errors="replace")[-4000:], sep="\n", file=sys.stderr)
        raise
    if keeper.end(worker, signal.SIGTERM) != 0:
        raise RuntimeError("the worker did not stop as it should")


def send_all(folder, env):
    """Runs the producer; [(task, what came of it)], a dict where it succeeded."""
    done = subprocess.run(["/usr/bin/python3", "-B", ROOT / "examples/producers/send_all.py"], env=env,
                          cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    results = []
    for line in done.stdout.splitlines():
        task, _, result = re.split(r"  +([0-9a-f-]{36})  ", line, maxsplit=1) if "  " in line else ("", "", line)
        results.append((task, ast.literal_eval(result) if result.startswith("{") else result))
    if done.returncode != 0 or not all(isinstance(result, dict) for _, result in results):
        raise RuntimeError("the producer failed:\n" + done.stdout)
    return results


def show_result(task, result):
    whom = result["to"] if isinstance(result["to"], str) else ", ".join(result["to"])
    print(f"    {task:28}{result['status']:8}{whom}")


def show_mail(number, raw):
    mail = email.message_from_bytes(raw, policy=email.policy.default)
    print(f"\n  mail {number} " + "-" * 66)
    for name in ("From", "To", "Subject", "Date", "Message-ID"):
        print(f"  {name + ':':12}{mail[name]}")
    html = mail.get_body(("html",))
    print(f"  {'Parts:':12}" + ("text and HTML" if html else "text") + "\n")
    for line in mail.get_body(("plain",)).get_content().rstrip().splitlines():
        print(f"    {line}".rstrip())
    return mail["Message-ID"]


def main(stack, broker):
    folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="smallage-quickstart-")))
    keeper.keep_folder(folder)
    env = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    if broker:
        with step("RabbitMQ and Redis start"):
            rabbit = stack.enter_context(services.RabbitMQ(management=False))
            redis = stack.enter_context(services.Redis())
        env.update(CELERY_BROKER_URL=rabbit.url(), CELERY_RESULT_BACKEND=redis.url())
    smtp = stack.enter_context(services.Smtp())
    env.update(EMAIL_ENABLED="True", EMAIL_HOST="127.0.0.1", EMAIL_PORT=str(smtp.port),
               EMAIL_FROM_ADDRESS="shop@example.com", EMAIL_FROM_NAME="The Shop")

    worker = contextlib.ExitStack()
    with step("worker starts"):
        stack.enter_context(worker).enter_context(running_worker(folder, env))
    with step("Python sends every task"):
        results = send_all(folder, env)
    with step("worker stops"):
        worker.close()

    print("\n  results, as AsyncResult.get() returned them to Python:\n")
    for task, result in results:
        show_result(task, result)
    arrived = {show_mail(number, mail.raw) for number, mail in enumerate(smtp.mails, 1)}
    sent = {result["message_id"] for _, result in results if result["status"] == "sent"}
    print(f"\n  {len(results)} tasks succeeded, {len(arrived)} mails arrived.")
    if not sent or arrived != sent:
        raise RuntimeError(f"{len(sent)} mails were sent, {len(sent & arrived)} of them arrived")


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        with contextlib.ExitStack() as everything:
            main(everything, broker=sys.argv[1:] == ["rabbitmq"])
    except (RuntimeError, AssertionError) as error:
        sys.exit(f"\nquickstart: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:  # `| head` has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)

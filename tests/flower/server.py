"""Flower itself, from an environment of its own."""
import http.client
import json
import os
import pathlib
import urllib.parse

from services import keeper

HERE = pathlib.Path(__file__).parent


class Flower:
    def __init__(self, home, folder, broker_url, backend_url, *options):
        self.port = keeper.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log_path = pathlib.Path(folder) / "flower.log"
        clean = {k: v for k, v in os.environ.items()
                 if not k.startswith(("CELERY_", "FLOWER_", "SMALLAGE_"))}
        clean.update(PYTHONPATH=f"{HERE.parent / 'integration/pyworker'}",
                     FLOWER_UNAUTHENTICATED_API="true", PYTHONDONTWRITEBYTECODE="1",
                     PYTHONUNBUFFERED="1")
        # The buttons of the tab Limits need the tasks' names in Flower's own application.
        self.process = keeper.start(
            [home / "flower/bin/python", "-m", "celery", "-A", "testtasks", "-b", broker_url,
             "--result-backend", backend_url, "flower", "--address=127.0.0.1",
             f"--port={self.port}", "--logging=info", *options],
            log=self.log_path, env=clean, cwd=folder)
        keeper.wait_until(self._is_up, 60, "Flower", 0.1)

    def _is_up(self):
        if self.process.poll() is not None:
            raise AssertionError("Flower ended:\n" + self.log[-3000:])
        try:
            return self.get("/healthcheck")[0] == 200
        except OSError:
            return False

    def close(self):
        keeper.end(self.process)

    @property
    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _ask(self, method, path, body=None, kind=None):
        link = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            link.request(method, path, body, {"Content-Type": kind} if kind else {})
            answer = link.getresponse()
            text = answer.read().decode()
        finally:
            link.close()
        try:
            return answer.status, json.loads(text)
        except ValueError:
            return answer.status, text

    def get(self, path, **query):
        """(status, decoded JSON or text)."""
        return self._ask("GET", path + ("?" + urllib.parse.urlencode(query) if query else ""))

    def post(self, path, **form):
        return self._ask("POST", path, urllib.parse.urlencode(form),
                         "application/x-www-form-urlencoded")

    def post_json(self, path, body):
        return self._ask("POST", path, json.dumps(body), "application/json")

    def faults(self):
        """Lines that tell of an error inside Flower."""
        words = ("Traceback", "Uncaught exception", " 500 ", "Exception:", "ERROR")
        return [line for line in self.log.splitlines() if any(word in line for word in words)]

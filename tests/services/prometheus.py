"""A private Prometheus."""
import json
import pathlib
import signal
import tempfile
import urllib.parse
import urllib.request

from . import keeper


class Prometheus:
    """Scrapes `targets` ("127.0.0.1:9500") every second as the job smallage. rules: rule files."""

    def __init__(self, targets, rules=()):
        self.dir = tempfile.mkdtemp(prefix="smallage-prometheus-")
        keeper.keep_folder(self.dir)
        self.port = keeper.free_port()
        self.process = None
        # JSON is YAML.
        self.config = pathlib.Path(self.dir) / "prometheus.yml"
        self.config.write_text(json.dumps({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": [str(rule) for rule in rules],
            "scrape_configs": [{"job_name": "smallage",
                                "static_configs": [{"targets": list(targets)}]}]}))

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self):
        self.process = keeper.start(
            ["prometheus", f"--config.file={self.config}", f"--storage.tsdb.path={self.dir}/data",
             f"--web.listen-address=127.0.0.1:{self.port}", "--log.level=warn"],
            log=f"{self.dir}/log", cwd=self.dir)
        keeper.wait_until(self._is_ready, 60, "Prometheus")
        return self

    def _is_ready(self):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/ready", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def get(self, path, **parameters):
        """The `data` of its API's answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/api/v1/{path}?{query}",
                                    timeout=10) as answer:
            return json.load(answer)["data"]

    def query(self, expression):
        """[(labels, value)]"""
        return [(row["metric"], float(row["value"][1]))
                for row in self.get("query", query=expression)["result"]]

    def log(self):
        return (pathlib.Path(self.dir) / "log").read_text(errors="replace")

    def close(self):
        if self.process and self.process.poll() is None:
            keeper.end(self.process, signal.SIGTERM)
        keeper.drop_folder(self.dir)

"""A private RabbitMQ: own node name, ports, directories and epmd."""
import base64
import http.client
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import urllib.parse

from . import keeper

# Another version than the distribution's may be tried.
BIN = os.environ.get("SMALLAGE_TEST_RABBITMQ_BIN", "/usr/lib/rabbitmq/bin")


class RabbitMQ:
    """tls: an Authority; the server then listens on tls_port too, and wants a certificate of it
    from whoever comes there."""

    def __init__(self, management=True, config="", tls=None):
        self.dir = tempfile.mkdtemp(prefix="smallage-rabbitmq-")
        keeper.keep_folder(self.dir)
        self.port = keeper.free_port()
        self.api_port = keeper.free_port() if management else None
        self.epmd_port = keeper.free_port()
        self.node = f"smallage-{self.port}@localhost"
        self.process = None
        lines = [
            "loopback_users = none",
            "log.console = true",
            "log.console.level = warning",
            "disk_free_limit.absolute = 50MB",
            "vm_memory_high_watermark.relative = 0.8",
            "max_message_size = 268435456",
            "collect_statistics_interval = 250",
        ]
        if management:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self.api_port}",
                      "management.rates_mode = none"]
        self.tls_port = None
        if tls:
            self.tls_port = keeper.free_port()
            cert, key = tls.issue("rabbitmq")
            lines += [f"listeners.ssl.own = 127.0.0.1:{self.tls_port}",
                      f"ssl_options.cacertfile = {tls.file}", f"ssl_options.certfile = {cert}",
                      f"ssl_options.keyfile = {key}", "ssl_options.verify = verify_peer",
                      "ssl_options.fail_if_no_peer_cert = true",
                      "ssl_cert_login_from = common_name",
                      "auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = EXTERNAL"]
        self._write("rabbitmq.conf", "\n".join(lines) + "\n" + config)
        plugins = ["rabbitmq_management"] if management else []
        self._write("plugins", f"[{','.join(plugins + ['rabbitmq_auth_mechanism_ssl'] * bool(tls))}].")
        self._write("env.conf", "")
        self.env = {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
            "HOME": self.dir,
            "LANG": "C.UTF-8",
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_DIST_PORT": str(keeper.free_port()),
            "RABBITMQ_MNESIA_BASE": f"{self.dir}/data",
            "RABBITMQ_LOG_BASE": f"{self.dir}/log",
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": f"{self.dir}/pid",
            "RABBITMQ_CONFIG_FILE": f"{self.dir}/rabbitmq.conf",
            "RABBITMQ_ADVANCED_CONFIG_FILE": f"{self.dir}/advanced.config",
            "RABBITMQ_CONF_ENV_FILE": f"{self.dir}/env.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{self.dir}/plugins",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",
            "ERL_CRASH_DUMP_SECONDS": "0",
        }
        epmd = f"ERL_EPMD_PORT={self.epmd_port} epmd -kill"
        keeper.at_end(f"sleep 0.2; {epmd}")

    def _write(self, name, text):
        with open(f"{self.dir}/{name}", "w") as out:
            out.write(text)

    @property
    def log(self):
        with open(f"{self.dir}/console.log", errors="replace") as text:
            return text.read()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self, timeout=90):
        self.process = keeper.start([f"{BIN}/rabbitmq-server"], env=self.env, cwd=self.dir,
                                    log=f"{self.dir}/console.log")

        def is_up():
            if self.process.poll() is not None:
                raise AssertionError("RabbitMQ ended at its start:\n" + self.log[-3000:])
            return self.speaks_amqp() and (not self.api_port or self._api_answers())

        keeper.wait_until(is_up, timeout, "RabbitMQ", 0.05)
        return self

    def speaks_amqp(self):
        """The listener opens before the node takes logins; the greeting comes when it does."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(5)
                probe.sendall(b"AMQP\x00\x00\x09\x01")
                return probe.recv(1) == b"\x01"
        except OSError:
            return False

    def _api_answers(self):
        try:
            return self.api("GET", "/overview")
        except (OSError, http.client.HTTPException, RuntimeError):
            return False

    def _beam(self):
        """Process ids of the node (the group's leader is a shell)."""
        out = subprocess.run(["pgrep", "-g", str(self.process.pid)], stdout=subprocess.PIPE,
                             text=True, check=False).stdout
        return [int(pid) for pid in out.split()]

    def kill(self):
        """As when the power fails; start() continues with what was on disk."""
        keeper.end(self.process, signal.SIGKILL)

    def stop(self):
        """In order, as by rabbitmqctl."""
        keeper.end(self.process, signal.SIGTERM, 30)

    def restart(self):
        self.stop()
        self.start()

    def pause(self):
        os.killpg(self.process.pid, signal.SIGSTOP)

    def resume(self):
        os.killpg(self.process.pid, signal.SIGCONT)

    def close(self):
        if self.process and self.process.poll() is None:
            self.resume()
            keeper.end(self.process, signal.SIGKILL)
        subprocess.run(["epmd", "-kill"], env=self.env, stdout=subprocess.DEVNULL,
                       stderr=subprocess.DEVNULL, check=False)
        keeper.drop_folder(self.dir)

    def ctl(self, *args, timeout=60):
        """rabbitmqctl; slow (a second), so prefer the methods below."""
        done = subprocess.run([f"{BIN}/rabbitmqctl", "-q", *args], env=self.env, cwd=self.dir,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
                              timeout=timeout, check=False)
        if done.returncode:
            raise RuntimeError(f"rabbitmqctl {shlex.join(args)}: {done.stdout}")
        return done.stdout

    def api(self, method, path, body=None):
        """The management interface; decoded JSON, or {} where there is none."""
        link = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=20)
        try:
            head = {"Authorization": "Basic " + base64.b64encode(b"guest:guest").decode(),
                    "Content-Type": "application/json"}
            link.request(method, "/api" + path, None if body is None else json.dumps(body), head)
            answer = link.getresponse()
            text = answer.read()
            if answer.status >= 300:
                raise RuntimeError(f"{method} {path}: {answer.status} {text[:500]!r}")
            return json.loads(text) if text else {}
        finally:
            link.close()

    def url(self, vhost="/", user="guest", password="guest", port=None):
        vhost = urllib.parse.quote(vhost, safe="")
        return f"amqp://{user}:{password}@127.0.0.1:{port or self.port}/{vhost}"

    def tls_url(self, vhost="/", host="localhost", query=""):
        vhost = urllib.parse.quote(vhost, safe="")
        return f"amqps://guest:guest@{host}:{self.tls_port}/{vhost}{query}"

    def add_vhost(self, name):
        self.api("PUT", f"/vhosts/{name}", {})
        self.api("PUT", f"/permissions/{name}/guest",
                 {"configure": ".*", "write": ".*", "read": ".*"})
        return name

    def delete_vhost(self, name):
        self.api("DELETE", f"/vhosts/{name}")

    @property
    def version(self):
        return self.api("GET", "/overview")["rabbitmq_version"]

    def queues(self, vhost="%2F"):
        """{name: queue} with exact `messages_ready` and `messages_unacknowledged`."""
        rows = self.api("GET", f"/queues/{vhost}?disable_stats=true&enable_queue_totals=true")
        return {row["name"]: row for row in rows}

    def connections(self, vhost=None):
        rows = self.api("GET", "/connections" if vhost is None else f"/vhosts/{vhost}/connections")
        return [row for row in rows if "client_properties" in row]

    def close_connections(self, vhost, reason="closed by the test"):
        """The server closes every connection of the vhost (320). Returns how many."""
        count = 0
        for row in self.connections(vhost):
            try:
                self.api("DELETE", "/connections/" + urllib.parse.quote(row["name"], safe=""))
                count += 1
            except RuntimeError:
                pass
        return count

    def raise_alarm(self):
        """Memory alarm: publishing connections are blocked."""
        self.ctl("set_vm_memory_high_watermark", "0.0000001")

    def clear_alarm(self):
        self.ctl("set_vm_memory_high_watermark", "0.8")

    def wait_ready(self, vhost, queue, ready=0, unacked=0, timeout=20):
        """Until the queue holds exactly so many messages."""
        seen = []

        def is_so():
            row = self.queues(vhost).get(queue)
            seen[:] = [row and (row.get("messages_ready"), row.get("messages_unacknowledged"))]
            return seen[0] == (ready, unacked)

        started = time.monotonic()
        try:
            keeper.wait_until(is_so, timeout, "queue", 0.05)
        except AssertionError:
            raise AssertionError(
                f"queue {queue}: {seen[0]} (ready, unacked) after "
                f"{time.monotonic() - started:.1f} s, expected {(ready, unacked)}") from None

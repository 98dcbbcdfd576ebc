"""A private Redis."""
import signal
import socket
import tempfile

from . import keeper


class Redis:
    """tls: an Authority; the server then listens on tls_port too, and wants a certificate of it
    from whoever comes there."""

    def __init__(self, *args, tls=None):
        self.dir = tempfile.mkdtemp(prefix="smallage-redis-")
        keeper.keep_folder(self.dir)
        self.port = keeper.free_port()
        self.args = list(args)
        self.tls_port = None
        if tls:
            self.tls_port = keeper.free_port()
            cert, key = tls.issue("redis")
            self.args += ["--tls-port", str(self.tls_port), "--tls-cert-file", cert,
                          "--tls-key-file", key, "--tls-ca-cert-file", str(tls.file)]
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self):
        # With an append-only file, so that a restart keeps what was acknowledged.
        self.process = keeper.start(
            ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--dir", self.dir,
             "--save", "", "--appendonly", "yes", "--databases", "200", "--loglevel", "warning",
             *self.args], log=f"{self.dir}/log")
        keeper.wait_until(self._pongs, 20, "Redis")
        return self

    def _pongs(self):
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1) as probe:
                probe.settimeout(2)
                probe.sendall(b"PING\r\n")
                # One that wants a password is there, too.
                return probe.recv(7) in (b"+PONG\r\n", b"-NOAUTH")
        except OSError:
            return False

    def kill(self):
        keeper.end(self.process, signal.SIGKILL)

    def stop(self):
        keeper.end(self.process, signal.SIGTERM)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def close(self):
        if self.process and self.process.poll() is None:
            keeper.end(self.process, signal.SIGKILL)
        keeper.drop_folder(self.dir)

    def url(self, db=0):
        return f"redis://127.0.0.1:{self.port}/{db}"

    def tls_url(self, db=0, host="localhost", query=""):
        return f"rediss://{host}:{self.tls_port}/{db}{query}"

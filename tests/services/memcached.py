"""A private memcached."""
import signal

from . import keeper


class Memcached:
    def __init__(self, *args):
        self.port = keeper.free_port()
        self.args = list(args)
        self.process = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self):
        self.process = keeper.start(
            ["memcached", "-u", "nobody", "-l", "127.0.0.1", "-p", str(self.port), "-U", "0", "-m", "64",
             *self.args], log="/dev/null")
        keeper.wait_for_port(self.port)
        return self

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def stop(self):
        keeper.end(self.process, signal.SIGTERM)

    def close(self):
        if self.process and self.process.poll() is None:
            self.stop()

"""A private PostgreSQL."""
import glob
import os
import pwd
import signal
import subprocess
import tempfile

from . import keeper


class Postgres:
    """User `shop` with the password `s3cret`; over TCP only it is asked for. It refuses to run as
    root: then it is the user postgres, who comes with its package."""

    def __init__(self):
        self.dir = tempfile.mkdtemp(prefix="smallage-postgres-")
        keeper.keep_folder(self.dir)
        self.port = keeper.free_port()
        self.process = None
        # Debian keeps several versions beside each other, none of them in PATH.
        self.bin = os.path.dirname(sorted(glob.glob("/usr/lib/postgresql/*/bin/postgres"))[-1])
        self.as_user = []
        if os.geteuid() == 0:
            owner = pwd.getpwnam("postgres")
            os.chown(self.dir, owner.pw_uid, owner.pw_gid)
            self.as_user = ["setpriv", f"--reuid={owner.pw_uid}", f"--regid={owner.pw_gid}",
                            "--clear-groups"]
        password = f"{self.dir}/password"
        with open(password, "w") as out:
            out.write("s3cret\n")
        os.chmod(password, 0o644)
        subprocess.run([*self.as_user, f"{self.bin}/initdb", "-D", f"{self.dir}/data", "-U", "shop",
                        "--pwfile", password, "-A", "scram-sha-256", "--auth-local=trust",
                        "--no-sync", "-E", "UTF8", "--locale=C"], check=True, cwd="/",
                       stdout=subprocess.DEVNULL)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def start(self):
        self.process = keeper.start(
            [*self.as_user, f"{self.bin}/postgres", "-D", f"{self.dir}/data", "-p", str(self.port),
             "-k", self.dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off",
             "-c", "shared_buffers=16MB", "-c", "max_connections=40"], log=f"{self.dir}/log",
            cwd="/")
        keeper.wait_until(self._is_ready, 30, "PostgreSQL")
        return self

    def _is_ready(self):
        return subprocess.run([f"{self.bin}/pg_isready", "-q", "-h", self.dir, "-p",
                               str(self.port)], check=False).returncode == 0

    def kill(self):
        """As when the machine loses its power."""
        keeper.end(self.process, signal.SIGQUIT)

    def stop(self):
        keeper.end(self.process, signal.SIGINT)

    def close(self):
        if self.process and self.process.poll() is None:
            keeper.end(self.process, signal.SIGQUIT)
        keeper.drop_folder(self.dir)

    def ask(self, text, database="postgres"):
        """Lines of the answer, fields with | between."""
        done = subprocess.run([f"{self.bin}/psql", "-X", "-At", "-h", self.dir, "-p", str(self.port), "-U",
                               "shop", "-d", database, "-c", text], stdout=subprocess.PIPE,
                              text=True, check=True)
        return done.stdout.splitlines()

    def url(self, database="postgres", driver=""):
        return f"postgresql{driver}://shop:s3cret@127.0.0.1:{self.port}/{database}"

"""A master, its replica and three Sentinels that fail over by a majority of two."""
import tempfile

import redis

from . import keeper
from .redis_server import Redis

NAME = "mymaster"


class _Sentinel:
    """password: of the Sentinel itself; master_password: what it logs in with."""

    def __init__(self, master_port, password=None, master_password=None):
        self.dir = tempfile.mkdtemp(prefix="smallage-sentinel-")
        keeper.keep_folder(self.dir)
        self.port = keeper.free_port()
        lines = [f"port {self.port}", "bind 127.0.0.1", f"dir {self.dir}",
                 f"sentinel monitor {NAME} 127.0.0.1 {master_port} 2",
                 f"sentinel down-after-milliseconds {NAME} 2000",
                 f"sentinel failover-timeout {NAME} 4000"]
        if password:
            lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
        if master_password:
            lines += [f"sentinel auth-pass {NAME} {master_password}"]
        with open(f"{self.dir}/conf", "w") as out:
            out.write("\n".join(lines) + "\n")
        self.process = keeper.start(["redis-server", f"{self.dir}/conf", "--sentinel"],
                                    log=f"{self.dir}/log")
        keeper.wait_for_port(self.port)
        self.client = redis.Redis(port=self.port, password=password, decode_responses=True)

    def close(self):
        self.client.close()
        keeper.end(self.process)
        keeper.drop_folder(self.dir)


class Sentinels:
    """password: of master and replica; sentinel_password: of the Sentinels."""

    def __init__(self, password=None, sentinel_password=None):
        login = ("--requirepass", password, "--masterauth", password) if password else ()
        self.password, self.sentinel_password = password, sentinel_password
        self.servers = [Redis("--repl-diskless-sync-delay", "0", *login) for _ in range(2)]
        self.sentinels = []

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def client(self, port, db=0, **more):
        return redis.Redis(port=port, db=db, password=self.password, **more)

    def start(self):
        master, replica = self.servers
        master.start()
        replica.start()
        self.client(replica.port).replicaof("127.0.0.1", master.port)
        keeper.wait_until(self._is_synced, 20, "a replica")
        self.sentinels = [_Sentinel(master.port, self.sentinel_password, self.password)
                          for _ in range(3)]
        for one in self.sentinels:
            keeper.wait_until(lambda: self._sees_all(one), 30, "Sentinels that know each other")
        return self

    def _is_synced(self):
        found = self.client(self.servers[0].port).info("replication").get("slave0")
        return bool(found) and found.get("state") == "online"

    @staticmethod
    def _sees_all(sentinel):
        state = sentinel.client.sentinel_master(NAME)
        return state["num-other-sentinels"] == 2 and state["num-slaves"] == 1

    def close(self):
        for one in [*self.sentinels, *self.servers]:
            one.close()

    @property
    def master(self):
        """The server that the first living Sentinel names."""
        for one in self.sentinels:
            if one.process.poll() is None:
                port = one.client.sentinel_get_master_addr_by_name(NAME)[1]
                return next(server for server in self.servers if server.port == port)
        raise AssertionError("no Sentinel is left")

    def wait_master(self, server, timeout=30):
        """Until `server` is the master, for all and in fact."""
        def is_master():
            return all(one.client.sentinel_get_master_addr_by_name(NAME)[1] == server.port
                       for one in self.sentinels if one.process.poll() is None) and \
                self.client(server.port).role()[0] in (b"master", "master")
        keeper.wait_until(is_master, timeout, "another master", 0.1)

    def other(self, server):
        return next(one for one in self.servers if one is not server)

    def fail_over(self):
        """Orderly: the master becomes a replica. Returns the new master."""
        new = self.other(self.master)
        keeper.wait_until(self._begins, 20, "a fail-over that begins")
        self.wait_master(new)
        return new

    def _begins(self):
        try:
            return self.sentinels[0].client.execute_command("SENTINEL FAILOVER", NAME)
        except redis.ResponseError:  # the replica is not known well enough yet
            return False

    def url(self, db=0):
        login = f":{self.password}@" if self.password else ""
        return ";".join(f"sentinel://{login}127.0.0.1:{one.port}/{db}" for one in self.sentinels)

    def options(self):
        """For broker_transport_options or result_backend_transport_options."""
        found = {"master_name": NAME}
        if self.sentinel_password:
            found["sentinel_kwargs"] = {"password": self.sentinel_password}
        return found

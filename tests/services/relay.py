"""A TCP relay in front of a server: cut connections, or let them hang, without touching it."""
import select
import socket
import threading
import time


class Relay:
    def __init__(self, target_port):
        self.target_port = target_port
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.pairs = []
        self.lock = threading.Lock()
        self.is_refusing = False
        self.may_flow = threading.Event()
        self.may_flow.set()
        self.is_swallowing = False
        self.delay_s = 0
        self.accepted = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.listener.close()
        self.may_flow.set()
        self.cut()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            self.accepted += 1
            if self.is_refusing:
                client.close()
                continue
            try:
                server = socket.create_connection(("127.0.0.1", self.target_port), 5)
            except OSError:
                client.close()
                continue
            for end in (client, server):
                end.settimeout(None)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            with self.lock:
                self.pairs.append((client, server))
            threading.Thread(target=self._pump, args=(client, server), daemon=True).start()

    def _pump(self, client, server):
        other = {client: server, server: client}
        try:
            while True:
                for end in select.select([client, server], [], [])[0]:
                    self.may_flow.wait()
                    data = end.recv(262144)
                    if not data:
                        return
                    time.sleep(self.delay_s)
                    if not (self.is_swallowing and end is server):
                        other[end].sendall(data)
        except (OSError, ValueError):
            pass
        finally:
            with self.lock:
                if (client, server) in self.pairs:
                    self.pairs.remove((client, server))
            client.close()
            server.close()

    def cut(self):
        """Breaks every connection, hard (RST). Returns how many there were."""
        with self.lock:
            pairs = list(self.pairs)
        for pair in pairs:
            for end in pair:
                try:
                    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
                    end.shutdown(socket.SHUT_RDWR)
                except OSError:
                    pass
        return len(pairs)

    def refuse(self, yes=True):
        """New connections are closed at once."""
        self.is_refusing = yes

    def hang(self):
        """Nothing passes any more, and nobody is told."""
        self.may_flow.clear()

    def swallow_answers(self, yes=True):
        """What the server says is thrown away; break the connections before they flow again."""
        self.is_swallowing = yes

    def delay(self, seconds):
        """What is read is passed on later by so much, one piece after the other."""
        self.delay_s = seconds

    def flow(self):
        self.may_flow.set()

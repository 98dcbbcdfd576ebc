"""A real SMTP server that records what it accepted: envelopes and raw bytes."""
import asyncio
import os
import ssl
import subprocess
import tempfile
import threading
from dataclasses import dataclass, field

from aiosmtpd.controller import Controller
from aiosmtpd.handlers import Sink
from aiosmtpd.smtp import SMTP, AuthResult, LoginPassword

from . import keeper


@dataclass
class Mail:
    sender: str
    recipients: list
    raw: bytes
    options: list = field(default_factory=list)
    user: str = None
    is_tls: bool = False
    connection: int = 0


class _Recorder(Sink):
    def __init__(self, owner):
        super().__init__()
        self.owner = owner

    async def handle_EHLO(self, server, session, envelope, hostname, responses):
        session.host_name = hostname
        session.number = id(session)
        return [responses[0], "250-PIPELINING", *responses[1:]]

    async def _scripted(self, verb, server, address=None):
        """An answer the test prepared, or None. "close" and "hang" are no SMTP answers."""
        answer = self.owner.next_answer(verb, address)
        if answer == "close":
            server.transport.abort()
            await asyncio.sleep(3600)
        if answer == "hang":
            await asyncio.sleep(3600)
        return answer

    async def handle_MAIL(self, server, session, envelope, address, options):
        answer = await self._scripted("MAIL", server, address)
        if answer:
            return answer
        envelope.mail_from = address
        envelope.mail_options.extend(options)
        return "250 OK"

    async def handle_RCPT(self, server, session, envelope, address, options):
        answer = await self._scripted("RCPT", server, address)
        if answer:
            return answer
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, server, session, envelope):
        answer = await self._scripted("DATA", server, envelope.rcpt_tos[0])
        if answer:
            return answer
        user = session.auth_data.login.decode() if session.auth_data else None
        self.owner.add(Mail(envelope.mail_from, list(envelope.rcpt_tos),
                            bytes(envelope.original_content), list(envelope.mail_options), user,
                            bool(server.transport.get_extra_info("ssl_object")), id(session)))
        return "250 2.0.0 Ok: queued as " + os.urandom(5).hex().upper()


class _Server(SMTP):
    def connection_made(self, transport):
        self.event_owner.connections += 1
        super().connection_made(transport)


class _Controller(Controller):
    def __init__(self, owner, handler, **options):
        self.owner = owner
        super().__init__(handler, **options)

    def factory(self):
        server = _Server(self.handler, **self.SMTP_kwargs)
        server.event_owner = self.owner
        return server


class Smtp:
    """Options: tls None | "starttls" | "implicit"; user/password switch AUTH on (required then).

    script: list of (verb, answer) or (verb, answer, recipient): the next such command gets this
    answer once. Answers: "451 4.3.0 text", "close", "hang". Verbs: MAIL RCPT DATA.
    """

    def __init__(self, tls=None, user=None, password=None, port=None, auth_needs_tls=None,
                 utf8=True, data_size_limit=33554432):
        self.mails = []
        self.script = []
        self.connections = 0
        self.logins = []
        self.changed = threading.Condition()
        self.tls, self.user, self.password, self.utf8 = tls, user, password, utf8
        self.auth_needs_tls = tls == "starttls" if auth_needs_tls is None else auth_needs_tls
        self.size_limit = data_size_limit
        self.port = port or keeper.free_port()
        self.dir = self.controller = self.ca_file = None

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.close()

    def _authenticate(self, server, session, envelope, mechanism, data):
        if not isinstance(data, LoginPassword):
            return AuthResult(success=False, handled=False)
        login, password = data.login.decode(), data.password.decode()
        self.logins.append((mechanism, login, password))
        return AuthResult(success=(login, password) == (self.user, self.password), handled=False,
                          auth_data=data)

    def start(self):
        options = {"enable_SMTPUTF8": self.utf8, "data_size_limit": self.size_limit,
                   "hostname": "127.0.0.1", "port": self.port}
        if self.tls:
            context = self._context()
            if self.tls == "implicit":
                options["ssl_context"] = context
            else:
                options.update(tls_context=context, require_starttls=True)
        if self.user:
            options.update(authenticator=self._authenticate, auth_required=True,
                           auth_require_tls=self.auth_needs_tls)
        self.controller = _Controller(self, _Recorder(self), **options)
        self.controller.start()
        self.connections = 0  # the controller tries itself
        return self

    def _context(self):
        self.dir = tempfile.mkdtemp(prefix="smallage-smtp-")
        keeper.keep_folder(self.dir)
        key, self.ca_file = f"{self.dir}/key.pem", f"{self.dir}/cert.pem"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out",
             self.ca_file, "-days", "2", "-subj", "/CN=localhost", "-addext",
             "subjectAltName=DNS:localhost,IP:127.0.0.1"],
            check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.ca_file, key)
        return context

    def close(self):
        if self.controller:
            self.controller.stop(no_assert=True)
            self.controller = None
        if self.dir:
            keeper.drop_folder(self.dir)

    def next_answer(self, verb, address):
        with self.changed:
            for i, entry in enumerate(self.script):
                if entry[0] == verb and (len(entry) < 3 or entry[2] == address):
                    return self.script.pop(i)[1]
        return None

    def add(self, mail):
        with self.changed:
            self.mails.append(mail)
            self.changed.notify_all()

    def wait(self, count, timeout=20):
        """The mails, once there are `count` of them."""
        with self.changed:
            self.changed.wait_for(lambda: len(self.mails) >= count, timeout)
            assert len(self.mails) >= count, f"{len(self.mails)} mails after {timeout} s"
            return list(self.mails)

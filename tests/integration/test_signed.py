"""Signed messages (serializer auth): tasks.md section 9, line 42."""
import datetime
import json
import os
import subprocess
import sys

import pytest
from celery.security.certificate import Certificate, FSCertStore
from celery.security.key import PrivateKey
from celery.security.serialization import SecureSerializer
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (BestAvailableEncryption, Encoding,
                                                          NoEncryption, PrivateFormat)
from kombu.compression import decompress

import messages
from messages import new_id
from worker import BUILD, SANITIZERS

pytestmark = pytest.mark.smallage_only("Celery's test worker does not call setup_security")

# A producer with everything signed: sends a task, waits for its signed result, asks for a ping.
CLIENT = """
import json, sys
from celery import Celery
conf = json.loads(sys.argv[1])
app = Celery("shop", broker=conf.pop("broker"), backend=conf.pop("backend"))
app.conf.update(conf)
app.setup_security()
value = app.send_task("testtasks.echo", ([1, "Zażółć"],)).get(timeout=20)
try:
    app.send_task("testtasks.raise_", ("ValueError", "no")).get(timeout=20)
except ValueError as error:
    value.append(str(error))
value.append(list(app.control.inspect(timeout=5, limit=1).ping().values())[0]["ok"])
print(json.dumps(value))
"""


class Signer:
    def __init__(self, folder, name, serial, password=None):
        key = rsa.generate_private_key(65537, 2048)
        issuer = x509.Name([x509.NameAttribute(x509.NameOID.COUNTRY_NAME, "PL"),
                            x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.timezone.utc)
        built = x509.CertificateBuilder().subject_name(issuer).issuer_name(issuer).public_key(
            key.public_key()).serial_number(serial).not_valid_before(now).not_valid_after(
            now + datetime.timedelta(days=1)).sign(key, hashes.SHA256())
        hidden = BestAvailableEncryption(password.encode()) if password else NoEncryption()
        self.key, self.certificate = folder / f"{name}.key", folder / "store" / f"{name}.pem"
        self.key.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, hidden))
        self.certificate.parent.mkdir(exist_ok=True)
        self.certificate.write_bytes(built.public_bytes(Encoding.PEM))
        self.password = password

    def serializer(self, inner="json"):
        return SecureSerializer(PrivateKey(self.key.read_bytes(), self.password),
                                Certificate(self.certificate.read_bytes()),
                                FSCertStore(str(self.certificate.parent)), "sha256", inner)

    def settings(self):
        found = {"task_serializer": "auth", "accept_content": ["auth"],
                 "security_key": str(self.key), "security_certificate": str(self.certificate),
                 "security_cert_store": str(self.certificate.parent)}
        if self.password:
            found["security_key_password"] = self.password
        return found


@pytest.fixture
def producer(tmp_path):
    return Signer(tmp_path, "producer", 12345)


@pytest.fixture
def own(tmp_path):
    return Signer(tmp_path, "worker", 2 ** 100, "a password")


@pytest.fixture
def queue(broker):
    broker.declare()
    broker.watch_rejects()
    return broker


def send(queue, task, body, **more):
    id = new_id()
    queue.publish(body, messages.headers(f"testtasks.{task}", id), **messages.properties(
        id, **{"content_type": "application/data", **more}))
    return id


@pytest.mark.parametrize("inner", ["json", "msgpack", "yaml"])
def test_a_signed_message_runs(queue, results, worker, producer, own, inner):
    """T-42"""
    worker(settings=own.settings())
    body = producer.serializer(inner).serialize([[[1, "Zażółć"]], {}, {}])
    assert results.value(send(queue, "echo", body)) == [1, "Zażółć"]


def test_what_is_not_signed_by_one_of_them_is_acked(queue, results, worker, producer, own,
                                                    tmp_path):
    """T-42"""
    (tmp_path / "else").mkdir()
    stranger = Signer(tmp_path / "else", "stranger", 5)
    impostor = Signer(tmp_path / "else", "producer", 12345)
    run = worker(settings=own.settings())
    value = [[1, 2], {}, {}]
    good = producer.serializer().serialize(value)
    middle = len(good) * 3 // 4
    changed = good[:middle] + ("A" if good[middle] != "A" else "B") + good[middle + 1:]
    bad = [stranger.serializer().serialize(value), impostor.serializer().serialize(value),
           changed, good[:100], json.dumps(value),
           producer.serializer("pickle").serialize(value)]
    ids = [send(queue, "add", body) for body in bad]
    assert results.value(send(queue, "add", good)) == 3
    queue.wait_empty()
    run.wait_log("[Cc]an't decode message body", count=len(bad))
    assert "Unknown certificate: 'PL stranger 5'" in run.log
    assert "Bad signature of 'PL producer 12345'" in run.log
    queue.dead(0)
    assert not any(results.record(id) for id in ids)


def test_what_is_not_auth_is_rejected(queue, results, worker, producer, own):
    """T-42 T-12"""
    run = worker(settings=own.settings())
    id = send(queue, "add", messages.body((1, 2)), content_type="application/json")
    run.wait_log("Refusing to deserialize untrusted content of type json")
    queue.dead([id])


def test_a_retry_is_signed(queue, results, worker, producer, own):
    """T-42"""
    run = worker(settings={**own.settings(), "task_compression": "gzip"})
    id = send(queue, "retry", producer.serializer().serialize([[5, 60], {}, {}]))
    results.wait(id, "RETRY")
    queue.wait_counts(0, 1)
    run.stop()
    message = queue.get("celery")
    assert (message.content_type, message.content_encoding) == ("application/data", "utf-8")
    body = decompress(message.body, message.headers["compression"])
    assert producer.serializer().deserialize(body)[0] == [5, 60]


def test_an_application_that_signs_everything(queue, results, worker, producer, own):
    """T-42"""
    worker(settings={**own.settings(), "result_serializer": "auth"})
    conf = {**producer.settings(), "result_serializer": "auth", "event_serializer": "auth",
            "broker": queue.url, "backend": results.url}
    done = subprocess.run([sys.executable, "-c", CLIENT, json.dumps(conf)], check=True, text=True,
                          stdout=subprocess.PIPE, timeout=60, cwd="/tmp")
    assert json.loads(done.stdout) == [1, "Zażółć", "no", "pong"]


def smallage(settings, *args):
    env = {f"CELERY_{key.upper()}": value if isinstance(value, str) else ",".join(value)
           for key, value in settings.items()}
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("CELERY_", "SMALLAGE_"))}
    return subprocess.run([BUILD / "bin/smallage", *args], check=False, text=True, timeout=30,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          env={**clean, **SANITIZERS, **env})


def test_call_signs_and_reads_what_is_signed(queue, results, worker, producer, own):
    """T-42"""
    worker(settings={**own.settings(), "result_serializer": "auth"})
    done = smallage(producer.settings(), "call", "testtasks.add", "[1, 2]", "-b", queue.url,
                    "--result-backend", results.url)
    assert (done.returncode, done.stdout) == (0, "3\n"), done.stderr


@pytest.mark.parametrize("change, said", [
    ({"accept_content": ["auth", "json"]}, "both task_serializer: auth and accept_content"),
    ({"task_serializer": "json"}, "both task_serializer: auth and accept_content"),
    ({"security_cert_store": "/nowhere"}, "nothing matches /nowhere"),
    ({"security_key_password": "wrong"}, "another password is needed"),
    ({"security_digest": "sha257"}, "'sha257' is no digest"),
    ({"security_key": "/nowhere"}, "security_key: /nowhere: No such file")])
def test_a_worker_that_could_not_verify_does_not_start(own, change, said):
    """T-42"""
    done = smallage({**own.settings(), **change}, "worker", "-b", "amqp://127.0.0.1:1//")
    assert done.returncode == 2 and said in done.stderr

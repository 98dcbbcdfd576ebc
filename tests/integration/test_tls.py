"""TLS with the servers: amqps://, rediss://, and the settings that say it. What a certificate can lack is tried in
tests/unit/transport/test_stream_tls.c."""
import json
import os
import ssl
import subprocess

import pytest

import services
from broker import Broker
from results import Results
from services.keeper import wait_until
from worker import BUILD, JUDGE


@pytest.fixture(scope="module")
def ca():
    with services.Authority() as authority:
        authority.issue("shop", "DNS:shop")
        yield authority


@pytest.fixture(scope="module")
def secure_rabbit(ca):
    """Wants certificates of who comes by TLS."""
    with services.RabbitMQ(tls=ca) as server:
        yield server


@pytest.fixture(scope="module")
def secure_redis(ca):
    with services.Redis(tls=ca) as server:
        yield server


@pytest.fixture
def secure(secure_rabbit):
    vhost = secure_rabbit.add_vhost(f"tls{os.urandom(4).hex()}")
    own = Broker(secure_rabbit, vhost)
    own.declare()
    yield own
    own.close()
    secure_rabbit.delete_vhost(vhost)


def options(ca, **more):
    """broker_use_ssl as py-amqp takes it (from JSON: without Python's constants)."""
    return {"ca_certs": str(ca.file), "certfile": str(ca.dir / "shop.pem"),
            "keyfile": str(ca.dir / "shop.key"), "cert_reqs": int(ssl.CERT_REQUIRED), **more}


def query(ca):
    given = options(ca)
    return "?" + "&".join(f"ssl_{name}={value}" for name, value in given.items()
                          if name != "cert_reqs")


def smallage(*args, settings=None, env=None, timeout=20):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("CELERY_")}
    clean.update({f"CELERY_{k.upper()}": v for k, v in (settings or {}).items()}, **(env or {}))
    return subprocess.run([str(BUILD / "bin/smallage"), *args], stdout=subprocess.PIPE, text=True,
                          stderr=subprocess.STDOUT, env=clean, timeout=timeout, check=False)


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
def test_a_worker_works_over_tls(version, worker, secure, ca, results):
    given = options(ca)
    if not JUDGE:
        given.update(tls_minimum_version=version, tls_maximum_version=version)
    worker(broker_url=secure.rabbit.tls_url(secure.vhost), settings={"broker_use_ssl": given})
    ids = [secure.send("add", (i, 1)) for i in range(200)]
    assert [results.value(id) for id in ids] == list(range(1, 201))
    large = "x" * 3_000_000
    assert results.value(secure.send("echo", (large,))) == large
    # The list of connections is a statistic: it lags a little behind.
    rows = wait_until(lambda: [row for row in secure.rabbit.connections(secure.vhost)
                               if row.get("ssl")], 10, "connections")
    assert JUDGE or {row["ssl_protocol"] for row in rows} == {version.replace("_", ".").lower()}


@pytest.mark.smallage_only("py-amqp does not take these")
def test_a_url_may_say_it_all(worker, secure, ca, results):
    worker(broker_url=secure.rabbit.tls_url(secure.vhost, query=query(ca)))
    assert results.value(secure.send("add", (1, 2))) == 3


def test_amqp_with_the_setting_is_tls_too(worker, secure, ca, results):
    url = secure.rabbit.tls_url(secure.vhost).replace("amqps", "amqp")
    worker(broker_url=url, settings={"broker_use_ssl": options(ca)})
    assert results.value(secure.send("add", (1, 2))) == 3


def test_a_python_producer_and_the_worker_meet_over_tls(worker, secure, ca, results):
    from celery import Celery
    url = secure.rabbit.tls_url(secure.vhost)
    one = worker(broker_url=url, settings={"broker_use_ssl": options(ca)})
    app = Celery("client", broker=url, backend=results.url, set_as_current=False)
    app.conf.broker_use_ssl = options(ca)
    assert app.send_task("testtasks.add", (3, 4)).get(timeout=10) == 7
    assert app.control.ping(timeout=5, limit=1) == [{one.node: {"ok": "pong"}}]
    app.close()


def test_the_certificate_may_be_the_login(worker, secure, ca, results):
    secure.rabbit.api("PUT", "/users/shop", {"password_hash": "", "tags": ""})
    secure.rabbit.api("PUT", f"/permissions/{secure.vhost}/shop",
                      {"configure": ".*", "write": ".*", "read": ".*"})
    settings = {"broker_use_ssl": options(ca), "broker_login_method": "EXTERNAL"}
    worker(broker_url=secure.rabbit.tls_url(secure.vhost), settings=settings)
    assert results.value(secure.send("add", (1, 2))) == 3
    rows = wait_until(lambda: [row for row in secure.rabbit.connections(secure.vhost)
                               if row.get("ssl")], 10, "connections")
    assert {row["user"] for row in rows} == {"shop"}
    if not JUDGE:
        said = smallage("check", "-b", secure.rabbit.url(secure.vhost),
                        settings={"broker_login_method": "EXTERNAL"})
        assert "broker     FAILED" in said.stdout, said.stdout


def test_connections_come_back(worker, secure, ca, results):
    one = worker(broker_url=secure.rabbit.tls_url(secure.vhost),
                 settings={"broker_use_ssl": options(ca)})
    assert results.value(secure.send("add", (1, 1))) == 2
    assert secure.server_closes() > 0
    one.wait_log("Connection to broker lost|Connected to amqp", 20, 2)
    ids = [secure.send("add", (i, 2)) for i in range(20)]
    assert [results.value(id, 30) for id in ids] == list(range(2, 22))


@pytest.mark.deviates("Celery tries the second URL with the options of the first")
def test_a_fail_over_list_with_tls(worker, secure, ca, results):
    """C-58"""
    one = worker(broker_url="amqps://127.0.0.1:1//;" +
                 secure.rabbit.tls_url(secure.vhost, query=query(ca)))
    assert results.value(secure.send("add", (1, 2))) == 3
    assert "127.0.0.1:1" in one.log


REFUSALS = {
    "unknown ca": ({"ca_certs": None}, "unknown CA: the certificate's issuer CN=test-ca"),
    "no certificate": ({"certfile": None, "keyfile": None}, "wants a client certificate"),
    "wrong host": ({"server_hostname": "other.example"},
                   "wrong host: the certificate is for localhost, 127.0.0.1, not for other"),
}


@pytest.mark.smallage_only("the texts are ours")
@pytest.mark.parametrize("name", REFUSALS)
def test_a_refusal_says_why_and_is_tried_again(name, worker, secure, ca):
    change, words = REFUSALS[name]
    given = {k: v for k, v in options(ca, **change).items() if v is not None}
    one = worker(broker_url=secure.rabbit.tls_url(secure.vhost), ready=False,
                 settings={"broker_use_ssl": given})
    one.wait_log(words, 20)
    one.wait_log("Trying again in")
    check = smallage("check", "-b", secure.rabbit.tls_url(secure.vhost),
                     settings={"broker_use_ssl": json.dumps(given)})
    assert check.returncode != 0
    assert words in check.stdout, check.stdout


@pytest.mark.smallage_only("a command of ours")
def test_check_says_how_the_broker_is_verified(secure, ca):
    url = secure.rabbit.tls_url(secure.vhost)
    check = smallage("check", "-b", url, settings={"broker_use_ssl": json.dumps(options(ca))})
    assert f"certificate verified by {ca.file}, client certificate" in check.stdout, check.stdout
    lax = smallage("check", "-b", url,
                   settings={"broker_use_ssl": json.dumps(options(ca, cert_reqs="none"))})
    assert "is not verified" in lax.stdout, lax.stdout


@pytest.mark.smallage_only("a command of ours")
def test_a_port_without_tls_and_one_that_has_it_are_told(secure, ca):
    plain = secure.rabbit.tls_url(secure.vhost).replace(str(secure.rabbit.tls_port),
                                                        str(secure.rabbit.port))
    said = smallage("check", "-b", plain, settings={"broker_use_ssl": json.dumps(options(ca))})
    assert "speaks no TLS on this port" in said.stdout, said.stdout
    other = secure.rabbit.url(secure.vhost, port=secure.rabbit.tls_port)
    said = smallage("check", "-b", other)
    assert "use amqps://" in said.stdout, said.stdout


@pytest.mark.smallage_only("a command of ours")
def test_a_missing_file_ends_the_start(secure):
    said = smallage("worker", "-b", "amqps://localhost//?ssl_ca_certs=/nowhere/ca.pem")
    assert said.returncode != 0
    assert "ca_certs /nowhere/ca.pem: No such file" in said.stdout


@pytest.fixture
def records(secure_redis):
    """What the worker stores, read in clear."""
    store = Results(secure_redis.port, 1)
    store.client.flushdb()
    yield store
    store.close()


def store_options(ca, **more):
    return {f"ssl_{k}": v for k, v in options(ca, **more).items()} | {"ssl_cert_reqs": "required"}


def store_query(ca):
    return "?" + "&".join(f"{name}={value}" for name, value in store_options(ca).items())


def test_results_go_over_tls(worker, broker, ca, secure_redis, records):
    """C-52"""
    broker.declare()
    worker(backend_url=secure_redis.tls_url(1, query=store_query(ca)))
    ids = [broker.send("add", (i, 1)) for i in range(100)]
    assert [records.value(id) for id in ids] == list(range(1, 101))


def test_the_setting_may_say_it(worker, broker, ca, secure_redis, records):
    broker.declare()
    worker(backend_url=secure_redis.tls_url(1),
           settings={"redis_backend_use_ssl": store_options(ca)})
    large = "x" * 3_000_000
    assert records.value(broker.send("echo", (large,))) == large


def test_a_python_client_reads_what_went_over_tls(worker, broker, ca, secure_redis):
    from celery import Celery
    broker.declare()
    url = secure_redis.tls_url(1, query=store_query(ca))
    worker(backend_url=url)
    app = Celery("client", broker=broker.url, backend=url, set_as_current=False)
    assert app.send_task("testtasks.add", (3, 4)).get(timeout=10) == 7
    app.close()


@pytest.mark.slow
@pytest.mark.deviates("Celery's worker ends when results cannot be stored")
def test_results_wait_for_a_server_with_tls(worker, broker, ca):
    broker.declare()
    with services.Redis(tls=ca) as server:
        one = worker(backend_url=server.tls_url(1, query=store_query(ca)))
        first = broker.send("add", (1, 1))
        store = Results(server.port, 1)
        assert store.value(first) == 2
        server.kill()
        ids = [broker.send("add", (i, 2)) for i in range(20)]
        one.wait_log("testtasks.add.*succeeded", 20, 21)
        server.start()
        assert [store.value(id, 30) for id in ids] == list(range(2, 22))
        store.close()


def test_a_store_must_be_told_whether_to_verify(worker, broker, secure_redis):
    """C-52: as Celery, which ends with a traceback."""
    one = worker(ready=False, backend_url=secure_redis.tls_url(1))
    one.may_fault = True
    assert one.wait_end(30) != 0 or JUDGE
    assert "ssl_cert_reqs" in one.log


@pytest.mark.smallage_only("a command of ours")
def test_check_says_how_results_are_verified(broker, ca, secure_redis):
    url = secure_redis.tls_url(1)
    good = smallage("check", "-b", broker.url, "--result-backend", url + store_query(ca))
    assert f"certificate verified by {ca.file}, client certificate" in good.stdout, good.stdout
    lax = smallage("check", "-b", broker.url, "--result-backend",
                   url + store_query(ca).replace("required", "none"))
    assert "the certificate of localhost is not verified" in lax.stdout, lax.stdout
    plain = smallage("check", "-b", broker.url, "--result-backend",
                     f"rediss://localhost:{secure_redis.port}/1" + store_query(ca), "-t", "8")
    assert "does it speak TLS on this port?" in plain.stdout, plain.stdout


def broker_app(url, given=None):
    """A Python producer on Redis."""
    from celery import Celery
    app = Celery("client", broker=url, set_as_current=False)
    app.conf.broker_use_ssl = given
    return app


def test_tasks_come_by_redis_over_tls(worker, ca, secure_redis, records):
    given = store_options(ca)
    url = secure_redis.tls_url(1, query=store_query(ca))
    one = worker(broker_url=url, backend_url=url)
    app = broker_app(url)
    ids = [app.send_task("testtasks.add", (i, 1)).id for i in range(50)]
    assert [records.value(id) for id in ids] == list(range(1, 51))
    assert app.control.ping(timeout=5, limit=1) == [{one.node: {"ok": "pong"}}]
    secure_redis.kill()
    secure_redis.start()
    ids = [app.send_task("testtasks.add", (i, 2)).id for i in range(20)]
    assert [records.value(id, 30) for id in ids] == list(range(2, 22))
    app.close()
    assert given["ssl_certfile"] not in one.log


def test_the_setting_is_enough_for_redis(worker, ca, secure_redis, records):
    url = f"redis://localhost:{secure_redis.tls_port}/1"
    given = store_options(ca)
    worker(broker_url=url, backend_url=url,
           settings={"broker_use_ssl": given, "redis_backend_use_ssl": given})
    app = broker_app(url, given)
    assert records.value(app.send_task("testtasks.add", (3, 4)).id) == 7
    app.close()


@pytest.mark.smallage_only("the texts are ours")
def test_a_redis_that_nobody_verifies_is_told(ca, secure_redis):
    """C-52"""
    said = smallage("check", "-b", secure_redis.tls_url(1), "--result-backend", "disabled://")
    assert "rediss:// without ssl_cert_reqs, as in Celery" in said.stdout, said.stdout
    assert "wants a client certificate" in said.stdout, said.stdout
    bare = smallage("check", "-b", f"redis://localhost:{secure_redis.tls_port}/1",
                    "--result-backend", "disabled://", settings={"broker_use_ssl": "true"})
    assert "true says too little for redis://" in bare.stdout, bare.stdout
    good = smallage("check", "-b", secure_redis.tls_url(1, query=store_query(ca)),
                    "--result-backend", "disabled://")
    assert f"certificate verified by {ca.file}, client certificate" in good.stdout, good.stdout


@pytest.mark.smallage_only("shipped tasks")
def test_text_messages_go_to_a_gateway_with_a_ca_of_its_own(worker, broker, ca, results):
    broker.declare()
    with services.Twilio(tls=ca) as gateway:
        env = {"SMS_PROVIDER": "twilio", "TWILIO_ACCOUNT_SID": gateway.account,
               "TWILIO_AUTH_TOKEN": gateway.token, "TWILIO_FROM_NUMBER": gateway.sender,
               "TWILIO_API_BASE": gateway.url, "SMS_MAX_RETRIES": "0"}
        own = {"SMS_CA_FILE": str(ca.file), "SMS_SSL_CERTFILE": str(ca.dir / "shop.pem"),
               "SMS_SSL_KEYFILE": str(ca.dir / "shop.key")}
        worker(env={**env, **own})
        sent = results.value(broker.send("app.tasks.notifications.send_sms_task",
                                         ("+48123456789", "hello")))
        assert sent["sid"] == gateway.messages[0]["sid"]
        assert "knows the account" not in smallage("check", "-b", broker.url, env=env).stdout
        said = smallage("check", "-b", broker.url, env={**env, "SMS_CA_FILE": str(ca.file)})
        assert "sms        FAILED twilio: " in said.stdout, said.stdout

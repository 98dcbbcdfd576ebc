"""Real servers for tests, each on private ports and in a private directory.

    with services.RabbitMQ() as rabbit, services.Redis() as redis: ...

Everything started here ends with the process that started it, also when that is killed.
"""
from .keeper import free_port, wait_for_port
from .memcached import Memcached
from .postgres import Postgres
from .prometheus import Prometheus
from .rabbitmq import RabbitMQ
from .redis_sentinel import Sentinels
from .redis_server import Redis
from .relay import Relay
from .smtp import Smtp
from .tls import Authority
from .twilio import Twilio

__all__ = ["Authority", "Memcached", "Postgres", "Prometheus", "RabbitMQ", "Redis", "Relay", "Sentinels",
           "Smtp", "Twilio", "free_port", "wait_for_port"]

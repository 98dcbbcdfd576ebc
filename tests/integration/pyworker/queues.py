"""task_queues as smallage.yaml has them, made into kombu's objects as a Celery user writes them."""
from kombu import Exchange, Queue, binding
from kombu.common import Broadcast


def exchange_of(value, kind=None):
    if isinstance(value, dict):
        return Exchange(**value)
    return Exchange(value, type=kind) if value else None


def binding_of(row):
    return binding(exchange_of(row["exchange"], row.get("exchange_type")),
                   row.get("routing_key", ""), arguments=row.get("arguments"))


def queue_of(row):
    if isinstance(row, str):
        return Queue(row, Exchange(row), routing_key=row)
    more = dict(row)
    name = more.pop("name")
    if more.pop("broadcast", False):
        return Broadcast(name, **more)
    if "bindings" in more:
        more["bindings"] = [binding_of(each) for each in more["bindings"]]
    exchange = exchange_of(more.pop("exchange", None), more.pop("exchange_type", None))
    return Queue(name, exchange, **more)


def queues_of(setting):
    if isinstance(setting, list):
        return [queue_of(row) for row in setting]
    return setting and {name: Broadcast(name) if row.get("broadcast") else row
                        for name, row in setting.items()}

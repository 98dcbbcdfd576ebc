"""kombu's JSON envelope, in which messages lie on brokers that have no properties of their own."""
import base64
import json
import uuid

OWN = ("delivery_info", "delivery_tag", "body_encoding")


def write(body, headers, exchange, routing_key, **properties):
    """properties: as AMQP names them."""
    data = body if isinstance(body, bytes) else body.encode()
    envelope = {"body": base64.b64encode(data).decode(), "headers": headers or {}}
    for name in ("content_type", "content_encoding"):
        if name in properties:
            envelope[name.replace("_", "-")] = properties.pop(name)
    envelope["properties"] = {
        **properties, "delivery_info": {"exchange": exchange, "routing_key": routing_key},
        "body_encoding": "base64", "delivery_tag": str(uuid.uuid4())}
    return json.dumps(envelope)


class Envelope:
    """Read: what py-amqp's messages show, under the same names."""

    def __init__(self, raw):
        self.raw = raw
        whole = json.loads(raw)
        self.headers = whole.get("headers") or {}
        own = whole.get("properties") or {}
        self.body = whole.get("body")
        if own.get("body_encoding") == "base64":
            data = base64.b64decode(self.body, validate=True)
            try:
                self.body = data.decode()
            except UnicodeDecodeError:
                self.body = data
        self.delivery_info = {
            **own.get("delivery_info", {}),
            "redelivered": bool(self.headers.get("redelivered")
                                or own.get("delivery_info", {}).get("redelivered"))}
        self.delivery_tag = own.get("delivery_tag")
        self.properties = {k: v for k, v in own.items() if k not in OWN and v is not None}
        for name in ("content-type", "content-encoding"):
            if name in whole:
                self.properties[name.replace("-", "_")] = whole[name]
        self.content_type = self.properties.get("content_type")
        self.content_encoding = self.properties.get("content_encoding")
        self.properties["application_headers"] = self.headers

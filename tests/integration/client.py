"""A producer as an application has it. Runs under Celery 4.4, 5.2 and 5.7, and prints what came
back as JSON: client.py BROKER BACKEND PREFIX."""
import json
import sys

import celery
from celery import Celery

broker, backend, prefix = sys.argv[1:4]
app = Celery("shop", broker=broker, backend=backend)
app.conf.update(task_serializer="json", result_serializer="json", accept_content=["json"],
                timezone="UTC", enable_utc=True)

# (task, positional arguments, keyword arguments): each once by position, once by keyword.
CALLS = [
    ("send_email_task", ("plain@example.com", "Plain", "Only text.\n"), {}),
    ("send_email_task", (), {"to": "both@example.com", "subject": "Both parts",
                             "body": "As text\n", "html": "<p>As HTML</p>\n",
                             "tenant_id": "acme"}),
    ("send_welcome_email_task", ("new@example.com", "Zoë Żółć"), {}),
    ("send_welcome_email_task", (), {"user_email": "kw@example.com", "user_name": "Kay",
                                     "tenant_id": 7}),
    ("send_order_confirmation_task", ("A-1001", "buyer@example.com", 99.99, "USD"), {}),
    ("send_order_confirmation_task", (), {"order_id": 42, "customer_email": "kw-buyer@example.com",
                                          "order_total": "1234.50", "currency": "EUR",
                                          "tenant_id": "acme"}),
    ("send_password_reset_email_task", ("reset@example.com", "Ron", "t0ken-r"), {}),
    ("send_verification_email_task", (), {"user_email": "verify@example.com", "user_name": "Vera",
                                          "token": "t0ken-v"}),
    ("send_new_ip_notification_task", ("ip@example.com", "Ina", "203.0.113.9", "w-t0ken",
                                       "b-t0ken"), {}),
    ("send_sms_task", ("+48123456789", "Your code is 1234"), {}),
    ("send_sms_task", (), {"to": "+15551234567", "message": "Zażółć 😀", "tenant_id": "acme"}),
]
# Wrong ones: the client gets the exception.
WRONG = [
    ("send_email_task", ("no address", "x", "y"), {}),
    ("send_sms_task", ("12345", "x"), {}),
    ("send_welcome_email_task", (), {"nobody": 1}),
]


def call(name, args, kwargs):
    return app.send_task(prefix + "." + name, args=args, kwargs=kwargs)


sent = [call(*each) for each in CALLS]
values = [result.get(timeout=30) for result in sent]
errors = []
for name, args, kwargs in WRONG:
    try:
        call(name, args, kwargs).get(timeout=30)
        errors.append(None)
    except Exception as error:  # whatever the worker said
        errors.append([type(error).__name__, [str(a) for a in error.args]])
delayed = app.send_task(prefix + ".send_sms_task", args=("+48123456789", "later"), countdown=1)
print(json.dumps({"celery": celery.__version__, "ids": [result.id for result in sent],
                  "values": values, "errors": errors, "delayed": delayed.get(timeout=30)["to"],
                  "states": [result.state for result in sent]}))

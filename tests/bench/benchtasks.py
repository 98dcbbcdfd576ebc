"""The Python side of the measures: the same tasks for Celery's worker."""
import os
import smtplib
import time
from email.message import EmailMessage

from celery import Celery

app = Celery("bench")
app.conf.worker_prefetch_multiplier = int(os.environ.get("BENCH_MULTIPLIER", "4"))
_connections = {}


@app.task(name="testtasks.noop")
def noop():
    return None


@app.task(name="testtasks.echo")
def echo(value=None, **extra):
    return None


@app.task(name="canvastasks.size")
def size(value=None):
    return len(value)


@app.task(name="testtasks.sleep")
def sleep(seconds):
    time.sleep(seconds)


@app.task(name="app.tasks.notifications.send_email_task")
def send_email_task(to, subject, body, html=None):
    message = EmailMessage()
    message["To"], message["Subject"], message["From"] = to, subject, "noreply@example.com"
    message.set_content(body)
    message.add_alternative(html, subtype="html")
    key = os.getpid()
    if key not in _connections:
        _connections[key] = smtplib.SMTP(os.environ["EMAIL_HOST"], int(os.environ["EMAIL_PORT"]))
    _connections[key].send_message(message)
    return {"status": "sent"}

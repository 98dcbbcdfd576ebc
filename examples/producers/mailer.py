"""What the tasks do when `celery worker` runs them: plain smtplib. smallage does not need this file."""

import os
import smtplib
import ssl
from email.message import EmailMessage
from email.utils import formataddr, formatdate


def _list(value):
    if not value:
        return []
    return value.split(",") if isinstance(value, str) else list(value)


def send(task, to, subject, body, html=None, from_email=None, reply_to=None, cc=None, bcc=None, headers=None):
    env = os.environ.get
    address = env("EMAIL_FROM_ADDRESS", "noreply@example.com")
    message = EmailMessage()
    message["From"] = from_email or formataddr((env("EMAIL_FROM_NAME", ""), address))
    message["To"] = ", ".join(_list(to))
    if cc:
        message["Cc"] = ", ".join(_list(cc))
    if reply_to:
        message["Reply-To"] = ", ".join(_list(reply_to))
    message["Subject"] = subject
    message["Date"] = formatdate()
    message["Message-ID"] = "<%s@%s>" % (task.request.id, address.partition("@")[2])
    for name, value in (headers or {}).items():
        message[name] = value
    message.set_content(body or "")
    if html:
        message.add_alternative(html, subtype="html")

    result = {"to": _list(to), "message_id": message["Message-ID"], "attempts": task.request.retries + 1}
    if env("EMAIL_ENABLED", "False").lower() not in ("true", "1", "yes"):
        return {"status": "suppressed", "size": len(message.as_bytes()), **result}
    with smtplib.SMTP(env("EMAIL_HOST", "localhost"), int(env("EMAIL_PORT", "587")), timeout=30) as server:
        if server.ehlo() and server.has_extn("starttls"):
            server.starttls(context=ssl.create_default_context())
        if env("EMAIL_HOST_USER"):
            server.login(env("EMAIL_HOST_USER"), env("EMAIL_HOST_PASSWORD", ""))
        server.send_message(message, to_addrs=_list(to) + _list(cc) + _list(bcc))
    return {"status": "sent", "provider": "smtp", **result}

"""Mails about accounts. The methods keep their old form; the sending happens in the worker.

`argsrepr`/`kwargsrepr` hide the tokens: without them Celery puts the arguments as text into the
message, where monitors show them.
"""

from src.apps.core.tasks import (
    send_email_task,
    send_new_ip_notification_task,
    send_password_reset_email_task,
    send_verification_email_task,
    send_welcome_email_task,
)

HIDDEN = {"argsrepr": "(...)", "kwargsrepr": "{...}"}


class EmailService:
    @staticmethod
    async def send_email(to, subject, body, html=None):
        return send_email_task.delay(to, subject, body, html=html)

    @staticmethod
    async def send_welcome_email(user):
        return send_welcome_email_task.delay(user.email, user.name)

    @staticmethod
    async def send_password_reset_email(user, token):
        return send_password_reset_email_task.apply_async((user.email, user.name, token), **HIDDEN)

    @staticmethod
    async def send_verification_email(user, token):
        return send_verification_email_task.apply_async((user.email, user.name, token), **HIDDEN)

    @staticmethod
    async def send_new_ip_notification(user, ip, w_token, b_token):
        return send_new_ip_notification_task.apply_async((user.email, user.name, ip, w_token, b_token), **HIDDEN)

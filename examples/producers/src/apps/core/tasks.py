"""The background tasks of the IAM service, as `celery worker` runs them; smallage answers to the
same names and arguments."""

import mailer
from src.apps.core.celery_app import celery_app

RETRY = {"autoretry_for": (OSError,), "retry_backoff": 10, "max_retries": 5}
BASE = "http://localhost:8000"


@celery_app.task(bind=True, **RETRY)
def send_email_task(self, to, subject, body, html=None, from_email=None, reply_to=None, cc=None, bcc=None,
                    headers=None, template=None, context=None, tenant_id=None, **extra):
    if template:
        raise ValueError("templates are rendered by smallage")
    return mailer.send(self, to, subject, body, html, from_email, reply_to, cc, bcc, headers)


@celery_app.task(bind=True, **RETRY)
def send_welcome_email_task(self, user_email, user_name, tenant_id=None):
    return mailer.send(self, user_email, f"Welcome, {user_name}", f"Hello {user_name},\n\nwelcome.\n")


@celery_app.task(bind=True, **RETRY)
def send_password_reset_email_task(self, user_email, user_name, token, tenant_id=None):
    return mailer.send(self, user_email, "Set a new password", f"{BASE}/reset-password?token={token}\n")


@celery_app.task(bind=True, **RETRY)
def send_verification_email_task(self, user_email, user_name, token, tenant_id=None):
    return mailer.send(self, user_email, "Confirm your mail address", f"{BASE}/verify-email?token={token}\n")


@celery_app.task(bind=True, **RETRY)
def send_new_ip_notification_task(self, user_email, user_name, ip_address, w_token, b_token, tenant_id=None):
    return mailer.send(self, user_email, f"New sign-in from {ip_address}",
                       f"It was me: {BASE}/security/ip/confirm?token={w_token}\n"
                       f"It was not me: {BASE}/security/ip/block?token={b_token}\n")

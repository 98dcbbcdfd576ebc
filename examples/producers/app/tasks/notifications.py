"""The notification tasks of the shop, as `celery worker` runs them; smallage answers to the same
names and arguments."""

import logging

import mailer
from app.celery_app import celery_app

log = logging.getLogger(__name__)
RETRY = {"autoretry_for": (OSError,), "retry_backoff": 10, "max_retries": 5}


@celery_app.task(bind=True, **RETRY)
def send_email_task(self, to, subject, body, html=None, from_email=None, reply_to=None, cc=None, bcc=None,
                    headers=None, template=None, context=None, tenant_id=None, **extra):
    if template:
        raise ValueError("templates are rendered by smallage")
    return mailer.send(self, to, subject, body, html, from_email, reply_to, cc, bcc, headers)


@celery_app.task(bind=True, **RETRY)
def send_order_confirmation_task(self, order_id, customer_email, order_total, currency, tenant_id=None):
    return mailer.send(self, customer_email, f"Order {order_id} confirmed",
                       f"Thank you for your order {order_id}: {float(order_total):.2f} {currency}\n")


@celery_app.task(bind=True, **RETRY)
def send_welcome_email_task(self, user_email, user_name, tenant_id=None):
    return mailer.send(self, user_email, f"Welcome, {user_name}", f"Hello {user_name},\n\nwelcome.\n")


@celery_app.task(bind=True)
def send_sms_task(self, to, message, sender=None, tenant_id=None, **extra):
    log.info("SMS to %s: %d characters", to, len(message))
    return {"status": "logged", "to": to, "provider": "log", "attempts": 1}

"""What the shop calls. Each method returns at once with the task's AsyncResult."""

from app.tasks.notifications import (
    send_email_task,
    send_order_confirmation_task,
    send_sms_task,
    send_welcome_email_task,
)


class NotificationService:
    @staticmethod
    def send_order_confirmation(order_id, customer_email, order_total, currency, tenant_id=None):
        return send_order_confirmation_task.delay(
            order_id=str(order_id),
            customer_email=customer_email,
            order_total=float(order_total),
            currency=currency,
            tenant_id=str(tenant_id) if tenant_id else None,
        )

    @staticmethod
    def send_welcome_email(user_email, user_name, tenant_id=None):
        return send_welcome_email_task.delay(
            user_email=user_email, user_name=user_name, tenant_id=str(tenant_id) if tenant_id else None
        )

    @staticmethod
    def send_email(to, subject, body, **options):
        return send_email_task.delay(to, subject, body, **options)

    @staticmethod
    def send_sms(to, message, tenant_id=None):
        return send_sms_task.delay(to, message, tenant_id=tenant_id)

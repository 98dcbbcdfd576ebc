"""The Celery application of the IAM service."""

from celery import Celery

import connection

celery_app = Celery("iam", include=["src.apps.core.tasks"])
celery_app.conf.update(
    connection.settings(),
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    enable_utc=True,
    task_time_limit=30 * 60,
    result_expires=3600,
)

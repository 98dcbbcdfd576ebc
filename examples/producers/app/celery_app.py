"""The Celery application of the shop. Nothing here knows which worker runs the tasks."""

from celery import Celery

import connection

celery_app = Celery("shop", include=["app.tasks.notifications"])
celery_app.conf.update(
    connection.settings(),
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    timezone="UTC",
    enable_utc=True,
    task_time_limit=300,
    task_soft_time_limit=240,
)

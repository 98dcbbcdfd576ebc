"""Where messages and results go: CELERY_BROKER_URL and CELERY_RESULT_BACKEND, or files.

Without a broker (DEBUG=True, or nothing set) both are files under ./smallage-data, exactly where
`smallage worker` looks when it has no broker either: start both in the same folder, or name it in
SMALLAGE_DATA.
"""

import os
import pathlib


def is_debug():
    return os.environ.get("DEBUG", "").lower() in ("true", "1", "yes")


def redis_url():
    password = os.environ.get("REDIS_PASSWORD")
    return "redis://{}{}:{}/{}".format(
        f":{password}@" if password else "",
        os.environ.get("REDIS_HOST", "localhost"),
        os.environ.get("REDIS_PORT", "6379"),
        os.environ.get("REDIS_DB", "0"),
    )


def files():
    root = pathlib.Path(os.environ.get("SMALLAGE_DATA", "smallage-data")).resolve()
    queue, control, results = root / "queue", root / "control", root / "results"
    for folder in (queue, control, results):
        folder.mkdir(parents=True, exist_ok=True)
    return {
        "broker_url": "filesystem://",
        "broker_transport_options": {
            "data_folder_in": str(queue),
            "data_folder_out": str(queue),
            "control_folder": str(control),
        },
        "result_backend": f"file://{results}",
    }


def settings():
    """What an application hands to app.conf.update()."""
    broker = os.environ.get("CELERY_BROKER_URL")
    backend = os.environ.get("CELERY_RESULT_BACKEND")
    if broker:
        return {"broker_url": broker, "result_backend": backend or redis_url()}
    if "REDIS_HOST" in os.environ and not is_debug():
        return {"broker_url": redis_url(), "result_backend": backend or redis_url()}
    return files()

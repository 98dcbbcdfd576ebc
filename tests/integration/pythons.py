"""Which Python has which version of Celery."""
import subprocess
import sys

import pytest


def python_of(version, test_home):
    if version == "5.7":
        return sys.executable
    if version == "5.2":
        found = subprocess.run(["/usr/bin/python3", "-c", "import celery; print(celery.__version__)"],
                               stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
                               check=False)
        if not found.stdout.startswith("5.2"):
            pytest.skip("the distribution's Celery 5.2 is not installed: tests/setup")
        return "/usr/bin/python3"
    path = test_home / f"venv{version.replace('.', '')}/bin/python"
    if not path.exists():
        pytest.skip(f"no Celery {version}: tests/setup (4.4 needs a Python <= 3.8)")
    return str(path)

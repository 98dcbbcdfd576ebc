"""Runs a command beside a private RabbitMQ, for tests that are no Python:

    python -m services COMMAND ...      with SMALLAGE_TEST_AMQP, SMALLAGE_TEST_RABBITMQCTL and SMALLAGE_TEST_PYTHON set
"""
import os
import pathlib
import shlex
import subprocess
import sys

from .rabbitmq import BIN, RabbitMQ


def main():
    with RabbitMQ(management=False) as rabbit:
        ctl = pathlib.Path(rabbit.dir) / "ctl"
        exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in rabbit.env.items())
        ctl.write_text(f"#!/bin/sh\n{exports}exec {BIN}/rabbitmqctl \"$@\"\n")
        ctl.chmod(0o755)
        env = {**os.environ, "SMALLAGE_TEST_AMQP": rabbit.url(), "SMALLAGE_TEST_RABBITMQCTL": str(ctl),
               "SMALLAGE_TEST_PYTHON": sys.executable}
        sys.exit(subprocess.run(sys.argv[1:], env=env, check=False).returncode)


main()

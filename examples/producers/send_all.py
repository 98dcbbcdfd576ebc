#!/usr/bin/env python3
"""Calls every shipped task through the two applications and prints what came of each.

    python3 send_all.py [--timeout SECONDS]     exits 1 when a task failed or did not end in time
"""

import argparse
import asyncio
import collections
import sys

from app.services.notifications import NotificationService
from src.apps.iam.services.email import EmailService

User = collections.namedtuple("User", "email name")


def send():
    user = User("ann@example.com", "Ann Müller")
    shop, iam = NotificationService, EmailService
    yield "send_order_confirmation", shop.send_order_confirmation(1042, user.email, 99.99, "USD", tenant_id="t1")
    yield "send_welcome_email (shop)", shop.send_welcome_email(user.email, user.name, tenant_id="t1")
    yield "send_email", shop.send_email(
        [user.email, "Bob <bob@example.com>"], "Grüße 👋", "Plain text.\n", html="<p>And <b>HTML</b>.</p>")
    yield "send_sms", shop.send_sms("+15005550009", "Your order is on its way.")
    yield "send_welcome_email (IAM)", asyncio.run(iam.send_welcome_email(user))
    yield "send_password_reset_email", asyncio.run(iam.send_password_reset_email(user, "reset-token"))
    yield "send_verification_email", asyncio.run(iam.send_verification_email(user, "verify-token"))
    yield "send_new_ip_notification", asyncio.run(
        iam.send_new_ip_notification(user, "203.0.113.7", "it-was-me", "block-it"))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--timeout", type=float, default=30, help="seconds to wait for each task")
    timeout = parser.parse_args().timeout
    failed = 0
    for name, result in list(send()):
        try:
            print(f"{name:28} {result.id}  {result.get(timeout=timeout, interval=0.05)}")
        except Exception as error:  # whatever a task raised comes out of get()
            failed += 1
            print(f"{name:28} {result.id}  {type(error).__name__}: {error}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

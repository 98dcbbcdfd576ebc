"""Calls the tasks of orders.c. tasks.py: smallage stubs -I ./orders.so > tasks.py"""
from celery import Celery

app = Celery("shop")  # CELERY_BROKER_URL and CELERY_RESULT_BACKEND name the servers

import tasks  # noqa: E402, its functions belong to the application above

lines = [{"price": 9.5, "count": 2}, {"price": 4.4, "count": 1}]
print(tasks.total.delay(lines).get(timeout=30))

# A chain: what total returns is book's first argument.
chain = tasks.total.s(lines, discount=0.1) | tasks.book.s(order_id=1001)
print("orders.book:", chain.delay().get(timeout=30))

# A task that sends others returns the id of their result.
booking = tasks.close.delay(1002, lines).get(timeout=30)
print("orders.close:", app.AsyncResult(booking).get(timeout=30))

try:
    tasks.total.delay()
except TypeError as wrong:  # before anything was sent
    print("one call was wrong:", wrong)

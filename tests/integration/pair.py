"""Celery's worker and the one under test, side by side in the same state."""
import threading

from conftest import fresh_results
from likeness import differences
from mailbox import Mailbox
from worker import Worker

NODE = "pair@test"


class Side:
    """One worker with a broker and a database of its own."""

    def __init__(self, stack, new_broker, redis_server, folder, judge, options, **more):
        self.broker = stack.enter_context(new_broker())
        self.results = stack.enter_context(fresh_results(redis_server))
        self.broker.declare()
        self.mailbox = Mailbox(self.broker)
        stack.callback(self.mailbox.close)
        folder.mkdir()
        self.worker = Worker(folder, self.broker.url, self.results.url, *options, judge=judge,
                             name=NODE, ready=False, broker=self.broker, **more)
        stack.callback(self._end)

    def _end(self):
        # Tasks of an hour run: the stop of a worker is another test's subject.
        self.worker.kill()
        assert not self.worker.faults(), "\n".join(self.worker.faults())


class Pair:
    """Celery's worker, and the one under test."""

    def __init__(self, *sides):
        self.sides = sides

    def both(self, function):
        """function(side) for both, at the same time."""
        found = [None, None]

        def run(i):
            try:
                found[i] = function(self.sides[i])
            except BaseException as error:  # given back in the test's own thread
                found[i] = error
        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in found:
            if isinstance(answer, BaseException):
                raise answer
        return found

    def compare(self, rows, volatile=()):
        """rows: (method, arguments) or (method, arguments, more volatile paths). All differences
        together are the failure's text."""
        wrong = []
        for method, arguments, *more in rows:
            judge, other = self.both(
                lambda side: self._ask(side, method, arguments))  # pylint: disable=W0640
            for line in differences(judge, other, [*volatile, *(more[0] if more else ())]):
                wrong.append(f"{method} {arguments}: {line}")
        assert not wrong, "\n" + "\n".join(wrong)

    @staticmethod
    def _ask(side, method, arguments):
        try:
            return side.mailbox.ask(method, arguments, timeout=5)
        except AssertionError:
            return {"no reply": side.worker.log[-300:] if side.worker.judge else True}

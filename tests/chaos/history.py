"""What the server did with each message, from its append-only file: every write command in order,
those of scripts too. Tells who had a message that is gone."""
import collections
import pathlib
import re

UUID = re.compile(rb"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
OURS = re.compile(rb"[0-9a-f-]{32,36}:\d+$")  # a field of smallage: its session, and a number

Step = collections.namedtuple("Step", "number verb key field")


def commands(path):
    """Each command as a list of arguments; a last one that was cut off is left out."""
    with open(path, "rb") as text:
        while line := text.readline():
            if line[:1] == b"#":
                continue  # a note of the time
            try:
                args = []
                for _ in range(int(line[1:])):
                    size = int(text.readline()[1:])
                    args.append(text.read(size))
                    text.read(2)
            except ValueError:
                return
            yield args


def of(redis, ids):
    """{id: its steps} for messages that were pushed, and held or put back."""
    wanted = {id.encode(): id for id in ids}
    steps, fields = {id: [] for id in ids}, {}
    if not wanted:
        return steps
    for path in sorted(pathlib.Path(redis.dir).glob("appendonlydir/*.incr.aof")):
        for number, args in enumerate(commands(path)):
            verb = args[0].upper()
            if verb in (b"LPUSH", b"RPUSH", b"HSET", b"HMSET"):
                paired = verb[:1] == b"H"
                for at in range(3 if paired else 2, len(args), 2 if paired else 1):
                    field = args[at - 1] if paired else b""
                    for id in wanted.keys() & set(UUID.findall(args[at])):
                        steps[wanted[id]].append(Step(number, verb, args[1], field))
                        if paired:
                            fields[field] = wanted[id]
            elif verb == b"HDEL":
                for field in args[2:]:
                    if field in fields:
                        steps[fields[field]].append(Step(number, verb, args[1], field))
    return steps


def last_holder(steps):
    """Which kind of worker had the message when it was seen for the last time. Celery takes it
    from the queue with one command and records that with the next."""
    if not steps:
        return "nobody"  # it never came into the queue
    last = steps[-1]
    if last.verb in (b"LPUSH", b"RPUSH"):
        return "celery"
    return "smallage" if OURS.match(last.field) else "celery"


def kinds_that_took(steps):
    """Who took the message, in order."""
    return ["smallage" if OURS.match(step.field) else "celery" for step in steps
            if step.verb in (b"HSET", b"HMSET")]


def who_doubled(steps, first, second):
    """Of two runs by workers of these kinds, whose message was given to another although it lived.
    Celery may have one for longer than its visibility timeout before it begins: then another that
    got it meanwhile runs it first, and Celery's run is the one too many."""
    took = kinds_that_took(steps)
    since = took[::-1].index("smallage") if "smallage" in took else 0  # takes after smallage's last
    if (first, second) == ("smallage", "celery") and "celery" in took and \
            "celery" not in took[len(took) - since:]:
        return "celery"
    return first


def tell(steps):
    return " ".join(f"{step.number}:{step.verb.decode()}({(step.field or step.key).decode()})"
                    for step in steps)

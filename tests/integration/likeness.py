"""Compares what two workers answered: key by key, type by type."""
import re

# Values that differ between two workers in the same state, whatever they are; their types are
# compared all the same. Paths: keys joined by dots, [] for any place in a list.
VOLATILE = [
    r"(.*\.)?(pid|worker_pid|time_start|clock|uptime|eta|timestamp|prefetch_count)",
    r"(.*\.)?rusage\.\w+", r"(.*\.)?processes\[\]", r"(.*\.)?writes\..*", r"(.*\.)?loadavg\[\]",
    r"(.*\.)?(sw_ident|sw_ver|sw_sys|runtime|traceback)", r"broker\.(port|virtual_host)",
]
_VOLATILE = re.compile("|".join(f"(?:{each})" for each in VOLATILE))


def _kind(value):
    return "null" if value is None else type(value).__name__


def _order(value):
    """Lists of requests have no order of their own."""
    if isinstance(value, dict):
        return str(value.get("id") or (value.get("request") or {}).get("id") or value)
    return str(value)


def flat(value, path=""):
    """{path: (type, value)}; lists of objects are sorted by id."""
    found = {}
    if isinstance(value, dict):
        found[path or "."] = ("object", None)
        for key, each in value.items():
            found.update(flat(each, f"{path}.{key}" if path else key))
    elif isinstance(value, list):
        found[path or "."] = ("list", len(value))
        if value and all(isinstance(each, dict) for each in value):
            value = sorted(value, key=_order)
        for i, each in enumerate(value):
            found.update(flat(each, f"{path}[{i}]"))
    else:
        found[path or "."] = (_kind(value), _text(value) if isinstance(value, str) else value)
    return found


def _text(text):
    """Sets have no order either: {'b', 'a'} and "b, a" are written sorted."""
    text = re.sub(r"(?<=\{)'[^{}:]*'(?=\})", lambda m: ", ".join(sorted(m[0].split(", "))), text)
    if text.startswith("terminate: ") and "unknown" not in text:
        return "terminate: " + ", ".join(sorted(text[11:].split(", ")))
    return text


def differences(judge, other, volatile=()):
    """Lines that tell what is not alike; `volatile`: more paths than those above."""
    more = re.compile("|".join(f"(?:{each})" for each in volatile)) if volatile else None
    left, right = flat(judge), flat(other)
    lines = []
    gone = ()
    for path in sorted(set(left) | set(right)):
        if gone and path.startswith(gone):  # its parent has been told
            continue
        name = re.sub(r"\[\d+\]", "[]", path)
        is_volatile = _VOLATILE.fullmatch(name) or more and more.fullmatch(name)
        if path not in right:
            lines.append(f"{path}: missing, {left[path][0]} {left[path][1]!r} in Celery")
            gone += (path + ".", path + "[")
        elif path not in left:
            lines.append(f"{path}: {right[path][0]} {right[path][1]!r}, missing in Celery")
            gone += (path + ".", path + "[")
        elif left[path][0] != right[path][0]:
            lines.append(f"{path}: {right[path]!r}, {left[path]!r} in Celery")
        elif not is_volatile and left[path] != right[path]:
            lines.append(f"{path}: {right[path][1]!r}, {left[path][1]!r} in Celery")
    return lines

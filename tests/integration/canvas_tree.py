"""What a composition left behind, with names in place of the ids that workers drew at random.

The producer's own ids are counted, so they are the same in every run: `c0de0007-...-000000000003`
becomes `#3`. Others get their name from where they were first seen: `#3.0` is the first child of
#3, `#3>1` the second task that was sent by #3 and is nobody's child.
"""
import collections
import json
import re

UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
OURS = re.compile(r"c0de([0-9a-f]{4})-0000-4000-8000-([0-9a-f]{12})")
RECORD = ("status", "result", "children", "group_id", "parent_id", "name", "args", "kwargs",
          "retries", "queue", "stamps", "stamped_headers")
ENDS = ("succeeded", "failed", "retried", "revoked", "rejected")


def frozen_id(composition, number):
    return f"c0de{composition:04x}-0000-4000-8000-{number:012x}"


class Runs:
    """What the events tell of one task."""

    def __init__(self):
        self.kinds = collections.Counter()
        self.seen, self.order = {}, (1, 0)

    def add(self, event):
        kind = event["type"].split("-", 1)[1]
        # Events of two workers come in any order; who takes another's place is received after it.
        order = (-event.get("retries", 0), event["timestamp"])
        if kind == "received" and order < self.order:
            self.order = order
            self.seen = {key: event.get(key) for key in ("name", "args", "kwargs", "root_id",
                                                         "parent_id")}
        if kind in ENDS or kind == "received":
            self.kinds[kind] += 1


class Leavings:
    """All that one batch left: records by id, runs by id, lines of the journal.

    groups: {id of a member: id of its group} as the producer knows them."""

    def __init__(self, records, events, lines, groups):
        self.records = records
        self.groups = dict(groups)
        for id, record in records.items():
            if record.get("group_id"):
                self.groups[id] = record["group_id"]
            for child in record.get("children") or ():
                self._learn_group(child)
        self.runs = collections.defaultdict(Runs)
        for event in events:
            self.runs[event["uuid"]].add(event)
        self.lines = lines
        self.names, self.owner = {}, {}
        for id in {*records, *self.runs, *self._mentioned()}:
            found = OURS.fullmatch(id)
            if found:
                self._name(id, int(found[1], 16), f"#{int(found[2], 16)}")
        while self._name_children() or self._name_sent() or self._name_groups() or \
                self._name_accusers():
            pass

    def _learn_group(self, child):
        """From a result's tuple: [[id, parent], members]."""
        (id, parent), members = child
        for member in members or ():
            self.groups[member[0][0]] = id
            self._learn_group(member)
        if parent:
            self._learn_group(parent)

    def _mentioned(self):
        for record in self.records.values():
            yield from UUID.findall(json.dumps(record))
        for runs in self.runs.values():
            yield from UUID.findall(json.dumps(runs.seen))

    def _name(self, id, owner, name):
        self.names[id] = name
        self.owner[id] = owner

    def _name_children(self):
        """Those in `children` of a record with a name."""
        found = False
        for id in sorted(self.records.keys() & self.names.keys(), key=self.names.get):
            for i, child in enumerate(self._children(id)):
                fresh = [each for each in dict.fromkeys(UUID.findall(json.dumps(child)))
                         if each not in self.names]
                for k, each in enumerate(fresh):
                    self._name(each, self.owner[id], f"{self.names[id]}.{i}" + (f".{k}" if k else ""))
                    found = True
        return found

    def _children(self, id):
        """What never ran has no children; Celery shows what else the task sent that found that it
        would never run."""
        return self.records[id].get("children") or () if id in self.runs else ()

    def _sort_key(self, id):
        seen = self.runs[id].seen
        record = self.records.get(id) or {}
        return json.dumps([self._renamed(seen), record.get("status"),
                           self._renamed(record.get("result"))], sort_keys=True)

    def _name_sent(self):
        """Those whose parent has a name: in the order of what they are, for want of another."""
        below = collections.defaultdict(list)
        for id in (self.runs.keys() | self.records.keys()) - self.names.keys():
            parent = self._parent(id)
            origin = self._chord(id) or parent
            if origin in self.names:
                below[origin].append(id)
        for origin, ids in below.items():
            for k, id in enumerate(sorted(ids, key=self._sort_key)):
                self._name(id, self.owner[origin], f"{self.names[origin]}>{k}")
        return bool(below)

    def _parent(self, id):
        return (self.records.get(id) or {}).get("parent_id") or \
            (id in self.runs and self.runs[id].seen.get("parent_id")) or None

    def _name_groups(self):
        """Groups that are nobody's child: after their first member."""
        members = collections.defaultdict(list)
        for id, group in self.groups.items():
            if group not in self.names and id in self.names:
                members[group].append(id)
        for group, ids in members.items():
            first = min(ids, key=self.names.get)
            self._name(group, self.owner[first], f"group of {self.names[first]}")
        return bool(members)

    def _name_accusers(self):
        """Records of what never ran, by the task whose failure they tell."""
        below = collections.defaultdict(list)
        for id in self.records.keys() - self.names.keys():
            for blamed in UUID.findall(json.dumps(self.records[id].get("result"))):
                if blamed in self.names:
                    below[blamed].append(id)
                    break
        for blamed, ids in below.items():
            for k, id in enumerate(sorted(ids, key=self._sort_key)):
                self._name(id, self.owner[blamed], f"{self.names[blamed]}!{k}")
        return bool(below)

    def _renamed(self, value):
        text = json.dumps(value, sort_keys=True)
        return json.loads(UUID.sub(lambda m: self.names.get(m[0], "?"), text))

    def _is_body(self, id):
        """Was it perhaps called by a part of its chord? Which of them was the last is chance. What
        a task calls otherwise is among its children."""
        parent = self._parent(id)
        is_part = parent in self.groups or parent not in self.records  # or its result is ignored
        children = self._children(parent) if parent in self.records else ()
        return parent and is_part and id not in json.dumps(children)

    def _chord(self, id):
        """The group whose body it is. Of a part whose result is ignored that is known by the body."""
        if not self._is_body(id):
            return None
        return self.groups.get(self._parent(id)) or self.groups.get(id)

    def _root(self, id):
        return id in self.runs and self.runs[id].seen.get("root_id") or None

    def _chance_root(self, id):
        """The group whose body is above, if its parts have no common root (a producer sent them):
        then that of whichever was the last counts."""
        seen = set()
        while id and id not in seen:
            seen.add(id)
            group = self._chord(id)
            if group:
                parts = [each for each, its in self.groups.items() if its == group and each != id]
                if len({self._root(each) for each in parts} | {self._root(id)}) > 1:
                    return self.names.get(group, "?")
            id = self._parent(id)
        return None

    def _ancestry(self, id, kept):
        if self._is_body(id):
            kept["parent_id"] = "a part"
        group = self._chance_root(id)
        if group and self._root(id) != id:
            kept["root_id"] = f"of a part of {group}"
        return kept

    def _record(self, id):
        record = {**self.records[id], "children": self._children(id)}
        kept = self._renamed({key: record[key] for key in RECORD if record.get(key) is not None})
        kept["traceback"] = bool(record.get("traceback"))
        if self._is_body(id):
            kept["parent_id"] = "a part"
        return kept

    def _run(self, id):
        runs = self.runs[id]
        return {**self._ancestry(id, self._renamed(runs.seen)), **runs.kinds}

    def trees(self):
        """{composition: {"record #3": {...}, "run #3": {...}, "journal": [...]}}"""
        found = collections.defaultdict(dict)
        for id, name in self.names.items():
            if id in self.records:
                found[self.owner[id]][f"record {name}"] = self._record(id)
            if id in self.runs:
                found[self.owner[id]][f"run {name}"] = self._run(id)
        for line in self.lines:
            id = UUID.search(line)
            if id and id[0] in self.owner:
                found[self.owner[id[0]]].setdefault("journal", []).append(
                    UUID.sub(lambda m: self.names.get(m[0], "?"), line))
        for tree in found.values():
            tree.get("journal", []).sort()
        return found

    def strangers(self):
        """Tasks that nothing connects with a composition, as a sorted list."""
        ids = (self.records.keys() | self.runs.keys()) - self.names.keys()
        return sorted(json.dumps([self._record(id) if id in self.records else None,
                                  self._run(id) if id in self.runs else None], sort_keys=True)
                      for id in ids)

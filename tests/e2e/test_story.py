"""What happened and what was wanted: events, history, rollback."""

import json
import os
import threading

from harness import PATIENCE, check, equal, wait_for


class Follower:
    """`events -f -o json`, read as it comes."""

    def __init__(self, home, *args):
        self.child = home.start("events", "-f", "-o", "json", *args)
        self.seen = []
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.child.stdout:
            self.seen.append(json.loads(line))

    def kinds(self, vm):
        return [e["kind"] for e in self.seen if e["vm"] == vm]

    def wait(self, kind, vm="", text="", count=1):
        def probe():
            return [e for e in self.seen if e["kind"] == kind and e["vm"] == vm and text in e["text"]]
        return wait_for(f"event {kind} of '{vm}' with '{text}' (seen: {self.seen[-5:]})", PATIENCE,
                        lambda: len(probe()) >= count and probe())[-1]


def scenario_events_are_told_as_they_happen(home):
    home.fake_qemu()
    home.banger("daemon", "start")
    follower = Follower(home, "--tail", "0")
    path = home.spec(web="", db=", protect: true")
    home.banger("apply", "-f", path, "--yes")
    for vm in ("web", "db"):
        follower.wait("ready", vm)
        kinds = follower.kinds(vm)
        equal(kinds, ["created", "started", "ready"], f"of '{vm}'")
    applied = follower.wait("applied")
    check(path in applied["text"] and "2 created: db, web" in applied["text"], applied["text"])
    equal(applied["stack"], "t", "stack")
    # A daemon that is killed takes nothing away from who follows; ids go on.
    home.kill_daemon()
    home.banger("daemon", "start")
    pid = home.vm("web")["pid"]
    os.kill(pid, 9)
    follower.wait("died", "web")
    follower.wait("ready", "web", count=2)
    ids = [e["id"] for e in follower.seen]
    check(ids == sorted(set(ids)), f"each once, in order: {ids}")
    check([e for e in follower.seen if e["kind"] == "daemon" and "began" in e["text"]], "the new daemon said so")
    # Not done, and told nevertheless.
    home.banger("stop", "web")
    follower.wait("stopped", "web")
    home.spec(web="")
    home.banger("apply", "-f", path, "--yes", "--prune", code=3)
    follower.wait("refused", "db", "protected")
    # The same afterwards, and only what was asked for.
    listed = home.banger("events", "-o", "json", "--since", "1h").json()
    follower.wait("refused", "db")
    want = [e for e in listed if e["id"] > ids[0] - 1]
    equal([e["id"] for e in want], [e["id"] for e in follower.seen][:len(want)], "a list has the same")
    equal({e["vm"] for e in home.banger("events", "web", "-o", "json").json()}, {"web"}, "of one VM")
    equal({e["stack"] for e in home.banger("events", "t", "-o", "json").json()}, {"t"}, "of a stack")
    table = home.banger("events", "--tail", "2").out
    equal(len(table.splitlines()), 2, f"the last two\n{table}")
    check("refused" in table and "protected" in table, table)
    home.banger("events", "--tail", "many", code=2)

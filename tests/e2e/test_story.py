"""What happened and what was wanted: events, history, rollback."""

import json
import os
import threading

import jsonschema

from harness import PATIENCE, ROOT, check, equal, wait_for


class Follower:
    """`events -f -o json`, read as it comes."""

    def __init__(self, home, *args):
        self.child = home.start("events", "-f", "-o", "json", *args)
        self.seen = []
        threading.Thread(target=self.read, daemon=True).start()
        self.wait("daemon", text="began")  # from here on it misses nothing

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
    follower = Follower(home, "--tail", "1000")
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
    follower.wait("ready", "web", "ready after", count=2)
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


def revisions(home, *args):
    return home.banger("history", *args, "-o", "json").json()


def wanted(home, name):
    return home.banger("show", name, "-o", "json").json()["spec"]


def scenario_a_story_of_three_edits_is_taken_back(home):
    home.fake_qemu()
    home.banger("daemon", "start")
    follower = Follower(home, "--tail", "1000")
    path = home.spec(web="", db=", labels: {tier: data}")
    home.banger("apply", "-f", path, "--yes")
    first = {name: wanted(home, name) for name in ("db", "web")}
    edits = [dict(web=", labels: {tier: front}", db=", labels: {tier: data}"),
             dict(web=", labels: {tier: front}, restart: never", db=", labels: {tier: data}", new=""),
             dict(web=", labels: {tier: front}, restart: never", db="")]
    for edit in edits:
        home.spec(**edit)
        home.banger("apply", "-f", path, "--yes")
    home.banger("apply", "-f", path, "--yes")  # brings nothing new: no revision
    story = revisions(home)
    equal([r["rev"] for r in story], [4, 3, 2, 1], "newest first")
    equal({(r["uid"], r["stack"], r["source"], r["kind"]) for r in story}, {(os.getuid(), "t", path, "apply")}, "whose")
    check(all(r["who"] and abs(r["at_ms"] / 1000 - os.stat(path).st_mtime) < 3600 for r in story), "who, when")
    equal([r["rev"] for r in revisions(home, "new")], [3], "of one VM")
    equal(len(revisions(home, "t")), 4, "of a stack")
    table = home.banger("history").out
    check("web: labels" in table and path in table and "REV" in table, table)
    shown = home.banger("history", "2").out
    check("~ web" in shown and "tier=front" in shown and "db" not in shown, shown)
    detail = home.banger("history", "show", "3", "-o", "json").json()
    equal({i["name"]: (i["before"] is None, i["after"] is None) for i in detail["items"]},
          {"new": (True, False), "web": (False, False)}, "what it changed")
    home.banger("history", "99", code=2)
    # What was wanted then, as a file.
    home.file("then.yaml", home.banger("history", "1", "-o", "yaml").out)
    home.banger("validate", "-f", "then.yaml")
    # Back to the first state: a plan, then a new revision.
    missing = home.banger("rollback", "99", "--yes", code=2)
    check("no revision 99" in missing.err, missing)
    back = home.banger("rollback", "1", "--yes")
    check("was not there then, --prune deletes it" in back.out, back)
    check(path in back.err and "next apply" in back.err, f"the file still says otherwise\n{back}")
    check("new" in home.vms(), "kept without --prune")
    back = home.banger("rollback", "1", "--yes", "--prune")
    home.wait_gone("new")
    equal({name: wanted(home, name) for name in sorted(home.vms())}, first, "as in the beginning")
    newest = revisions(home)[0]
    equal((newest["kind"], newest["rev"]), ("rollback", 6), "is a revision itself")
    check("back to 1" in newest["summary"], newest)
    follower.wait("rolled-back", text="back to revision 1", count=2)
    follower.wait("deleted", "new")
    follower.wait("live", "web", "tier=front")
    equal(len([e for e in follower.seen if e["kind"] == "applied" and e["stack"] == "t"]), 5, "each apply")
    # The file says otherwise still, and history can go forward as well.
    check(home.banger("diff", "-f", path, code=1).out.count("~") >= 2, "the file says otherwise")
    home.banger("rollback", "4", "--yes")
    home.banger("diff", "-f", path, code=0)
    # It outlives the daemon.
    home.kill_daemon()
    equal(len(revisions(home)), 7, "after a restart")
    # A VM of nobody has a history too; what would not last is refused.
    home.banger("create", "lone", "--image", "tiny", "--memory", "128Mi", "--no-start")
    home.banger("set", "lone", "vcpus=3")
    home.banger("delete", "lone")
    home.wait_gone("lone")
    story = revisions(home, "lone")
    equal([r["kind"] for r in story], ["delete", "set", "create"], "of one that nobody owns")
    home.banger("rollback", str(story[1]["rev"]), "--yes")
    equal(wanted(home, "lone")["vcpus"], 3, "it is back")
    fleet = os.path.dirname(home.file("fleet/vms.yaml", "version: 1\nstack: fleet\nvms:\n  f: {image: tiny, state: stopped}\n"))
    home.banger("watch", fleet)
    wait_for("the watch made it", 20, lambda: "f" in home.vms())
    by_watch = revisions(home, "fleet")[0]
    equal((by_watch["who"], by_watch["kind"], by_watch["source"]), ("watch", "watch", fleet), "by watch")
    refused = home.banger("rollback", str(by_watch["rev"]), "--yes", code=3)
    check("watched" in refused.err and "unwatch" in refused.err, refused)


def plan_schema():
    with open(os.path.join(ROOT, "schema", "plan.schema.json")) as f:
        return json.load(f)


def scenario_a_saved_plan_is_refused_when_something_moved(home):
    schema = plan_schema()
    of_plan = dict(schema, **schema["$defs"]["plan"])
    home.fake_qemu()
    path = home.spec(web="", db="")

    def saved(code=1, *flags):
        home.banger("diff", "-f", path, "--out", "plan.json", *flags, code=code)
        with open(os.path.join(home.work, "plan.json")) as f:
            plan = json.load(f)
        jsonschema.validate(plan, schema)
        jsonschema.validate(home.banger("diff", "-f", path, "-o", "json", *flags, code=code).json(), of_plan)
        return plan

    equal(saved()["plan"]["to_create"], 2, "creations")
    equal(home.vms(), {}, "diff does nothing")
    home.banger("apply", "--plan", "plan.json", "--yes")
    equal({vm["state"] for vm in home.vms().values()}, {"ready"}, "carried out")
    # Once more: the host is another one now.
    again = home.banger("apply", "--plan", "plan.json", "--yes", code=3)
    check("moved" in again.err or "changed" in again.err, again)
    # A restart, with what it will cost as measured.
    home.spec(web=", kernel_args: x=1", db="")
    entry = saved()["plan"]["vms"][0]
    check(entry["kind"] == "restart" and 0 < entry["downtime_ms"] < 60000, entry)
    check("s down" in home.banger("diff", "-f", path, code=1).out, "in words")
    home.banger("stop", "db")
    home.banger("start", "db")
    home.banger("set", "db", "vcpus=2", code=3)
    home.banger("apply", "--plan", "plan.json", "--yes")
    # The host moves: the same words, but the VM was stopped by hand meanwhile.
    home.spec(web=", kernel_args: x=2", db="")
    saved()
    home.banger("stop", "db")
    pid = home.vm("web")["pid"]
    moved = home.banger("apply", "--plan", "plan.json", "--yes", code=3)
    check("moved" in moved.err or "changed" in moved.err, moved)
    equal(home.vm("web")["pid"], pid, "nothing was done")
    home.banger("start", "db")
    # The file moves.
    saved()
    home.spec(web=", kernel_args: x=3", db="")
    moved = home.banger("apply", "--plan", "plan.json", "--yes", code=3)
    check("has changed since the plan was saved" in moved.err and path in moved.err, moved)
    os.unlink(path)
    home.banger("apply", "--plan", "plan.json", "--yes", code=3)
    equal(home.vm("web")["pid"], pid, "nothing was done")
    # Not a plan; of another version; with what it has already.
    home.file("none.json", "{}")
    home.file("new.json", '{"banger_plan": 2}')
    check("not a plan" in home.banger("apply", "--plan", "none.json", code=2).err, "no plan")
    check("version 2" in home.banger("apply", "--plan", "new.json", code=2).err, "another version")
    home.banger("apply", "--plan", "plan.json", "--prune", code=2)
    # What would be lost is named with its size.
    home.spec(web=", kernel_args: x=1, work_disk: 32Mi", db="")
    with open(path) as f:
        text = f.read().replace("work_disk: 64Mi, system_disk: 512Mi, kernel_args: x=1, work_disk: 32Mi",
                                "work_disk: 32Mi, system_disk: 512Mi, kernel_args: x=1")
    home.file("vms.yaml", text)
    refused = home.banger("apply", "-f", path, "--yes", code=3)
    check("work_disk (64Mi)" in refused.err and "--allow-data-loss" in refused.err, refused)

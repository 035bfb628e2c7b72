"""Sets of replicas and depends_on: who starts, stops and is changed when."""

import hashlib
import json
import os
import re
import signal
import subprocess
import threading
import time

from harness import IN_LAB, PATIENCE, Rpc, check, equal, wait_for


def logged(home, vm, what):
    """Where the log says so of the VM, last time; -1: nowhere."""
    found = [m.start() for m in re.finditer(rf"vm={vm} {what}", home.log())]
    return found[-1] if found else -1


def in_order(home, *steps):
    """Each of the steps ("web", "ready") is in the log, in this order."""
    places = [logged(home, *step) for step in steps]
    check(-1 not in places and places == sorted(places), f"{steps} are at {places}\n{home.log()}")


def scenario_depends_on_orders_starts_and_stops(home):
    home.fake_qemu(off=300)
    slow, after = f", kernel_args: 'fake.ready={15000 if IN_LAB else 1500}'", ", depends_on: [db]"
    spec = home.spec(db=slow, app=after, web=", depends_on: [app]", alone="")
    diff = home.banger("diff", "-f", spec, code=1)
    work = home.start("apply", "-f", spec, "--yes")
    home.wait_state("alone", "ready")
    waiting = home.vm("app")
    check(home.vm("db")["state"] != "ready", "the VM that depends on nobody is ready before the slow one")
    equal((waiting["state"], waiting["pid"]), ("pending", 0), "app")
    check(waiting["reason"].startswith("waits for db: not ready yet ("), waiting["reason"])
    equal(home.vm("web")["reason"], "waits for app: not ready yet (pending)", "web")
    out, err = work.communicate(timeout=PATIENCE)
    equal(work.returncode, 0, f"apply: {out}{err}")
    in_order(home, ("alone", "ready after"), ("db", "ready after"), ("app", "create"), ("app", "ready after"), ("web", "create"))

    # A restart of one restarts no other; all in one command go in order.
    pids = {name: vm["pid"] for name, vm in home.vms().items()}
    home.banger("restart", "db")
    equal({n: v["pid"] for n, v in home.vms().items() if n != "db"}, {n: p for n, p in pids.items() if n != "db"}, "pids")
    home.banger("restart", "web", "db", "app")
    in_order(home, ("db", "ready after"), ("app", "restart"), ("app", "ready after"), ("web", "restart"))
    # One alone is stopped as it is asked; several go from the end.
    home.banger("stop", "db")
    equal(home.vm("app")["state"], "ready", "nobody else is stopped")
    home.banger("start", "db")
    home.banger("stop", "db", "app", "web")
    in_order(home, ("web", "stop"), ("app", "stop"), ("db", "stop"))
    equal([vm["state"] for vm in home.vms().values()], ["ready", "stopped", "stopped", "stopped"], "states")
    # Whoever waits for what will not come is told so, and starts when it comes after all.
    refused = home.banger("start", "app", code=4)
    check("vm 'app': waits for db: stopped by 'banger stop'" in refused.err, f"{refused}")
    work = home.start("start", "web", "db")
    home.wait_state("db", "ready")
    home.wait_state("app", "ready")
    out, err = work.communicate(timeout=PATIENCE)
    home.wait_state("web", "ready")
    # Stopped by the file, then deleted with it.
    home.spec(db=slow + ", state: stopped", app=after + ", state: stopped", web=", depends_on: [app], state: stopped", alone="")
    home.banger("apply", "-f", spec, "--yes")
    in_order(home, ("web", "stop"), ("app", "stop"), ("db", "stop"))
    home.spec(db=slow, app=after, web=", depends_on: [app]", alone="")
    home.banger("apply", "-f", spec, "--yes")
    home.spec(alone="")
    home.banger("apply", "-f", spec, "--yes", "--prune-all")
    in_order(home, ("web", "delete"), ("web", "deleted"), ("app", "delete"), ("app", "deleted"), ("db", "delete"))


def scenario_a_dependency_that_fails_blocks_and_says_so(home):
    home.fake_qemu()
    bad = ", kernel_args: 'fake.ready=-1', ready: {probe: ssh, timeout: 1s}"
    spec = home.spec(db=bad, web=", depends_on: [db]", alone="")
    failed = home.banger("apply", "-f", spec, "--yes", code=5)
    check("vm 'web': waits for db: vm 'db' runs but is not ready after 1 s" in failed.err, f"{failed}")
    check("alone ready in" in failed.out, f"{failed}")
    web = home.vm("web")
    equal((web["state"], web["pid"]), ("pending", 0), "web")
    check(web["reason"].startswith("waits for db: vm 'db' runs but is not ready"), web["reason"])
    # A new daemon knows it as well.
    home.kill_daemon()
    wait_for("web waits again", PATIENCE, lambda: home.vms()["web"]["reason"].startswith("waits for db: "))
    home.spec(db="", web=", depends_on: [db]", alone="")
    home.banger("apply", "-f", spec, "--yes")
    equal([vm["state"] for vm in home.vms().values()], ["ready"] * 3, "states")
    # Names: of a VM without a file, and in a directory where the other file comes later.
    size = ["--image", "tiny", "--memory", "128Mi", "--work-disk", "16Mi", "--system-disk", "512Mi"]
    unknown = home.banger("create", "own", *size, "--set", "depends_on=webb", code=2)
    check("no VM of this stack is called 'webb'" in unknown.err, f"{unknown}")
    folder = os.path.join(home.work, "dir")
    os.makedirs(folder)
    home.banger("watch", folder)
    home.spec("dir/b.yaml", stack="dir", late=", depends_on: [early, idle]")
    vm = home.wait_state("late", "pending")
    equal(vm["reason"], "waits for early: no VM of its stack is called so", "reason")
    listed = home.banger("watch", "--list", "-o", "json").out
    check("no VM of this stack is called 'early'" in listed, listed)
    home.spec("dir/c.yaml", stack="dir", idle=", replicas: 0")
    home.spec("dir/a.yaml", stack="dir", early="")
    home.wait_state("late", "ready")
    in_order(home, ("early", "ready after"), ("late", "create"))
    check("depends_on" not in home.banger("watch", "--list", "-o", "json").out, "no fault is left")


# --- rolls ---

class Sampler:
    """How many of a set are ready, asked all the time over one connection."""

    def __init__(self, home):
        self.rpc, self.least, self.count, self.over = Rpc(home), 99, 0, threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.over.is_set():
            try:
                vms = self.rpc.call("vm.list")["result"]["items"]
            except (OSError, ConnectionError):
                return  # the daemon was killed
            self.least = min(self.least, sum(vm["ready"] for vm in vms if vm["name"].startswith("worker-")))
            self.count += 1
            time.sleep(0.02)

    def end(self):
        self.over.set()
        self.thread.join(PATIENCE)
        self.rpc.close()
        return self.least


SET = ", replicas: 6, max_unavailable: 2"
NAMES = [f"worker-{i}" for i in range(1, 7)]


def pids(home):
    return {name: vm["pid"] for name, vm in home.vms().items() if name in NAMES}


def scenario_a_set_rolls_and_stops_at_a_failure(home):
    home.fake_qemu(ready=250)
    spec = home.spec(worker=SET)
    home.banger("apply", "-f", spec, "--yes")
    equal(sorted(home.vms()), NAMES, "names")
    first = pids(home)
    # More of them, and a limit, interrupt nobody.
    home.spec(worker=", replicas: 7, max_unavailable: 3")
    home.banger("apply", "-f", spec)
    equal(pids(home), first, "nobody was interrupted")
    home.spec(worker=SET)
    home.banger("apply", "-f", spec, "--yes", "--prune")
    equal(sorted(home.vms()), NAMES, "one less")

    home.spec(worker=SET + ", labels: {a: b}, kernel_args: 'fake.console=1'")
    diff = home.banger("diff", "-f", spec, code=1)
    check("Rolling: worker-1 ... worker-6, the first alone, then 2 at a time" in diff.out, f"{diff}")
    sampler = Sampler(home)
    home.banger("apply", "-f", spec, "--yes")
    least = sampler.end()
    check(4 <= least < 6, f"{least} of 6 were ready at the least, in {sampler.count} samples")
    second = pids(home)
    check(not set(first.values()) & set(second.values()), "all are new")
    in_order(home, ("worker-1", "ready after"), ("worker-2", "restart"))

    # What fails on the first is not done to another; who dies meanwhile comes back as it was.
    bad = SET + ", kernel_args: 'fake.ready=-1', ready: {probe: ssh, timeout: 2s}"
    home.spec(worker=bad)
    sampler = Sampler(home)
    failed = home.banger("apply", "-f", spec, "--yes", code=5)
    check("vm 'worker-4': roll stopped by worker-1: vm 'worker-1' runs but is not ready after 2 s" in failed.err, f"{failed}")
    check(sampler.end() >= 5, "only the first was tried")
    third = pids(home)
    equal({n: p for n, p in third.items() if n != "worker-1"}, {n: p for n, p in second.items() if n != "worker-1"}, "pids")
    check(home.vm("worker-5")["reason"].startswith("roll stopped by worker-1: "), home.vm("worker-5")["reason"])
    os.kill(third["worker-5"], signal.SIGKILL)
    wait_for("worker-5 is back", PATIENCE, lambda: home.vm("worker-5")["ready"] and home.vm("worker-5")["pid"] != third["worker-5"])
    home.kill_daemon()
    wait_for("five are ready again", PATIENCE, lambda: sum(vm["ready"] for vm in home.vms().values()) == 5)
    time.sleep(1)
    equal(sum(vm["ready"] for vm in home.vms().values()), 5, "a new daemon leaves the others alone too")

    # Forward to what is good, then to what is bad and back.
    home.spec(worker=SET)
    home.banger("apply", "-f", spec, "--yes")
    good = pids(home)
    home.banger("diff", "-f", spec, code=0)
    home.spec(worker=bad)
    failed = home.banger("apply", "-f", spec, "--yes", "--rollback", code=5)
    check("vm 'worker-1' is back to what it was last ready with" in failed.err, f"{failed}")
    vms = home.vms()
    check(all(vms[n]["ready"] and not vms[n]["reason"] for n in NAMES), f"{vms}")
    equal({n: p for n, p in pids(home).items() if n != "worker-1"}, {n: p for n, p in good.items() if n != "worker-1"}, "pids")
    home.spec(worker=SET)
    home.banger("diff", "-f", spec, code=0)


def scenario_a_roll_goes_on_after_the_daemon_was_killed(home):
    home.fake_qemu(ready=400, off=100)
    folder = os.path.join(home.work, "dir")
    os.makedirs(folder)
    home.spec("dir/vms.yaml", stack="dir", worker=SET)
    home.banger("watch", folder)
    for name in NAMES:
        home.wait_state(name, "ready")
    old = pids(home)
    home.spec("dir/vms.yaml", stack="dir", worker=SET + ", kernel_args: 'fake.console=1'")
    for turn in range(4):
        wait_for("the roll moves", PATIENCE, lambda: len(set(pids(home).values()) - set(old.values())) > turn)
        home.kill_daemon()
        wait_for("a daemon answers", PATIENCE, home.vms)
    # Up to two are away by the roll; what a new daemon has not heard from yet is not counted.
    deadline = time.monotonic() + PATIENCE
    while set(pids(home).values()) & set(old.values()):
        up = len(home.hypervisors())
        check(up >= 4, f"only {up} of 6 run")
        check(time.monotonic() < deadline, f"the roll stands still: {home.vms()}")
        time.sleep(0.05)
    for name in NAMES:
        home.wait_state(name, "ready")
    refused = home.banger("apply", "-f", folder, "--rollback", "--yes", code=3)
    check("is watched and would undo a rollback" in refused.err, f"{refused}")


def scenario_a_vm_does_not_become_a_set_by_accident(home):
    home.fake_qemu()
    spec = home.spec(worker="")
    home.banger("apply", "-f", spec, "--yes")
    home.spec(worker=", replicas: 2")
    refused = home.banger("apply", "-f", spec, "--yes", "--prune-all", code=3)
    check("a set takes its place: its work disk of 64Mi would be lost, --allow-data-loss" in refused.err, f"{refused}")
    equal(sorted(home.vms()), ["worker"], "nothing was done")
    home.banger("apply", "-f", spec, "--yes", "--allow-data-loss")
    equal(sorted(home.vms()), ["worker-1", "worker-2"], "a set")
    home.file("one.yaml", home.banger("show", "worker-2", "-o", "yaml").out)
    home.banger("validate", "-f", os.path.join(home.work, "one.yaml"))
    home.spec(worker="")
    refused = home.banger("diff", "-f", spec, code=1)
    check("a single VM takes its set's place: its work disk of 64Mi would be lost" in refused.out, f"{refused}")
    home.banger("apply", "-f", spec, "--yes", "--allow-data-loss")
    equal(sorted(home.vms()), ["worker"], "one VM")


def empty_image(home, name):
    """An image of the store like any other, with nothing in it."""
    images = os.path.join(home.state, "images")
    made = os.path.join(home.work, name)
    os.makedirs(made)
    rootfs = os.path.join(made, "rootfs.ext4")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", rootfs, "32M"], check=True)
    with open(os.path.join(images, "names", "tiny", "image.json")) as f:
        meta = dict(json.load(f), name=name, size=os.path.getsize(rootfs), packages=[])
    with open(os.path.join(made, "image.json"), "w") as f:
        json.dump(meta, f)
    with open(rootfs, "rb") as f:
        digest = hashlib.sha256(f.read()).hexdigest()
    os.rename(made, os.path.join(images, digest))
    os.symlink(f"../{digest}", os.path.join(images, "names", name))


def scenario_a_roll_over_six_real_replicas(home):
    """max_unavailable 2 of 6: never fewer than 4 ready, and an image that is good for nothing harms one."""
    size = "{image: %s, memory: 128Mi, vcpus: 1, work_disk: 0, system_disk: 512Mi, ready: {probe: ssh, timeout: %s}%s}"

    def write(timeout=f"{max(120, int(PATIENCE))}s", extra="", image="tiny"):
        return home.file("vms.yaml", "version: 1\nstack: t\nvms:\n  worker: " + size % (image, timeout, SET + extra) + "\n")
    spec = write()
    made = home.banger("apply", "-f", spec, "--yes", code=None, timeout=PATIENCE * 6)
    hung = [name for name, vm in home.vms().items() if not vm["ready"]]
    if made.code == 5 and IN_LAB and len(hung) < 3:  # a nested guest may hang while it boots, and has two tries
        home.banger("kill", *hung)
        home.banger("start", *hung, timeout=PATIENCE * 6)
    else:
        equal(made.code, 0, f"{made}")
    write(extra=", kernel_args: 'loglevel=4'")
    sampler = Sampler(home)
    home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE * 6)
    least = sampler.end()
    check(least >= 4, f"only {least} of 6 were ready, in {sampler.count} samples")
    equal(home.ssh("worker-6", "sh", "-c", "grep -c loglevel=4 /proc/cmdline"), "1", "the change arrived")
    print(f"roll: at least {least} of 6 ready in {sampler.count} samples", flush=True)
    good = pids(home)
    empty_image(home, "bad")
    write(timeout="20s", extra=", kernel_args: 'loglevel=4'", image="bad")
    sampler = Sampler(home)
    failed = home.banger("apply", "-f", spec, "--yes", "--rollback", code=None, timeout=PATIENCE * 6)
    least = sampler.end()
    check(failed.code in (4, 5) and "rolled back, because of worker-1" in failed.err, f"{failed}")
    check(least >= 5, f"only {least} of 6 were ready while one was bad")
    vms = home.vms()
    check(all(vms[n]["ready"] for n in NAMES), f"{vms}")
    equal({n: p for n, p in pids(home).items() if n != "worker-1"}, {n: p for n, p in good.items() if n != "worker-1"}, "pids")
    equal(home.ssh("worker-1", "sh", "-c", "command -v dropbear > /dev/null && hostname"), "worker-1", "of its image again")
    equal({vm["image"] for vm in vms.values()}, {"tiny"}, "images")


scenario_a_roll_over_six_real_replicas.takes_minutes = True

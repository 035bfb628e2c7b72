"""Sets of replicas and depends_on: who starts, stops and is changed when."""

import os
import re
import signal
import threading
import time

from harness import PATIENCE, check, equal, wait_for


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
    slow, after = ", kernel_args: 'fake.ready=1500'", ", depends_on: [db]"
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
    check("vm 'app' waits for db: stopped by 'banger stop'" in refused.err, f"{refused}")
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
    check("vm 'web' waits for db: vm 'db' runs but is not ready after 1 s" in failed.err, f"{failed}")
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

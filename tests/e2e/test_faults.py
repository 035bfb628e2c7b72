"""Requests that cross each other and a running job; kills that hit real VMs (test_crash_matrix.py has all of them).

Most of it runs on tests/fake/qemu.c: the faults are in bangerd, a guest adds nothing but time."""

import os
import random
import signal
import threading
import time

from harness import IN_LAB, PATIENCE, Rpc, check, equal, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi")
MARK, MARK_AT = b"what the user wrote", 9 << 20


def disk(home, name, file="work.img"):
    return os.path.join(home.state, "vms", home.vm(name)["id"], file)


def whole(home, name, mark=None):
    """One hypervisor, one directory, one row, ready; the work disk is the one that was written."""
    vm = home.wait_state(name, "ready")
    equal(home.hypervisors(), [vm["pid"]], "one hypervisor, the one it knows")
    equal(home.vm_dirs(), [vm["id"]], "one directory")
    check(vm["address"], "its address is known")
    equal(vm["reason"], "", "nothing is wrong")
    if mark:
        with open(disk(home, name), "rb") as f:
            f.seek(MARK_AT)
            equal(f.read(len(MARK)), MARK, "the work disk")
    return vm


def written(home, name):
    with open(disk(home, name), "r+b") as f:
        f.seek(MARK_AT)
        f.write(MARK)


def dies_at(home, failpoint, *command):
    daemon = home.doomed_daemon(failpoint)
    child = home.start(*command)
    try:
        daemon.wait(PATIENCE)
    except Exception:
        raise AssertionError(f"bangerd did not reach '{failpoint}' in {command}") from None
    equal(daemon.returncode, -signal.SIGKILL, f"bangerd died at '{failpoint}'")
    child.kill()
    child.wait()


def nothing(home):
    equal((home.vms(), home.vm_dirs(), home.hypervisors()), ({}, [], []), "nothing is left")


def scenario_killed_between_fork_and_exec_of_a_real_vm(home):
    spec = home.spec(web="")
    dies_at(home, "spawn-before-exec", "apply", "-f", spec, "--yes")
    home.vms()
    whole(home, "web")
    home.ssh("web", "sh", "-c", "echo keep > /root/kept; sync")
    dies_at(home, "spawn-after-exec", "restart", "web")
    whole(home, "web")
    equal(home.ssh("web", "cat", "/root/kept"), "keep", "file in /root")


# --- requests that cross ---

def ops_end(home, ids, seconds=PATIENCE):
    """op id -> how it ended; none may stay open."""
    rpc = Rpc(home)
    ended, ids = {}, set(ids)
    end = time.monotonic() + seconds
    while len(ended) < len(ids):
        for op in ids:
            if op not in ended:
                state = rpc.call("op.wait", {"id": op, "timeout_ms": 0})["result"]
                if state["done"]:
                    ended[op] = state
        if time.monotonic() > end:
            open_ones = [rpc.call("op.wait", {"id": op, "timeout_ms": 0})["result"] for op in ids if op not in ended]
            check(False, f"operations that never end: {open_ones}; {home.vms()}")
        time.sleep(0.05)
    rpc.close()
    return ended


def ask(rpc, method, name, **params):
    result = rpc.call(method, dict(params, names=[name]))["result"]["items"][0]
    return result.get("op"), result.get("error")


def scenario_requests_that_cross_a_running_job(home):
    home.fake_qemu(ready=300, off=600)
    home.vms()
    rpc = Rpc(home)
    size = ["image=tiny", "memory=128Mi", "work_disk=16Mi", "system_disk=512Mi"]

    def create(name="box"):
        return rpc.call("vm.create", {"name": name, "set": size})["result"]["op"]
    # Stopped while it is created by `create`: it stays, stopped; the creation says that it was given up.
    created = create()
    stopped, _ = ask(rpc, "vm.stop", "box")
    ended = ops_end(home, [created, stopped])
    check(not ended[created]["success"] and ended[created]["error"]["code"] == "cancelled", f"{ended[created]}")
    check(ended[stopped]["success"], f"{ended[stopped]}")
    equal(home.vm("box")["state"], "stopped", "state")
    # A start that comes while it stops ends when it runs again, not with the stop.
    started, _ = ask(rpc, "vm.start", "box")
    ops_end(home, [started])
    stopped, _ = ask(rpc, "vm.stop", "box")
    time.sleep(0.2)
    started, _ = ask(rpc, "vm.start", "box")
    ended = ops_end(home, [stopped, started])
    check(not ended[stopped]["success"] and ended[started]["success"], f"{ended}")
    whole(home, "box")
    # Killed while it stops; killed while it restarts: it stays down.
    for verb in ("vm.stop", "vm.restart"):
        asked, _ = ask(rpc, verb, "box")
        time.sleep(0.2)
        killed, error = ask(rpc, "vm.kill", "box")
        check(not error, f"killed while {verb}: {error}")
        ops_end(home, [asked, killed])
        time.sleep(0.5)
        equal((home.vm("box")["state"], home.vm("box")["hold"], home.hypervisors()), ("stopped", "kill", []), verb)
        started, _ = ask(rpc, "vm.start", "box")
        check(ops_end(home, [started])[started]["success"], "started again")
    # Deleted while it stops, started while it is deleted.
    stopped, _ = ask(rpc, "vm.stop", "box")
    deleted, _ = ask(rpc, "vm.delete", "box")
    _, error = ask(rpc, "vm.start", "box")
    check(error and error["code"] == "conflict", f"started while it is deleted: {error}")
    check(ops_end(home, [stopped, deleted])[deleted]["success"], "deleted")
    nothing(home)
    # Deleted while it is created.
    for pause in (0, 0.05, 0.2):
        created = create()
        time.sleep(pause)
        deleted, _ = ask(rpc, "vm.delete", "box")
        again, _ = ask(rpc, "vm.delete", "box")
        equal(again, deleted, "one deletion, one operation")
        check(ops_end(home, [created, deleted])[deleted]["success"], "deleted")
        nothing(home)
    rpc.close()


def scenario_applied_again_while_it_is_deleted(home):
    home.fake_qemu(off=300)
    spec = home.spec(box=", restart: never")
    home.banger("apply", "-f", spec, "--yes")
    first = home.vm("box")
    written(home, "box")
    deletion = home.start("delete", "-f", spec, "--yes")
    wait_for("the deletion is under way", 20, lambda: home.vms().get("box", {"state": "deleting"})["state"] == "deleting")
    home.banger("apply", "-f", spec, "--yes")
    second = whole(home, "box")
    check(second["pid"] != first["pid"] or second["id"] == first["id"], f"{first} {second}")
    deletion.wait()
    home.banger("diff", "-f", spec, code=0)


def scenario_random_verbs_on_three_vms(home):
    seed = int(os.environ.get("BANGER_TEST_SEED", random.randrange(1 << 30)))
    print(f"seed {seed}", flush=True)
    dice = random.Random(seed)
    home.fake_qemu(ready=100, off=80)
    home.vms()
    names = ["a", "b", "c"]
    ids, lock = [], threading.Lock()
    size = ["image=tiny", "memory=128Mi", "work_disk=16Mi", "system_disk=512Mi"]

    def one(rpc, name):
        verb = dice.choice(["create"] * 3 + ["start"] * 3 + ["stop"] * 2 + ["restart", "restart", "kill", "delete", "set",
                                                                            "set", "death", "hup"])
        if verb == "death":
            pids = home.hypervisors()
            if pids:
                try:
                    os.kill(dice.choice(pids), signal.SIGKILL)
                except ProcessLookupError:
                    pass
            return None
        if verb == "hup":
            os.kill(home.daemon_pid(), signal.SIGHUP)
            return None
        if verb == "create":
            return rpc.call("vm.create", {"name": name, "set": size}).get("result", {}).get("op")
        if verb == "set":
            change = dice.choice(["vcpus=1", "vcpus=2", "labels={a: b}", "nat=true", "state=stopped", "state=running",
                                  "work_disk=20Mi", "ready=none", "ready=agent"])
            return rpc.call("vm.set", {"name": name, "set": [change], "restart": True}).get("result", {}).get("op")
        return ask(rpc, "vm." + verb, name)[0]

    def fire(until):
        rpc = Rpc(home)
        while time.monotonic() < until:
            op = one(rpc, dice.choice(names))
            with lock:
                ids.extend([op] if op else [])
            time.sleep(dice.choice([0, 0, 0.01, 0.05, 0.2, 0.5]))
        rpc.close()
    threads = [threading.Thread(target=fire, args=(time.monotonic() + 20,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(len(ids) > (5 if IN_LAB else 20), f"{len(ids)} operations")
    ops_end(home, ids)
    # Now it is quiet: everything can be had and be taken away.
    for name in names:
        if name not in home.vms():
            home.banger("create", name, *FLAGS)
        wait_for("it is not being deleted", 20, lambda: home.vms().get(name, {}).get("state") != "deleting")
    home.banger("start", *names)
    for name in names:
        vm = home.wait_state(name, "ready")
        equal(vm["reason"], "", f"{name}: seed {seed}")
    equal(home.hypervisors(), sorted(vm["pid"] for vm in home.vms().values()), "hypervisors")
    equal(len({vm["address"] for vm in home.vms().values()}), 3, "addresses")
    home.banger("delete", *names)
    nothing(home)

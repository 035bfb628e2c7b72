"""What is banger's on the host, what of it is nobody's, and that only that is taken.

The hypervisors are tests/fake/qemu.c: a guest adds nothing to whose a file is."""

import json
import os
import shutil
import socket
import subprocess
import time

from harness import BUILD, PATIENCE, check, equal, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi")
LOST, YOUNG, FOREIGN, MIXED, LINK = "00000000aa", "00000000bb", "00000000cc", "00000000dd", "00000000ee"


class Plants:
    """Files that are put somewhere: orphans, which must go, and look-alikes, which must stay."""

    def __init__(self):
        self.orphans, self.innocent = set(), set()

    def put(self, path, orphan, age=3600, text="x", kind="file"):
        os.makedirs(os.path.dirname(path), exist_ok=True, mode=0o700)
        if kind == "socket":
            with socket.socket(socket.AF_UNIX) as s:
                here = os.open(os.path.dirname(path), os.O_PATH)  # 107 bytes are all a path may have
                s.bind(f"/proc/self/fd/{here}/{os.path.basename(path)}")
                os.close(here)
        elif kind == "link":
            os.symlink(text, path)
        elif kind == "directory":
            os.makedirs(path, mode=0o700, exist_ok=True)
        else:
            with open(path, "w") as f:
                f.write(text)
        self.age(path, age)
        (self.orphans if orphan else self.innocent).add(path)

    @staticmethod
    def age(path, seconds):
        then = time.time() - seconds
        os.utime(path, (then, then), follow_symlinks=False)


def exists(path):
    return os.path.lexists(path)


def pretends(home, vm_id, uid=None):
    """A process with the command line of a hypervisor of ours: another user's QEMU, or no QEMU at all."""
    options = ["-pidfile", os.path.join(home.state, "vms", vm_id, "pid"), "-smp", "1", "-m", "128M"]
    work = os.path.join(home.dir, "elsewhere")
    os.makedirs(work, exist_ok=True)
    os.chmod(home.dir, 0o755)
    os.chmod(work, 0o777)
    if uid:
        program = shutil.copy(os.path.join(BUILD, "fake", "qemu-system-x86_64"), work)
        argv, executable = ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", program, *options], None
    else:
        argv, executable = ["qemu-system-x86_64", "-c", "while :; do sleep 1; done", *options], "/bin/bash"
    child = subprocess.Popen(argv, executable=executable, cwd=work, stdin=subprocess.DEVNULL,
                             stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=home.env)
    home.daemons.append(child)  # ended by close()
    return child


def plant(home, plants, cache, idle, runs):
    """One orphan of every kind, and something that looks like it beside it."""
    vms = os.path.join(home.state, "vms")
    images = os.path.join(home.state, "images")
    lost = os.path.join(vms, LOST)
    # A VM whose record was lost: its files, its disks, at last its directory.
    for name in ("lock", "made", "host_key", "console.log", "handles.json", "initrd", "work.img", "root.qcow2", "pid"):
        plants.put(os.path.join(lost, name), True)
    plants.put(os.path.join(lost, "qmp.sock"), True, kind="socket")
    plants.put(os.path.join(lost, "work.img.tmp"), True)
    plants.put(lost, True, kind="directory")
    # What a VM that does not run left, a reused pid in its handles; a start of it is still possible.
    stopped = os.path.join(vms, idle)
    plants.put(os.path.join(stopped, "agent.sock"), True, kind="socket")
    plants.put(os.path.join(stopped, "handles.json"), True,
               text=json.dumps({"pid": os.getpid(), "start_ticks": 1, "started_ms": 1}))
    plants.put(os.path.join(stopped, "root.img.tmp"), True)
    # The same names, but of another type, in the wrong place, or too young.
    plants.put(os.path.join(stopped, "qmp.sock"), False, text="not a socket")
    plants.put(os.path.join(stopped, "exec.sock"), False, text="/etc/passwd", kind="link")
    plants.put(os.path.join(stopped, "initrd"), False, age=5)
    plants.put(os.path.join(stopped, "notes.tmp.txt"), False)
    for name in ("work.img", "host_key"):
        plants.innocent.add(os.path.join(stopped, name))
    # Sockets of one that runs are old, too.
    for name in ("qmp.sock", "agent.sock", "handles.json", "work.img"):
        plants.innocent.add(os.path.join(vms, runs, name))
        plants.age(os.path.join(vms, runs, name), 3600)
    # Directories: too young; of somebody else's making; with something of the user's in it; a link.
    plants.put(os.path.join(vms, YOUNG, "work.img"), False, age=5)
    plants.put(os.path.join(vms, FOREIGN, "notes.txt"), False)
    plants.put(os.path.join(vms, MIXED, "work.img"), True)
    plants.put(os.path.join(vms, MIXED, "thesis.tex"), False)
    plants.put(os.path.join(home.work, "real", "work.img"), False)
    plants.put(os.path.join(vms, LINK), False, text=os.path.join(home.work, "real"), kind="link")
    plants.put(os.path.join(vms, "not-an-id", "work.img"), False)
    for name in (YOUNG, FOREIGN, MIXED, "not-an-id"):
        plants.age(os.path.join(vms, name), 3600)
    # What a bangerd that was killed had begun to write: no thread has such a number, so its age does not matter.
    plants.put(os.path.join(home.state, "ssh_config.tmp4194305"), True)
    plants.put(os.path.join(home.state, "keys", "known.tmp4194305"), True)
    plants.put(os.path.join(home.state, "ssh_config.tmp4194306"), True, age=5)
    plants.put(os.path.join(home.state, f"ssh_config.tmp{os.getpid()}"), False, age=5)
    plants.put(os.path.join(home.state, "notes.tmp"), False)
    plants.put(os.path.join(home.state, "notes.tmp1.txt"), False)
    # Half-built images, half-made downloads.
    plants.put(os.path.join(images, ".building-1-0", "rootfs.ext4"), True)
    plants.put(os.path.join(images, ".building-1-0"), True, kind="directory")
    plants.put(os.path.join(images, ".building-1-1", "rootfs.ext4"), False)
    plants.put(os.path.join(images, ".building-1-1"), False, kind="directory", age=5)
    plants.put(os.path.join(images, "building-1-2", "rootfs.ext4"), False)
    plants.put(os.path.join(cache, "lists", "partial", "Packages.xz"), True)
    plants.put(os.path.join(cache, "lists", "Packages.xz"), False)
    plants.put(os.path.join(cache, "archives", "partial", "x.deb"), True)
    plants.put(os.path.join(cache, "archives", "partial", "y.deb"), False, age=5)


def left_of(paths):
    return sorted(path for path in paths if exists(path))


def scenario_gc_takes_exactly_the_orphans(home):
    home.fake_qemu()
    cache = home.own_cache()
    for name in ("idle", "runs", "ghost"):
        home.banger("create", name, *FLAGS)
    home.banger("stop", "idle")
    ids = {name: vm["id"] for name, vm in home.vms().items()}
    # A hypervisor whose VM is in no record: the store is put back to before it was made.
    ghost = home.vm("ghost")["pid"]
    home.banger("daemon", "stop")
    forget(home, ids["ghost"])
    plants = Plants()
    plant(home, plants, cache, ids["idle"], ids["runs"])
    held = os.path.join(home.state, "images", ".building-2-0")
    plants.put(os.path.join(held, "rootfs.ext4"), False)
    plants.put(held, False, kind="directory")
    home.daemons.append(subprocess.Popen(["flock", "-n", "-F", held, "sleep", "600"]))
    other = pretends(home, LOST, uid=12345) if os.getuid() == 0 else None
    alike = pretends(home, LOST)

    # At the start what holds nobody's data goes by itself, and nothing else.
    home.vms()
    home.wait_log("removed half-made download")
    home.wait_log(f"removed socket '{home.state}/vms/{LOST}/qmp.sock'")
    swept = {path for path in plants.orphans if not exists(path)}
    data = {path for path in plants.orphans if path.endswith((".img", ".qcow2"))}
    equal(sorted(data & swept), [], "no disk went by itself")
    equal(left_of(plants.innocent), sorted(plants.innocent), "the look-alikes after the start")

    # The ledger names them all, with their owners.
    listed = {item["what"]: item for item in home.banger("resources", "-o", "json").json()}
    for path in left_of(plants.orphans):
        if os.path.basename(path) in ("lock", "made", "host_key", "console.log", "rootfs.ext4"):
            continue  # part of a directory
        check(listed.get(path, {}).get("orphan"), f"{path} is an orphan: {listed.get(path)}")
    for path in plants.innocent:
        old = not path.startswith(os.path.join(home.state, "vms", YOUNG)) and time.time() - os.lstat(path).st_mtime > 60
        check(not (old and listed.get(path, {}).get("orphan")), f"{path} is no orphan: {listed.get(path)}")
    equal(listed[f"{home.state}/vms/{ids['runs']}/work.img"]["owner"], "runs", "the owner")
    check(listed[f"pid {ghost}"]["orphan"], "the hypervisor without a record")
    check(f"pid {alike.pid}" not in listed, "a process that only looks like one is not listed")
    equal(listed[f"pid {home.vm('runs')['pid']}"]["owner"], "runs", "a process's owner")

    # It asks; it says what it would do; it does that.
    home.banger("gc", code=3)
    would = {item["what"] for item in home.banger("gc", "--dry-run", "-o", "json").json()}
    check(f"pid {ghost}" not in would, "younger than a minute: spared")
    check(os.path.join(home.state, "vms", LOST) in would, "the lost directory would go")
    # One that is ending holds its lock a moment longer than it is in any list.
    home.daemons.append(subprocess.Popen(["flock", "-F", f"{home.state}/vms/{LOST}/lock", "sleep", "1"]))
    result = home.banger("gc", "--yes", code=4)
    check("thesis.tex" in result.err and MIXED in result.err, f"it says what it left, and why\n{result}")
    equal(left_of(plants.orphans), [], "orphans that are left")
    equal(left_of(plants.innocent), sorted(plants.innocent), "look-alikes that are left")
    check(exists(os.path.join(home.work, "real", "work.img")), "behind the link")

    # The process is old enough only now; another user's and a namesake are not ours to end.
    home.banger("daemon", "stop")
    home.env["BANGER_GC_MIN_AGE_MS"] = "0"
    for path in plants.innocent:
        if exists(path) and os.lstat(path).st_mtime > time.time() - 600:
            plants.age(path, -3600)  # young as before
    home.vms()
    home.banger("gc", "--yes")
    wait_for("the hypervisor without a record ended", PATIENCE, lambda: not os.path.exists(f"/proc/{ghost}"))
    equal(home.banger("gc").out, "No orphans.\n", "one gc takes all of it")
    check(not exists(os.path.join(home.state, "vms", ids["ghost"])), "its directory went with it")
    equal(alike.poll(), None, "the namesake lives")
    if other:
        equal(other.poll(), None, "another user's lives")
    equal(left_of(plants.innocent), sorted(plants.innocent), "look-alikes at the end")
    equal(home.wait_state("runs", "ready")["restarts"], 0, "the one that runs was not touched")
    for name in ("qmp.sock", "exec.sock"):
        os.unlink(os.path.join(home.state, "vms", ids["idle"], name))
    home.banger("start", "idle")


def forget(home, vm_id):
    """Takes a VM out of the store, as if it had been lost."""
    import sqlite3
    with sqlite3.connect(os.path.join(home.state, "banger.db")) as db:
        db.execute("DELETE FROM vms WHERE id = ?", (vm_id,))
    db.close()


def scenario_a_lost_store_costs_no_data(home):
    home.fake_qemu()
    home.banger("create", "box", *FLAGS)
    vm = home.vm("box")
    disk = os.path.join(home.state, "vms", vm["id"], "work.img")
    home.banger("daemon", "stop")
    for name in os.listdir(home.state):
        if name.startswith("banger.db"):
            os.unlink(os.path.join(home.state, name))
    home.env["BANGER_GC_MIN_AGE_MS"] = "0"
    equal(home.vms(), {}, "nothing is known")
    time.sleep(1)
    equal(home.hypervisors(), [vm["pid"]], "it runs on")
    check(exists(disk), "its disk is there")
    listed = home.banger("resources", "--orphans", "-o", "json").json()
    check(any(item["what"] == disk and item["data"] and item["size"] > 0 for item in listed), f"shown: {listed}")
    home.banger("gc", "--yes")
    equal((home.hypervisors(), home.vm_dirs()), ([], []), "nothing is left")
    equal(home.banger("gc").out, "No orphans.\n", "nothing more to do")

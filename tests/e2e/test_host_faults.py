"""A host that runs out: of descriptors, of processes, of a database, of a steady clock. On tests/fake/qemu.c, as the faults
are bangerd's; what it meets is named, changes nothing, and is over when the cause is."""

import os
import resource
import sqlite3
import subprocess
import time

from harness import PATIENCE, Failed, check, equal, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi")
YEAR_MS = 365 * 86400 * 1000


def faults(home):
    path = os.path.join(home.dir, "faults")
    os.makedirs(path, exist_ok=True)
    home.env["BANGER_FAULTS"] = path

    def fault(name, number=None):
        at = os.path.join(path, name)
        if number is None:
            if os.path.exists(at):
                os.unlink(at)
        else:
            with open(at + ".new", "w") as f:
                f.write(f"{number}\n")
            os.rename(at + ".new", at)
    return fault


def only(home, *names):
    """These VMs run, one hypervisor and one directory each, and nothing else is there."""
    vms = home.vms()
    equal(sorted(vms), sorted(names), "the VMs")
    equal(home.hypervisors(), sorted(vm["pid"] for vm in vms.values()), "hypervisors")
    equal(home.vm_dirs(), sorted(vm["id"] for vm in vms.values()), "directories")


def scenario_no_process_can_be_made(home):
    fault = faults(home)
    home.fake_qemu()
    home.banger("create", "box", *FLAGS)
    fault("fork", 1)
    failed = home.banger("create", "two", *FLAGS, code=4)
    check("'two'" in failed.err and "Resource temporarily unavailable" in failed.err, f"named\n{failed}")
    only(home, "box")
    spec = home.spec(three="")
    home.banger("apply", "-f", spec, "--yes", code=4)
    check("temporarily unavailable" in home.vm("three")["reason"], home.vm("three")["reason"])
    home.banger("stop", "box")  # needs none
    home.banger("start", "box", code=4)
    fault("fork")
    home.banger("start", "box", "three")
    only(home, "box", "three")


def scenario_no_descriptor_is_left(home):
    home.fake_qemu()
    home.banger("create", "box", *FLAGS)
    pid = home.daemon_pid()
    limits = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    before = home.vm("box")
    # Room for a client and little else: which call it hits does not matter, that all of them are survived does.
    used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
    free = [fd for fd in range(len(used) + 14) if fd not in used]
    hit = 0
    for room in range(2, 14):
        resource.prlimit(pid, resource.RLIMIT_NOFILE, (free[room], limits[1]))
        result = home.banger("create", f"box-{room}", *FLAGS, code=None)
        equal(home.daemon_pid(), pid, f"bangerd lives, with room for {room}")
        if result.code:
            hit += 1
            check("oo many open files" in result.err, f"named, with room for {room}\n{result}")
        else:
            home.banger("delete", f"box-{room}")
        resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
        only(home, "box")
    check(hit > 2, f"{hit} creations met the limit")
    equal(home.vm("box")["pid"], before["pid"], "who ran runs on")
    # No client can be accepted: it waits, and no core is burnt meanwhile.
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    child = home.start("ps")
    ticks = cpu_ticks(pid)
    time.sleep(2)
    check(cpu_ticks(pid) - ticks < os.sysconf("SC_CLK_TCK"), "it does not spin")
    resource.prlimit(pid, resource.RLIMIT_NOFILE, limits)
    equal(child.wait(PATIENCE), 0, "the client was only late")
    home.banger("restart", "box")
    only(home, "box")


def cpu_ticks(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return int(fields[11]) + int(fields[12])


def database(home):
    return os.path.join(home.state, "banger.db")


def scenario_the_database_is_busy_damaged_or_read_only(home):
    home.fake_qemu()
    home.banger("create", "box", *FLAGS)
    before = home.vm("box")
    # Somebody else holds it for a moment: nobody notices. For long: an error that says so, and VMs run on.
    other = sqlite3.connect(database(home), isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    child = home.start("create", "two", *FLAGS)
    time.sleep(0.7)
    other.execute("ROLLBACK")
    equal(child.wait(PATIENCE), 0, "a lock of a moment is waited for")
    home.banger("delete", "two")
    other.execute("BEGIN IMMEDIATE")
    failed = home.banger("create", "two", *FLAGS, code=None)
    check(failed.code in (3, 4) and "banger.db" in failed.err, f"named\n{failed}")
    other.execute("ROLLBACK")
    other.close()
    wait_for("it goes on", PATIENCE, lambda: home.banger("create", "two", *FLAGS, code=None).code == 0, 0.5)
    home.banger("delete", "two")
    equal(home.vm("box")["pid"], before["pid"], "who ran runs on")
    only(home, "box")
    # Its file goes bad while the daemon is down: it does not begin, says which file, and leaves it and the VM alone.
    home.kill_daemon()
    with open(database(home), "r+b") as f:
        whole = f.read()
        f.seek(0)
        f.write(b"\xff" * 4096)
    for name in ("-wal", "-shm"):
        if os.path.exists(database(home) + name):
            os.unlink(database(home) + name)
    failed = home.banger("ps", code=4)
    check("banger.db" in failed.err + home.log()[-2000:], f"named\n{failed}")
    equal(home.hypervisors(), [before["pid"]], "who ran runs on")
    with open(database(home), "wb") as f:
        f.write(whole)
    # Whatever was only in the log beside it is lost with it: the VM is in no record, or it is as before.
    check(set(home.vms()) <= {"box", "two"}, "it begins again")
    read_only(home)


def read_only(home):
    if os.getuid() != 0:
        print("only root can make a file unwritable to itself: skipped", flush=True)
        return
    home.kill_daemon()
    if subprocess.run(["mount", "--bind", database(home), database(home)], capture_output=True).returncode:
        print("no permission to mount: skipped", flush=True)
        return
    try:
        subprocess.run(["mount", "-o", "remount,ro,bind", database(home)], check=True)
        failed = home.banger("create", "three", *FLAGS, code=None)
        check(failed.code == 4 and "banger.db" in failed.err + home.log()[-2000:], f"named\n{failed}")
    finally:
        pid = home.daemon_pid()
        if pid:
            home.kill_daemon()
        subprocess.run(["umount", database(home)], check=True)
    home.banger("create", "three", *FLAGS)
    home.wait_state("three", "ready")


def scenario_a_monitor_that_talks_rubbish(home):
    for kind, when in ((1, "from the start"), (2, "later")):
        home.fake_qemu(rubbish=kind)
        failed = home.banger("create", "box", *FLAGS, code=None)
        check(failed.code in (4, 5) and "box" in failed.err, f"{when}\n{failed}")
        only(home)
        rss = rss_kib(home.daemon_pid())
        spec = home.spec(box="")
        home.banger("apply", "-f", spec, "--yes", code=None)
        check(home.vm("box")["reason"], f"{when}: ps says why")
        home.fake_qemu()
        home.wait_state("box", "ready")
        home.banger("delete", "-f", spec, "--yes")
        check(rss_kib(home.daemon_pid()) - rss < 16 << 10, "memory is bounded")
        only(home)


def rss_kib(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) for line in f if line.startswith("VmRSS"))


def scenario_the_clock_jumps(home):
    fault = faults(home)
    home.fake_qemu()
    spec = home.spec(box="", other=", state: stopped")
    home.banger("apply", "-f", spec, "--yes")
    pid = home.vm("box")["pid"]
    for jump in (YEAR_MS, -YEAR_MS, 30 * 1000, -1700000000000, 0):
        fault("clock", jump)
        home.banger("diff", "-f", spec, code=0)
        equal(home.vm("box")["pid"], pid, f"nothing happens to who runs, at {jump} ms")
        began = time.monotonic()
        home.banger("restart", "box")
        home.banger("stop", "box")
        home.banger("start", "box")
        check(time.monotonic() - began < PATIENCE / 2, "nobody waits for a clock")
        vm = home.wait_state("box", "ready")
        pid = vm["pid"]
        boot_ms = (vm.get("boot") or {}).get("ready_ms", vm.get("boot_ms", 0)) or 0
        check(0 <= boot_ms < PATIENCE * 1000, f"its boot took {boot_ms} ms, at {jump} ms")
        only_two(home)
        # A death is found and made good under any clock.
        os.kill(pid, 9)
        pid = wait_for("a new hypervisor", PATIENCE, lambda: (lambda vm: vm["state"] == "ready" and vm["pid"] != pid and
                                                              vm["pid"])(home.vm("box")), 0.2)
    # In the middle of a boot, and while it backs off.
    home.fake_qemu(ready=1500)
    child = home.start("restart", "box")
    time.sleep(0.5)
    fault("clock", -YEAR_MS)
    equal(child.wait(PATIENCE), 0, "ready although the clock went back")
    home.fake_qemu(exit=1)
    home.banger("restart", "box", code=4)
    fault("clock", YEAR_MS)
    home.fake_qemu()
    home.wait_state("box", "ready", seconds=30)
    home.kill_daemon()
    fault("clock", -YEAR_MS)
    home.wait_state("box", "ready")
    home.banger("diff", "-f", spec, code=0)


def only_two(home):
    vms = home.vms()
    if sorted(vms) != ["box", "other"] or home.hypervisors() != [vms["box"]["pid"]]:
        raise Failed(f"{vms}, hypervisors {home.hypervisors()}")

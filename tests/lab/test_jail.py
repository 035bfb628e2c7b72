"""Firecracker in system mode, as far as it goes without one: its stand-in and its jailer's (tests/fake/) under a whole
bangerd, on real taps and device-mapper, with the users, root directories and cgroups that the real ones would have. They
open what they are told of as the real ones do, so that what is nobody's to open shows."""

import os
import re
import signal
import stat
import subprocess

from harness import PATIENCE, check, equal, wait_for

CGROUPS = "/sys/fs/cgroup/banger"
SPEC = """version: 1
stack: t
vms:
  web: {{image: tiny, hypervisor: firecracker, network: bridge, vcpus: 2, memory: {}, memory_max: 1Gi, work_disk: 16Mi, system_disk: 512Mi}}
"""


def write_spec(home, memory="128Mi"):
    return home.file("vms.yaml", SPEC.format(memory))


def sh(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def jails(home):
    return [vm for vm in home.vm_dirs() if os.path.exists(os.path.join(home.state, "vms", vm, "jail"))]


def plumbing(home):
    """All that a run has on the host: processes, jails, cgroups, namespaces, mounts, taps, devices, loops."""
    cgroups = sorted(name for name in os.listdir("/sys/fs/cgroup") if name.startswith(("banger", "firecracker")))
    if os.path.isdir(CGROUPS):
        cgroups += sorted(name for name in os.listdir(CGROUPS) if os.path.isdir(os.path.join(CGROUPS, name)))
    with open("/proc/self/mounts") as f:
        mounts = sorted(line.split()[1] for line in f if home.state in line)
    return {
        "processes": home.hypervisors(),
        "jails": jails(home),
        "cgroups": cgroups,
        "netns": sh("ip", "netns"),
        "mounts": mounts,
        "links": sorted(name for name in os.listdir("/sys/class/net") if name.startswith(("banger", "bgr-"))),
        "devices": sorted(line.split()[0] for line in sh("dmsetup", "ls").splitlines() if "No devices" not in line),
        "loops": sh("losetup", "--list", "--noheadings", "--output", "BACK-FILE"),
    }


def system(home, jailer=True):
    home.fake_firecracker(jailer)
    home.env["BANGER_DISK"] = os.environ.get("BANGER_TEST_DISK", "dm-snapshot")
    return plumbing(home)


def read(*path):
    with open(os.path.join(*path)) as f:
        return f.read().strip()


def ready(home, name="web", other_than=None):
    def probe():
        vm = home.vm(name)
        return vm if vm["state"] == "ready" and vm["pid"] != other_than else None
    return wait_for(f"{name} is ready", PATIENCE, probe, 0.2)


def look_at_jail(home, vm):
    pid = vm["pid"]
    name = read("/proc", str(pid), "cmdline").split("\0")[2]
    check(re.fullmatch(f"banger-{vm['id']}-c2-m(128|256)-x1024-n0", name), name)
    directory = os.path.join(home.state, "vms", vm["id"])
    root = os.path.join(directory, "jail", "firecracker", name, "root")
    uid = os.stat(f"/proc/{pid}").st_uid
    check(uid >= 65536, f"a user of its own: {uid}")
    rights = dict(line.split(":", 1) for line in read("/proc", str(pid), "status").splitlines())
    equal((rights["Groups"].strip(), rights["CapEff"].strip(), rights["Gid"].split()), ("", "0" * 16, [str(uid)] * 4), "its rights")
    check(os.path.samestat(os.stat(f"/proc/{pid}/root"), os.stat(root)), "its root directory")
    equal(read("/proc", str(pid), "cgroup"), f"0::/banger/{name}", "its cgroup")
    limits = {file: read(CGROUPS, name, file) for file in ("memory.max", "pids.max", "cpu.weight")}
    equal(limits, {"memory.max": str((1024 + 128) << 20), "pids.max": "34", "cpu.weight": "200"}, "its limits")
    equal(read(CGROUPS, name, "cgroup.procs"), str(pid), "who is in the cgroup")
    tap = f"bgr-{vm['id']}"
    equal(read("/sys/class/net", tap, "owner"), str(uid), "whose its tap is")
    device = os.stat(os.path.join(root, "root.dev"))
    check(stat.S_ISBLK(device.st_mode) and device.st_uid == uid, "its disk is a device of its own")
    equal(device.st_rdev, os.stat(f"/dev/mapper/banger-{vm['id']}").st_rdev, "which it is")
    check(os.path.samestat(os.stat(os.path.join(root, "work.img")), os.stat(os.path.join(directory, "work.img"))), "its work disk")
    check(not os.path.exists(os.path.join(root, "vmlinux")), "its kernel was read and is gone")
    open_files = {os.path.basename(os.readlink(f"/proc/{pid}/fd/{fd}")) for fd in os.listdir(f"/proc/{pid}/fd")}
    check({"lock", "console.pipe", "hypervisor.log", "work.img", "root.dev", "tun", "kvm"} <= open_files, f"open in it: {open_files}")
    seen = home.banger("resources").out
    for word in ("jail", "cgroup"):
        check(word in seen, f"resources shows its {word}: {seen}")


def scenario_a_jailed_vm_leaves_nothing(home):
    """Create, stop, start, a death, a change, delete: jail, user and cgroup are there while it runs, and then are not."""
    before = system(home)
    spec = write_spec(home)
    home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE)
    vm = ready(home)
    look_at_jail(home, vm)
    home.banger("ping", "web")
    # The daemon dies: the next one knows it by its jail.
    home.kill_daemon()
    equal(ready(home)["pid"], vm["pid"], "the one that runs")
    home.banger("apply", "-f", write_spec(home, "256Mi"), "--yes", timeout=PATIENCE)
    equal(ready(home)["pid"], vm["pid"], "a live change")
    home.banger("stop", "web", timeout=PATIENCE)
    equal(plumbing(home), before, "stopped")
    home.banger("start", "web", timeout=PATIENCE)
    pid = ready(home)["pid"]
    os.kill(pid, signal.SIGKILL)
    second = ready(home, other_than=pid)
    look_at_jail(home, second)
    equal(home.hypervisors(), [second["pid"]], "what runs after a death")
    home.banger("delete", "-f", spec, "--yes", timeout=PATIENCE)
    equal(plumbing(home), before, "deleted")


def scenario_a_jailer_that_fails_is_quoted(home):
    """At every stage, by an error and by a kill: nothing is left, and when it is mended the VM comes up."""
    before = system(home)
    spec = write_spec(home)
    for word in ("fail", "kill"):
        for stage in ("args", "copy", "cgroup", "chroot", "devices"):
            home.file(home.env["FAKE_JAILER"], f"{word} {stage}\n")
            said = home.banger("apply", "-f", spec, "--yes", code=None, timeout=PATIENCE)
            check(said.code != 0, said)
            wanted = f"told to fail at '{stage}'" if word == "fail" else "ended at once"
            for part in ("'web'", "firecracker", wanted):
                check(part in said.err, f"{stage}: {part}: {said}")
            home.banger("stop", "web", code=None, timeout=PATIENCE)
            equal(plumbing(home), before, f"after '{word} {stage}'")
    home.file(home.env["FAKE_JAILER"], "")
    home.banger("start", "web", timeout=PATIENCE)
    look_at_jail(home, ready(home))
    home.banger("delete", "-f", spec, "--yes", timeout=PATIENCE)
    equal(plumbing(home), before, "deleted")


def scenario_a_hypervisor_names_no_cgroup_of_others(home):
    """One without a jail can lay a directory of that name into its VM's: what it names there is not killed with it."""
    before = system(home)
    spec = home.file("vms.yaml", SPEC.format("128Mi") + SPEC.format("128Mi").splitlines()[-1].replace("web:", "other:") + "\n")
    home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE)
    web, other = ready(home), ready(home, "other")
    home.banger("stop", "other", timeout=PATIENCE)
    directory = os.path.join(home.state, "vms", other["id"])
    name = read("/proc", str(web["pid"]), "cgroup").rsplit("/", 1)[1]
    laid = os.path.join(directory, "jail", "firecracker", name)
    os.makedirs(laid)
    uid = os.stat(directory).st_gid
    for path in (os.path.join(directory, "jail"), os.path.dirname(laid), laid):
        os.chown(path, uid, uid)
    home.banger("start", "other", timeout=PATIENCE)
    ready(home, "other")
    equal(home.vm("web")["pid"], web["pid"], "the one that was named")
    home.banger("delete", "-f", spec, "--yes", timeout=PATIENCE)
    equal(plumbing(home), before, "deleted")


# Where the daemon dies, and what the jailer does meanwhile.
DEATHS = (("jail-made", ""), ("jail-filled", ""), ("spawn-forked", ""), ("spawn-before-exec", ""), ("spawn-after-exec", ""),
          ("spawn-after-exec", "hang copy"), ("spawn-after-exec", "hang chroot"), ("spawn-after-exec", "fail devices"),
          ("after hypervisor", ""), ("before handles", ""))


def scenario_a_daemon_that_dies_on_the_way_leaves_one(home):
    """Never two, never one that waits for ever, and nothing of the first start in the end."""
    home.env["BANGER_START_TIMEOUT_MS"] = "10000"  # a jailer that hangs does so under the next bangerd as well
    before = system(home)
    spec = write_spec(home)
    home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE)
    ready(home)
    for point, jailer in DEATHS:
        home.banger("stop", "web", timeout=PATIENCE)
        equal(plumbing(home), before, f"before '{point}'")
        home.file(home.env["FAKE_JAILER"], jailer + "\n")
        daemon = home.doomed_daemon(point)
        home.banger("start", "web", code=None, timeout=PATIENCE)
        equal(daemon.wait(PATIENCE), -signal.SIGKILL, f"'{point}' kills it")
        home.file(home.env["FAKE_JAILER"], "")
        home.banger("start", "web", timeout=PATIENCE)
        vm = ready(home)
        equal(home.hypervisors(), [vm["pid"]], f"what runs after '{point}', {jailer}")
        look_at_jail(home, vm)
    # All of them die at once, and the record with them: the next bangerd takes away what nobody uses.
    home.banger("daemon", "stop")
    for pid in home.hypervisors():
        os.kill(pid, signal.SIGKILL)
    wait_for("it is gone", 10, lambda: not home.hypervisors())
    check(jails(home) and os.path.isdir(CGROUPS), "what is left of the dead")
    home.env["BANGER_GC_MIN_AGE_MS"] = "0"
    for name in os.listdir(home.state):
        if name.startswith("banger.db"):
            os.unlink(os.path.join(home.state, name))
    home.banger("gc", "--yes", "--data", code=None, timeout=PATIENCE)
    home.banger("gc", "--yes", code=None, timeout=PATIENCE)
    equal(plumbing(home), before, "after gc")


scenario_a_daemon_that_dies_on_the_way_leaves_one.takes_minutes = True


def scenario_without_a_jailer_it_is_on_the_bridge_all_the_same(home):
    """Tap and device-mapper as they are, opened by a Firecracker that no jailer started."""
    before = system(home, jailer=False)
    spec = write_spec(home)
    home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE)
    vm = ready(home)
    equal((jails(home), os.path.isdir(CGROUPS)), ([], False), "no jail")
    open_files = {os.path.basename(os.readlink(f"/proc/{vm['pid']}/fd/{fd}")) for fd in os.listdir(f"/proc/{vm['pid']}/fd")}
    check({"lock", "console.pipe", "work.img", "tun"} <= open_files, f"open in it: {open_files}")
    check(any(f.startswith(("dm-", "banger-")) for f in open_files), f"its disk: {open_files}")
    home.banger("stop", "web", timeout=PATIENCE)
    equal(plumbing(home), before, "stopped")
    home.banger("delete", "-f", spec, "--yes", timeout=PATIENCE)


def scenario_a_full_host_stops_a_firecracker_in_time(home):
    """As a whole process, in every release: it stands still, also for the next daemon, and goes on when there is room."""
    before = system(home)
    vms, image = os.path.join(home.state, "vms"), home.file("small.ext4", "")
    os.makedirs(vms, mode=0o700, exist_ok=True)
    os.truncate(image, 700 << 20)
    sh("mke2fs", "-q", "-t", "ext4", "-m", "0", image)
    sh("mount", "-o", "loop", image, vms)
    try:
        os.rmdir(os.path.join(vms, "lost+found"))
        spec = write_spec(home)
        home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE)
        vm = ready(home)
        ballast = os.path.join(vms, "ballast")
        space = os.statvfs(vms)
        with open(ballast, "wb") as f:
            f.write(b"x" * (space.f_bavail * space.f_frsize - (8 << 20)))
            os.fsync(f.fileno())

        def state():
            return read("/proc", str(vm["pid"]), "stat").rsplit(")", 1)[1].split()[0]

        # What a guest would write, as there is none: below its Firecracker, into its device.
        writer = subprocess.Popen(["dd", "if=/dev/urandom", f"of=/dev/mapper/banger-{vm['id']}", "bs=64k", "count=1600", "oflag=direct"],
                                  stderr=subprocess.DEVNULL)
        home.wait_log("stands still", PATIENCE)
        writer.kill()
        writer.wait()
        equal(state(), "T", "it stands still")
        check("paused" in home.vm("web")["reason"], f"shown: {home.vm('web')}")
        status = sh("dmsetup", "status", "--target", "snapshot")
        check("Invalid" not in status and "Overflow" not in status, f"the snapshot lives: {status}")
        home.kill_daemon()
        check("paused" in home.vm("web")["reason"], f"known to the next one: {home.vm('web')}")
        equal(state(), "T", "and left so")
        os.unlink(ballast)
        home.wait_log("the guest goes on", PATIENCE)
        wait_for("it goes on", PATIENCE, lambda: state() != "T")
        home.banger("ping", "web")
        equal(home.vm("web")["pid"], vm["pid"], "the same")
        home.banger("delete", "-f", spec, "--yes", timeout=PATIENCE)
    finally:
        home.banger("daemon", "stop", code=None)
        for pid in home.hypervisors():
            os.kill(pid, signal.SIGKILL)
        wait_for("nothing runs", 20, lambda: not home.hypervisors())
        home.remove_devices()
        wait_for("unmounted", 20, lambda: subprocess.run(["umount", vms], capture_output=True).returncode == 0)
    equal(plumbing(home), before, "what is left")

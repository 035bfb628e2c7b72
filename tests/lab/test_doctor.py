"""What the machine lacks, one thing at a time: doctor names it and what to do, and mends what it may."""

import contextlib
import os
import subprocess

from harness import BUILD, PATIENCE, check, equal


def sh(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def findings(home, *flags, code=None):
    result = home.banger("doctor", *flags, "-o", "json", code=code)
    return {item["check"]: item for item in result.json()}, result.code


@contextlib.contextmanager
def away(path):
    os.rename(path, path + ".away")
    try:
        yield
    finally:
        os.rename(path + ".away", path)


@contextlib.contextmanager
def link_with(address):
    sh("ip", "link", "add", "theirs0", "type", "dummy")
    try:
        sh("ip", "addr", "add", address, "dev", "theirs0")
        sh("ip", "link", "set", "theirs0", "up")
        yield
    finally:
        sh("ip", "link", "del", "theirs0")


@contextlib.contextmanager
def full(home):
    """Nothing of the machine's may be full: a file system of the daemon's own is."""
    home.banger("daemon", "stop", code=None)
    sh("mount", "-t", "tmpfs", "-o", "size=64m,mode=0700", "none", home.state)
    try:
        yield
    finally:
        home.banger("daemon", "stop", code=None)
        sh("umount", home.state)


@contextlib.contextmanager
def stopped(*units):
    sh("systemctl", "stop", *units)
    try:
        yield
    finally:
        sh("systemctl", "start", *units)


@contextlib.contextmanager
def mode(path, wanted):
    before = os.stat(path).st_mode & 0o7777
    os.chmod(path, wanted)
    try:
        yield
    finally:
        os.chmod(path, before)


def library(name):
    paths = [line.split("=> ")[1] for line in sh("ldconfig", "-p").splitlines() if line.strip().startswith(name)]
    check(paths, f"{name} is installed")
    return paths[0]


def module(name):
    """The file of one that is not loaded."""
    sh("modprobe", "-r", name, code=None)
    check(not os.path.exists(f"/sys/module/{name}"), f"{name} could be unloaded")
    return sh("modinfo", "-F", "filename", name)


def lacks(home, name, status, detail, fix):
    found, code = findings(home)
    item = found[name]
    equal(item["status"], status, f"{item}")
    check(detail in item["detail"] and fix in item["fix"], f"{name} says {detail!r}, fix {fix!r}: {item}")
    equal(code, 4 if any(one["status"] == "fail" for one in found.values()) else 0, f"exit status with {found}")
    shown = home.banger("doctor", code=None).out
    check(item["detail"].split(":")[0] in shown and f"\n{name}: " in shown, shown)


def mends(home, name, said):
    """By itself, once; then it is well, and there is nothing more to do."""
    item = findings(home, "--fix")[0][name]
    equal(item["status"], "pass", f"mended: {item}")
    check(said in item["fixed"], f"it says what it did: {item}")
    check("fixed" not in findings(home, "--fix")[0][name], "no second time")


def has_group():
    with open("/etc/group") as f:
        return any(line.startswith("banger:") for line in f)


def scenario_doctor_names_what_is_missing(home):
    home.env.pop("BANGER_ACCEL")
    share = os.path.join(BUILD, "share", "agent.cpio")
    group = has_group()
    if not group:
        sh("groupadd", "--system", "banger")
    try:
        found, code = findings(home)
        bad = [item for item in found.values() if item["status"] == "fail"]
        equal((bad, code), ([], 0), "a machine that has everything")
        # Removed one by one; each is found, by its name, with what to do.
        with away("/usr/bin/qemu-img"):
            lacks(home, "qemu-img", "fail", "qemu-img", "apt-get install qemu-utils")
        with away(sh("sh", "-c", "command -v mke2fs")):
            lacks(home, "mke2fs", "fail", "no work disk", "e2fsprogs")
        with away(library("libnftables.so.1")):
            lacks(home, "libnftables", "fail", "libnftables.so.1", "apt-get install libnftables1")
        with away(share):
            lacks(home, "agent", "fail", share, "make")
        with away("/dev/kvm"):
            lacks(home, "acceleration", "warn", "/dev/kvm", "emulated")
        with link_with("10.183.7.1/24"):
            lacks(home, "subnet", "fail", "'theirs0'", "BANGER_SUBNET")
        with away(module("dm_snapshot")):
            lacks(home, "dm-snapshot", "fail", "dm_snapshot", "modules of this kernel")
        with full(home):
            lacks(home, "disk space", "fail", "free in " + home.state, "larger file system")
        with stopped("systemd-resolved.service"):
            lacks(home, "names", "warn", "systemd-resolved does not run", "dnsmasq")
        # Firecracker's jailer: its stand-in, which says who it is as the real one does.
        home.banger("daemon", "stop")
        home.fake_firecracker()
        jailer = os.path.join(BUILD, "fake", "jailer")
        equal(findings(home)[0]["jailer"]["detail"], f"{jailer} 1.17.0", "it is there")
        with away(jailer):
            lacks(home, "jailer", "warn", "not installed", "BANGER_JAILER")
        with open(home.env["FAKE_JAILER"], "w") as f:
            f.write("version 1.9.0\n")
        lacks(home, "jailer", "fail", "is of release '1.9.0' and Firecracker is 1.17.0", "same release")
        home.banger("daemon", "stop")
        del home.env["BANGER_FIRECRACKER"]
        equal(findings(home)[0]["jailer"]["detail"], "not needed without Firecracker", "nobody has to have it")
        # Mended: modules by who calls, if he is root, as bangerd must not.
        sh("modprobe", "-r", "kvm_amd")
        lacks(home, "acceleration", "warn", "/dev/kvm", "modprobe kvm_amd")
        check("kvm_amd" in findings(home, "--fix")[0]["acceleration"]["fixed"] and os.path.exists("/dev/kvm"), "loaded")
        check("fixed" not in findings(home, "--fix")[0]["acceleration"], "no second time")
        # By itself: a node, a group, a directory that others could write to.
        with mode("/dev/net/tun", 0o600):
            lacks(home, "tun", "fail", "user 2100000000 cannot open '/dev/net/tun': Permission denied (mode 0600)", "chmod 0666 /dev/net/tun")
            mends(home, "tun", "it was 0600")
        os.unlink("/dev/net/tun")
        lacks(home, "tun", "fail", "/dev/net/tun", "mknod")
        mends(home, "tun", "made '/dev/net/tun'")
        equal(os.stat("/dev/net/tun").st_mode & 0o777, 0o666, "the node's mode")
        sh("groupdel", "banger")
        lacks(home, "group", "warn", "'banger'", "groupadd --system banger")
        mends(home, "group", "made the group")
        check(has_group(), "it is there")
        os.chmod(os.path.join(home.state, "vms"), 0o777)
        lacks(home, "directories", "fail", "may be written by others", "chmod go-w")
        mends(home, "directories", "was 0777")
        equal(os.stat(os.path.join(home.state, "vms")).st_mode & 0o022, 0, "the directory's mode")
        # What is nobody's is told, too.
        sh("ip", "tuntap", "add", "bgr-00000000aa", "mode", "tap")
        home.banger("daemon", "stop")
        home.env["BANGER_GC_MIN_AGE_MS"] = "0"
        home.vms()  # which sweeps at its start
        sh("ip", "tuntap", "add", "bgr-00000000aa", "mode", "tap", code=None)
        lacks(home, "orphans", "warn", "nobody's", "banger gc")
        home.banger("gc", "--yes")
        found, code = findings(home)
        bad = [item for item in found.values() if item["status"] == "fail"]
        equal((bad, code, found["orphans"]["status"]), ([], 0, "pass"), "at the end")
    finally:
        sh("modprobe", "-a", "dm_snapshot", "kvm_amd", code=None)
        sh("ip", "link", "del", "bgr-00000000aa", code=None)
        if not group and has_group():
            sh("groupdel", "banger")


scenario_doctor_names_what_is_missing.without_images = True


def scenario_doctor_of_a_person_shows_what_matters(home):
    """A session asks nothing of the machine's devices."""
    home.system = False
    for name in ("BANGER_SYSTEM", "BANGER_ROOT"):
        home.env.pop(name, None)
    home.state = os.path.join(home.dir, "state", "banger")
    found, _ = findings(home)
    for name in ("qemu", "qemu-img", "mke2fs", "agent", "acceleration", "directories"):
        check(name in found, f"{name}: {sorted(found)}")
    for name in ("tun", "dm-snapshot", "subnet", "group", "libnftables"):
        check(name not in found, f"{name} does not matter: {sorted(found)}")
    os.chmod(home.state, 0o777)
    mends(home, "directories", "was 0777")


scenario_doctor_of_a_person_shows_what_matters.without_images = True

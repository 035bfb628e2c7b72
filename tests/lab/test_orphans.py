"""What VMs leave on the machine outside their directories: each kind found, and only what is nobody's taken.

The hypervisors are tests/fake/qemu.c: a guest adds nothing to whose a device is."""

import json
import os
import signal
import subprocess
import time

from harness import PATIENCE, check, equal, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi", "--ready", "none",
         "--network", "bridge", "--nat")
LOST, ALIKE, OTHER = "00000000aa", "00000000ab", "00000000ac"


def sh(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def uuid(vms, name):
    """As reconciler/driver/disk_dm_find.c makes it."""
    mask = (1 << 64) - 1
    value = 0xcbf29ce484222325 ^ 6
    for byte in os.path.realpath(vms).encode():
        value = (value ^ byte) * 0x100000001b3 & mask
    value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9 & mask
    value = (value ^ value >> 27) * 0x94d049bb133111eb & mask
    return f"BANGER-{value ^ value >> 31:016x}-{name}"


def devices():
    return sorted(line.split()[0] for line in sh("dmsetup", "ls").splitlines() if "No devices" not in line)


def loops():
    found = json.loads(sh("losetup", "--list", "--json", "--output", "NAME,BACK-FILE,RO") or '{"loopdevices": []}')
    return {loop["name"]: loop["back-file"] for loop in found["loopdevices"]}


def links():
    return sorted(name for name in os.listdir("/sys/class/net") if name.startswith(("banger", "bgr-")))


def chains():
    return sorted(f"{c['family']} {c['table']} {c['name']}" for c in
                  (item.get("chain") for item in json.loads(sh("nft", "-j", "list", "chains"))["nftables"]) if c)


class Plants:
    """Orphans and, beside each, what only looks like one."""

    def __init__(self, home):
        self.vms = os.path.join(home.state, "vms")
        self.undo = []
        self.orphans = {}  # what "resources" calls it -> is it there?
        self.innocent = {}

    def dm(self, name, owner, orphan):
        sh("dmsetup", "create", name, *(["-u", owner] if owner else []), "--table", "0 8 zero")
        self.add(f"/dev/mapper/{name}", orphan, lambda: name in devices(), ["dmsetup", "remove", name])

    def loop(self, path, orphan, *options):
        name = sh("losetup", "--show", "-f", *options, path)
        self.add(f"{name} ({os.path.realpath(path)})", orphan, lambda: name in loops(), ["losetup", "-d", name])

    def link(self, name, orphan, *words):
        sh("ip", *words)
        self.add(name, orphan, lambda: name in links(), ["ip", "link", "del", name])

    def nft(self, what, orphan, there, *words):
        sh("nft", *words)
        self.add(what, orphan, there, ["nft", "delete", *words[1:4]])

    def add(self, what, orphan, there, undo):
        (self.orphans if orphan else self.innocent)[what] = there
        self.undo.append(undo)

    def check(self, home, message):
        equal([what for what, there in self.orphans.items() if there()], [], f"orphans that are left {message}")
        equal([what for what, there in self.innocent.items() if not there()], [], f"look-alikes that are gone {message}")

    def close(self):
        for undo in self.undo:
            subprocess.run(undo, capture_output=True, stdin=subprocess.DEVNULL, check=False)


def plant(home, plants, idle):
    lost, state = os.path.join(plants.vms, LOST), home.state
    plants.dm(f"banger-{LOST}-base", uuid(plants.vms, f"banger-{LOST}-base"), True)
    plants.dm(f"banger-{LOST}", uuid(plants.vms, f"banger-{LOST}"), True)
    plants.dm(f"banger-{ALIKE}", None, False)
    plants.dm(f"banger-{OTHER}", uuid("/var/lib/elsewhere/vms", f"banger-{OTHER}"), False)
    plants.dm("banger-home", uuid(plants.vms, "banger-home"), False)
    os.makedirs(lost, mode=0o700)
    for path in (os.path.join(lost, "root.cow"), os.path.join(home.work, "root.cow"), os.path.join(home.work, "rootfs.ext4")):
        with open(path, "wb") as f:
            f.truncate(1 << 20)
    image = next(os.path.join(folder, "rootfs.ext4") for folder, _, files in os.walk(os.path.join(state, "images")) if "rootfs.ext4" in files)
    plants.loop(os.path.join(lost, "root.cow"), True)
    plants.loop(image, True, "-r")
    plants.loop(image, False)
    plants.loop(os.path.join(home.work, "root.cow"), False)
    plants.loop(os.path.join(home.work, "rootfs.ext4"), False, "-r")
    plants.loop(os.path.join(plants.vms, idle, "work.img"), False)
    for tap in (LOST, idle):
        plants.link(f"bgr-{tap}", True, "tuntap", "add", f"bgr-{tap}", "mode", "tap")
    plants.link("bgr-x", False, "tuntap", "add", "bgr-x", "mode", "tap")
    plants.link(f"bgr-{ALIKE}", False, "link", "add", f"bgr-{ALIKE}", "type", "bridge")
    plants.link(f"bgr-{OTHER}", False, "tuntap", "add", f"bgr-{OTHER}", "mode", "tun")
    plants.link("banger1", False, "link", "add", "banger1", "type", "bridge")
    for family, name in (("bridge", "banger2"), ("ip", "banger")):
        alike = f"{family} {name} bgr-{ALIKE}"
        plants.nft(f"table {family} {name}", False, lambda alike=alike: alike in chains(), "add", "table", family, name)
        sh("nft", "add", "chain", family, name, f"bgr-{ALIKE}")


def scenario_gc_takes_exactly_the_orphans_of_the_machine(home):
    home.fake_qemu()
    home.env.update(BANGER_DISK="dm-snapshot", BANGER_GC_MIN_AGE_MS="0")
    before = devices(), loops(), links(), chains()
    for name in ("idle", "runs"):
        home.banger("create", name, *FLAGS)
    home.banger("stop", "idle")
    vm, idle = home.vm("runs"), home.vm("idle")["id"]
    used = devices(), loops(), links(), chains()
    plants = Plants(home)
    # The one sweep after the start comes within a minute: not among what gc is to take.
    sh("dmsetup", "create", f"banger-{LOST}", "-u", uuid(plants.vms, f"banger-{LOST}"), "--table", "0 8 zero")
    os.kill(home.daemon_pid(), signal.SIGHUP)
    wait_for("the first resync sweeps", PATIENCE, lambda: f"banger-{LOST}" not in devices())
    try:
        plant(home, plants, idle)
        # Rules that nobody wants are no orphans for long: while a VM is on the bridge the daemon hears of them.
        sh("nft", "add", "chain", "bridge", "banger", f"bgr-{LOST}")
        wait_for("rules of nobody go by themselves", PATIENCE, lambda: f"bridge banger bgr-{LOST}" not in chains())
        listed = {item["what"]: item for item in home.banger("resources", "-o", "json").json()}
        for what in plants.orphans:
            check(listed.get(what, {}).get("orphan"), f"{what} is an orphan: {listed.get(what, sorted(listed))}")
        for what in plants.innocent:
            check(what not in listed, f"{what} is not ours: {listed.get(what)}")
        for what in (f"/dev/mapper/banger-{vm['id']}", f"/dev/mapper/banger-{vm['id']}-base", f"bgr-{vm['id']}",
                     f"chain bridge banger bgr-{vm['id']}"):
            item = listed[what]
            equal((item["owner"], item["orphan"]), ("runs", False), what)
            check(item["since_ms"] == 0 or 0 <= time.time() - item["since_ms"] / 1000 < 600, f"its age: {item}")
        would = {item["what"] for item in home.banger("gc", "--dry-run", "-o", "json").json()}
        equal(would - set(plants.orphans), {os.path.join(plants.vms, LOST), os.path.join(plants.vms, LOST, "root.cow")}, "what else would go")
        # Held by somebody: it is said, and goes the next time.
        with open(f"/dev/mapper/banger-{LOST}", "rb"):
            result = home.banger("gc", "--yes", code=4)
            check(f"banger-{LOST}" in result.err and "in use" in result.err, result)
        home.banger("gc", "--yes")
        plants.check(home, "after gc")
        equal(home.banger("gc").out, "No orphans.\n", "one gc took all of it")
        equal((home.vm("runs")["pid"], home.vm("runs")["state"]), (vm["pid"], vm["state"]), "the one that runs")
        check(set(used[0]) <= set(devices()) and set(used[2]) <= set(links()) and set(used[3]) <= set(chains()), "what it needs is there")
        home.banger("delete", "runs", "idle", "--yes")
        # Nobody is left: the bridge and the tables are nobody's, too.
        sh("ip", "link", "add", "banger0", "address", "52:54:00:00:00:01", "type", "bridge")
        home.banger("gc", "--yes")
        check("banger0" in links(), "a bridge of that name that is not ours")
        sh("ip", "link", "del", "banger0")
        for family in ("inet", "bridge"):
            plants.nft(f"table {family} banger", True, lambda family=family: f"table {family} banger" in sh("nft", "list", "tables").splitlines(),
                       "add", "table", family, "banger")
        home.banger("gc", "--yes")
        plants.check(home, "at the end")
    finally:
        plants.close()
    equal((devices(), loops(), links(), chains()), before, "what is left")

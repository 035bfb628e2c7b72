"""VMs that are made, killed and deleted by the hundred, and their bangerd with them: the machine is as before.

BANGER_LEAK says how many (200 by default), BANGER_TEST_SEED which ones."""

import collections
import concurrent.futures
import os
import random
import signal
import subprocess
import threading
import time

from harness import PATIENCE, Failed, check, equal, processes, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "0", "--system-disk", "512Mi",
         "--ready", "none", "--network", "bridge", "--nat")
AT_ONCE = 4


def sh(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip().splitlines()


def tree(*tops, skip=()):
    found = []
    for top in tops:
        for folder, folders, files in os.walk(top):
            folders[:] = [name for name in folders if os.path.join(folder, name) not in skip]
            found += [os.path.join(folder, name) for name in folders + files]
    return sorted(found)


def machine(home):
    """Everything that a VM may leave on the machine, by kind."""
    with open("/proc/self/mounts") as f:
        mounts = f.read().splitlines()
    with open("/proc/sys/net/ipv4/ip_forward") as f:
        forward = f.read().strip()
    mine = os.getpid()
    people = collections.Counter()
    for pid in processes():
        try:
            people[os.stat(f"/proc/{pid}").st_uid] += pid != mine
        except OSError:
            pass
    # Of the daemon's own files only those that grow and shrink with its work are left out, and what the stand-in is told.
    files = [path for path in tree(home.dir, "/tmp", "/run/banger", "/var/lib/banger", skip=(home.work, home.dir + "/home"))
             if "banger.db" not in path and not path.endswith((".log", "/fake.conf"))]
    return {
        "loop devices": sh("losetup", "-a"),
        "dm targets": sh("dmsetup", "ls"),
        "links": sorted(os.listdir("/sys/class/net")),
        "routes": sh("ip", "route", "show", "table", "all"),
        "rules": sh("nft", "list", "ruleset"),
        "forwarding": forward,
        "mounts": mounts,
        "unix sockets": sorted(line.split()[4] for line in sh("ss", "-xlH")),
        "ports": sorted(" ".join(line.split()[:5]) for line in sh("ss", "-tulnH")),
        "uids": sorted((uid, count) for uid, count in people.items() if uid),
        "cgroups": sorted(path for path, _, _ in os.walk("/sys/fs/cgroup")),
        "namespaces": sh("ip", "netns", "list"),
        "files": files,
        "hypervisors": home.hypervisors(),
    }


class Cycles:
    def __init__(self, home, dice):
        self.home, self.dice = home, dice
        self.lock = threading.Lock()
        self.counts = collections.Counter()
        self.over = threading.Event()

    def choose(self, *among):
        with self.lock:
            return self.dice.choice(among)

    def banger(self, *args):
        """Whatever it says: the daemon may be dead in that moment."""
        try:
            return self.home.banger(*args, code=None, timeout=PATIENCE)
        finally:
            self.counts["commands"] += 1

    def kill_hypervisor(self, name):
        pid = self.home.vms().get(name, {}).get("pid")
        if pid:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass

    def one(self, number):
        name = f"vm{number}"
        how = self.choose("kill", "kill", "hypervisor", "nothing", "stop")
        created = self.banger("create", name, *FLAGS)
        self.counts["created"] += created.code == 0
        try:
            if how == "kill":
                self.banger("kill", name)
            elif how == "stop":
                self.banger("stop", name, "--timeout", "1s")
            elif how == "hypervisor":
                self.kill_hypervisor(name)
        except (Failed, ValueError):
            pass  # a daemon that was killed while it answered

        def deleted():
            done = self.banger("delete", name, "--yes")
            return done.code == 0 or "no vm" in done.err.lower() or "no such" in done.err.lower()
        wait_for(f"{name} is deleted", PATIENCE, deleted, 0.2)
        self.counts[how] += 1

    def killer(self):
        """kill -9 of bangerd, after so many commands and then at any moment; the next command starts another."""
        until = 0
        while not self.over.wait(self.choose(0.05, 0.1, 0.3, 0.7, 1.5)):
            if self.counts["commands"] < until:
                continue
            until = self.counts["commands"] + self.choose(5, 10, 20, 30)
            pid = self.home.daemon_pid()
            if pid:
                os.kill(pid, signal.SIGKILL)
                self.counts["kill -9"] += 1

    def run(self, count, kill):
        killer = threading.Thread(target=self.killer) if kill else None
        if killer:
            killer.start()
        try:
            with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(self.one, range(count)))
        finally:
            self.over.set()
            if killer:
                killer.join()


def descriptors(home):
    return sorted(os.readlink(entry.path).split(":")[0] for entry in os.scandir(f"/proc/{home.daemon_pid()}/fd"))


def settled(home):
    """Nobody works on anything, and what must wait for its time has had it."""
    home.vms()
    wait_for("no VM is left", PATIENCE, lambda: not home.vms(), 0.5)
    time.sleep(1)  # the file for plain ssh follows a moment later


def compare(home, before):
    """Differences now and, as some things go a moment later than their user, those that stay."""
    def differences():
        now = machine(home)
        return [f"{kind}: too much {sorted(set(map(str, now[kind])) - set(map(str, before[kind])))[:20]}, "
                f"missing {sorted(set(map(str, before[kind])) - set(map(str, now[kind])))[:20]}"
                for kind in before if now[kind] != before[kind]]
    seen = []

    def as_before():
        seen[:] = differences()
        return not seen
    try:
        wait_for("the machine is as before", 90, as_before, 1)
    except Failed:
        raise Failed("left behind:\n" + "\n".join(seen) + "\n") from None


def scenario_two_hundred_cycles_leave_nothing(home):
    count = int(os.environ.get("BANGER_LEAK", "200"))
    seed = int(os.environ.get("BANGER_TEST_SEED", random.SystemRandom().randrange(1 << 30)))
    home.env.update(BANGER_DISK="dm-snapshot", BANGER_GC_MIN_AGE_MS="0")
    cycles = Cycles(home, random.Random(seed))
    began = time.monotonic()
    cycles.run(1, kill=False)  # modules, caches, keys: what is made once
    settled(home)
    before = machine(home)
    cycles = Cycles(home, random.Random(seed))
    cycles.run(count // 10, kill=True)
    # The other hypervisors are the stand-in, with real devices, taps and rules: ten times as fast here.
    home.fake_qemu()
    home.kill_daemon()
    fast = Cycles(home, random.Random(seed + 1))
    fast.run(count - count // 10, kill=True)
    settled(home)
    home.kill_daemon()  # what it held open ends with it
    home.vms()
    print(f"     {count} cycles in {time.monotonic() - began:.0f} s, seed {seed}: " +
          ", ".join(f"{number} {what}" for what, number in sorted((cycles.counts + fast.counts).items())))
    compare(home, before)
    equal(home.banger("gc", "--dry-run", "-o", "json").json(), [], "nor does the ledger know of anything")
    check(count < 20 or (fast.counts["kill -9"] >= 3 and fast.counts["created"] > count // 2), f"it was a test: {fast.counts}")
    # Nor does a daemon that lives on keep anything.
    held = descriptors(home)
    Cycles(home, random.Random(seed)).run(max(4, count // 20), kill=False)
    settled(home)
    try:
        wait_for("descriptors as before", 20, lambda: descriptors(home) == held, 0.5)
    except Failed:
        raise Failed(f"descriptors {collections.Counter(descriptors(home)) - collections.Counter(held)} more") from None
    compare(home, before)


scenario_two_hundred_cycles_leave_nothing.limits = 2

"""`banger apply` of a new VM until its ssh is ready, against the same guest started by hand.

By hand: a fresh overlay and work disk made by the same tools with the same arguments, the initrd
that banger made copied, then the very command line that /proc shows of banger's VM. Both are ready
when the guest's agent says on its channel that ssh listens: banger waits for that word, and so does
the hand. Knocking on the port instead would measure the knocking: user networking accepts before
the guest listens, and a knock that comes too early costs seconds. The hand prepares before its
clock stops but knows nothing else to do; "guest alone" takes even that from it.

Pairs are interleaved, and who begins changes from pair to pair. BANGER_BENCH_PAIRS says how many.
A machine that does other things makes the two of a pair differ by a fifth and more."""

import json
import os
import re
import selectors
import shutil
import socket
import subprocess
import time

from bench import Bench, harness, median, now_ms

PAIRS = int(os.environ.get("BANGER_BENCH_PAIRS", "20"))
SPEC = "version: 1\nstack: boot\nvms:\n  guest: {image: tiny, memory: 128Mi, vcpus: 1, work_disk: 64Mi}\n"


class Hand:
    """The same guest without banger: its command line, what its disks are made of."""

    def __init__(self, home):
        pid = home.vm("guest")["pid"]
        self.argv = harness.processes()[pid][:-1]
        self.home = home
        self.made = os.path.dirname(self.argv[self.argv.index("-pidfile") + 1])
        self.initrd = os.path.join(home.dir, "initrd")
        shutil.copy(os.path.join(self.made, "initrd"), self.initrd)
        info = subprocess.run(["qemu-img", "info", "-U", "--output=json", os.path.join(self.made, "root.qcow2")],
                              check=True, capture_output=True, text=True).stdout
        self.base, self.size = json.loads(info)["full-backing-filename"], json.loads(info)["virtual-size"]
        self.work_size = os.path.getsize(os.path.join(self.made, "work.img"))
        self.argv = [word.replace(self.made, os.path.join(home.dir, "hand")) for word in self.argv]

    def prepare(self, directory):
        os.mkdir(directory)
        subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-b", self.base, "-F", "raw", "root.qcow2",
                        str(self.size)], cwd=directory, check=True)
        with open(os.path.join(directory, "work.img"), "wb") as f:
            f.truncate(self.work_size)
        subprocess.run(["/usr/sbin/mke2fs", "-q", "-F", "-t", "ext4", "-m", "0", "-L", "work", "-E",
                        "nodiscard,assume_storage_prezeroed=1,root_owner=0:0", "work.img"], cwd=directory, check=True)
        shutil.copy(self.initrd, os.path.join(directory, "initrd"))

    def boot(self):
        """ms in all, ms from exec to ready."""
        directory = os.path.join(self.home.dir, "hand")
        start = now_ms()
        self.prepare(directory)
        begun = now_ms()
        with open(os.path.join(directory, "hypervisor.log"), "w") as log:
            process = subprocess.Popen(self.argv, cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                       start_new_session=True)
        try:
            # What QEMU never reads is never sent: console and monitor have their reader with banger, too.
            with open_socket(directory, "console.sock") as console, open_socket(directory, "agent.sock") as agent:
                wait_ready(agent, console)
            end = now_ms()
        finally:
            process.kill()
            process.wait()
            shutil.rmtree(directory)
        return end - start, end - begun


def open_socket(directory, name):
    end = time.monotonic() + 20
    while True:
        s = socket.socket(socket.AF_UNIX)
        try:
            s.connect(os.path.join(directory, name))
            return s
        except OSError:
            s.close()
            harness.check(time.monotonic() < end, f"QEMU opens {name}")
            time.sleep(0.002)


def wait_ready(agent, console):
    """hello, then the events; the console is read so that the guest does not wait for us."""
    agent.sendall(b'\n{"id":1,"method":"hello","params":{"version":1}}\n')
    chosen = selectors.DefaultSelector()
    chosen.register(agent, selectors.EVENT_READ)
    chosen.register(console, selectors.EVENT_READ)
    text, end = b"", time.monotonic() + 120
    while time.monotonic() < end:
        for key, _ in chosen.select(1):
            data = key.fileobj.recv(65536)
            harness.check(data, "the guest by hand lives")
            if key.fileobj is console:
                continue
            text += data
            *lines, text = text.split(b"\n")
            if any(is_ready(line) for line in lines):
                return
    raise harness.Failed("the guest by hand did not become ready")


def is_ready(line):
    try:
        message = json.loads(line)
    except ValueError:
        return False
    return bool(message.get("result", message.get("params", {})).get("ready"))


def by_banger(home, path):
    """ms of the whole command, and of it from hypervisor to ready."""
    start = now_ms()
    home.banger("apply", "-f", path, "--yes")
    took = now_ms() - start
    boot = int(re.findall(r"ready after (\d+) ms", home.log())[-1])
    return took, boot


def measure(report):
    with Bench("boot", images=True) as home:
        path = home.file("vms.yaml", SPEC)
        home.banger("apply", "-f", path, "--yes")
        hand = Hand(home)
        home.banger("delete", "-f", path, "--yes")
        ours, theirs = [], []
        for pair in range(PAIRS):
            for turn in ("banger", "hand") if pair % 2 else ("hand", "banger"):
                if turn == "hand":
                    theirs.append(hand.boot())
                else:
                    ours.append(by_banger(home, path))
                    home.banger("delete", "-f", path, "--yes")
        report.add(f"apply to ssh-ready, median of {PAIRS}", median(o[0] for o in ours), "ms", None,
                   "the same guest by hand", median(t[0] for t in theirs), limit=1.03,
                   samples=ours, peer_samples=theirs)
        report.add("  of each pair, the median ratio", median(o[0] / t[0] for o, t in zip(ours, theirs)), "of its peer")
        report.add("  the same against the guest alone", median(o[0] for o in ours), "ms", None,
                   "without preparing disks", median(t[1] for t in theirs))
        report.add("  of it, hypervisor to ready", median(o[1] for o in ours), "ms", None,
                   "exec to ready by hand", median(t[1] for t in theirs))

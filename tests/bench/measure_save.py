"""From the close() of an edited file to the first instruction of the hypervisor, in a watched
directory of 1,000 VMs whose disks exist: once a file each, once all in one file.

The hypervisor is a stand-in that notes the time and ends; everything before its exec is real. An
edit writes the file in place (truncate, write, close), which is the worst of the ways editors
have, as each of the three is an event. After each trial the VM is edited back to stopped. The peer
waits for the same event of a directory of its own, forks and runs the same program: nothing can be
faster and still start something on a save."""

import os
import subprocess
import time

from bench import Bench, harness, median, percentile, program

VMS = 1000
REAL = 10   # of them have disks and take turns
TRIALS = 100
PAUSE = 0.06

HEAD = "version: 1\nstack: save\ndefaults: {image: tiny, memory: 128Mi, work_disk: 64Mi, restart: never}\nvms:\n"


def entry(number, state="stopped"):
    return f"  vm-{number:04}: {{state: {state}, labels: {{zone: z{number % 7}}}}}\n"


class Directory:
    """The watched directory; set() is one edit and returns the moment before its close()."""

    def __init__(self, home, one_file):
        self.path = os.path.join(home.work, "watched")
        self.states = ["stopped"] * VMS
        self.one_file = one_file
        os.mkdir(self.path)
        for number in range(1 if one_file else VMS):
            self.write(number)

    def write(self, number):
        if self.one_file:
            name, text = "all.yaml", HEAD + "".join(entry(i, s) for i, s in enumerate(self.states))
        else:
            name, text = f"vm-{number:04}.yaml", HEAD + entry(number, self.states[number])
        fd = os.open(os.path.join(self.path, name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, text.encode())
        start = time.monotonic_ns()
        os.close(fd)
        return start

    def set(self, number, state):
        self.states[number] = state
        return self.write(number)


def prepare(home, one_file):
    """REAL VMs made by banger, the rest as rows; then the directory is watched."""
    real = home.file("real.yaml", HEAD + "".join(entry(i) for i in range(REAL)))
    rest = home.file("rest.yaml", HEAD + "".join(entry(i) for i in range(REAL, VMS)))
    directory = Directory(home, one_file)
    home.banger("apply", "-f", real, "--yes")
    home.banger("daemon", "stop")
    home.fill_store(rest, "save", directory.path)
    home.banger("watch", directory.path, "--take-over")
    time.sleep(1)
    harness.equal(len(home.vms()), VMS, "VMs known")
    harness.equal(home.stand_ins(), [], "nothing was started")
    return directory


def next_start(home, known):
    """When the next one began. Looked for seldom, as looking takes the time of a processor."""
    end = time.monotonic() + 10
    while time.monotonic() < end:
        time.sleep(PAUSE)
        starts = home.stand_ins()
        if len(starts) > known:
            return starts[known][0]
    raise harness.Failed("no hypervisor was started within 10 s of a save\n" + home.log()[-2000:])


class Peer:
    def __init__(self, home):
        self.home = home
        self.path = os.path.join(home.work, "peer")
        self.log = os.path.join(home.dir, "peer.log")
        os.mkdir(self.path)
        self.process = subprocess.Popen(
            [program("bench_inotify"), self.path, program("bench_stand_in")],
            env=dict(home.env, BENCH_STAND_IN=self.log), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        home.children.append(self.process)
        self.process.stdout.readline()

    def trial(self, number):
        fd = os.open(os.path.join(self.path, "vm.yaml"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.write(fd, (HEAD + entry(0)).encode())
        start = time.monotonic_ns()
        os.close(fd)
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline:
            time.sleep(PAUSE)
            starts = self.home.stand_ins(self.log)
            if len(starts) > number:
                return (starts[number][0] - start) / 1e6
        raise harness.Failed("the peer did not see a save")


def trials(home, directory):
    ours, theirs, peer = [], [], Peer(home)
    for number in range(TRIALS):
        known = len(home.stand_ins())
        start = directory.set(number % REAL, "running")
        ours.append((next_start(home, known) - start) / 1e6)
        directory.set(number % REAL, "stopped")
        time.sleep(PAUSE)
        theirs.append(peer.trial(number))
    return ours, theirs


def measure(report):
    for one_file, title in ((False, "a file each"), (True, "one file")):
        with Bench("save", images=True, stand_in=True) as home:
            ours, theirs = trials(home, prepare(home, one_file))
        peer = "inotify + fork + exec"
        report.add(f"save to exec, {VMS} VMs, {title}: p99", percentile(ours, 99), "ms", 20,
                   peer, percentile(theirs, 99), samples=ours)
        report.add("  median", median(ours), "ms", None, "same", median(theirs))

"""10,000 VMs: parse, resolve and diff within the library, then the whole commands of a person.

The peer reads the same file with libyaml behind Python (CSafeLoader): parsing alone, nothing
resolved, checked or compared. It is an ordinary way to read YAML at the speed of C."""

import os
import subprocess
import sys

from bench import Bench, harness, median, now_ms, program

VMS = 10000
ROUNDS = 9

PEER = """
import resource, sys, time, yaml
text = open(sys.argv[1], "rb").read()
start = time.monotonic()
assert len(yaml.load(text, Loader=yaml.CSafeLoader)["vms"]) == int(sys.argv[2])
print((time.monotonic() - start) * 1e3, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def library(path, rounds):
    out = subprocess.run([program("bench_schema"), str(VMS), str(rounds), path],
                         check=True, capture_output=True, text=True).stdout
    return {line.split()[0][7:]: float(line.split()[1]) for line in out.splitlines()}


def peer(path):
    out = subprocess.run([sys.executable, "-c", PEER, path, str(VMS)],
                         check=True, capture_output=True, text=True).stdout
    return tuple(float(word) for word in out.split())


def processor_ms(pid):
    with open(f"/proc/{pid}/schedstat") as f:
        return int(f.read().split()[0]) / 1e6


def command(home, code, *args, daemon=None):
    """ms, MiB and processor ms (the daemon's included) of one run of banger."""
    before = processor_ms(daemon) if daemon else 0
    start = now_ms()
    pid = os.posix_spawn(os.path.join(harness.BUILD, "banger"), ["banger", *args], home.env,
                         file_actions=[(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)])
    _, status, usage = os.wait4(pid, 0)
    took = now_ms() - start
    harness.equal(os.waitstatus_to_exitcode(status), code, f"banger {args[0]} exits")
    spent = (usage.ru_utime + usage.ru_stime) * 1e3 + (processor_ms(daemon) - before if daemon else 0)
    return took, usage.ru_maxrss / 1024, spent


def daemon_peak(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmHWM:"))


def stopped_copy(home, path):
    with open(path) as f:
        text = f.read()
    # The store of 10,000 must hold nothing that the daemon would start.
    return home.file("stopped.yaml", text.replace("defaults:\n", "defaults:\n  state: stopped\n", 1))


def measure(report):
    with Bench("schema") as home:
        path = os.path.join(home.work, "vms.yaml")
        ours, theirs = [], []
        for _ in range(ROUNDS):
            ours.append(library(path, 5))
            if len(theirs) < 3:  # it takes seconds, and varies little
                theirs.append(peer(path))
        yaml_ms, yaml_mib = median(p[0] for p in theirs), median(p[1] for p in theirs)
        report.add(f"parse + resolve + diff, {VMS} VMs", median(o["total"] for o in ours), "ms", 100,
                   "python3 + libyaml, parse", yaml_ms)
        report.add("  its peak memory", max(o["peak_rss"] for o in ours), "MiB", 64, "same", yaml_mib)
        runs = [command(home, 0, "validate", "-f", path) for _ in range(ROUNDS)]
        report.add(f"banger validate, {VMS} VMs", median(r[0] for r in runs), "ms", 100, "same", yaml_ms)
        report.add("  its processor time", median(r[2] for r in runs), "ms", None, "same", yaml_ms)
        report.add("  its peak memory", max(r[1] for r in runs), "MiB", 64, "same", yaml_mib)
        pid = home.boot_daemon()
        runs = [command(home, 1, "diff", "-f", path, daemon=pid) for _ in range(ROUNDS)]
        report.add(f"banger diff, {VMS} VMs to create", median(r[0] for r in runs), "ms", None, "same", yaml_ms)
        report.add("  processor time of both", median(r[2] for r in runs), "ms", None, "same", yaml_ms)
        report.add("  peak memory of banger", max(r[1] for r in runs), "MiB", None, "same", yaml_mib)
        report.add("  peak memory of bangerd", daemon_peak(pid), "MiB", None, "same", yaml_mib)
        home.banger("daemon", "stop")
        path = stopped_copy(home, path)
        home.fill_store(path, "bench", path)
        start = now_ms()
        pid = home.boot_daemon()
        report.add(f"start of bangerd, {VMS} stopped VMs", now_ms() - start, "ms", None, "same", yaml_ms)
        runs = [command(home, 0, "diff", "-f", path, daemon=pid) for _ in range(ROUNDS)]
        report.add(f"banger diff, {VMS} VMs, nothing to do", median(r[0] for r in runs), "ms", 100, "same", yaml_ms)
        report.add("  processor time of both", median(r[2] for r in runs), "ms", None, "same", yaml_ms)
        report.add("  peak memory of banger", max(r[1] for r in runs), "MiB", 64, "same", yaml_mib)
        report.add("  peak memory of bangerd", daemon_peak(pid), "MiB", 64, "same", yaml_mib)

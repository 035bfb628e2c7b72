"""bangerd with 1,000 stopped VMs of a watched directory, between two resyncs: how often any of its
threads was woken in 20 s, and how much of the machine's memory it holds, after it has listed, planned
and stored them all.

The peer is a Python process that has read the same rows and waits on a socket: what a controller
without a loop of its own would hold."""

import os
import signal
import subprocess
import sys
import time

from bench import Bench, harness

VMS = 1000
SECONDS = 20

PEER = """
import json, select, socket, sqlite3, sys
rows = [dict(zip("nsa", row)) for row in sqlite3.connect(sys.argv[1]).execute("select name, spec, applied from vms")]
rows = [dict(row, s=json.loads(row["s"]), a=json.loads(row["a"])) for row in rows]
end, other = socket.socketpair()
print(len(rows), flush=True)
select.select([end], [], [])
"""


def switches(pid):
    """Voluntary and not, of all threads: each is a time on a processor that began."""
    total = 0
    for task in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{task}/status") as f:
            total += sum(int(line.split()[1]) for line in f if "ctxt_switches" in line)
    return total


def resident(pid):
    with open(f"/proc/{pid}/status") as f:
        return next(int(line.split()[1]) / 1024 for line in f if line.startswith("VmRSS:"))


def measure(report):
    with Bench("idle") as home:
        lines = [f"  vm-{i:04}: {{state: stopped, work_disk: 1Gi, labels: {{zone: z{i % 7}}}}}" for i in range(VMS)]
        path = home.file("watched/vms.yaml", "version: 1\nstack: idle\ndefaults: {image: tiny, memory: 256Mi}\nvms:\n"
                         + "\n".join(lines) + "\n")
        home.fill_store(path, "idle", os.path.dirname(path))
        peer = subprocess.Popen([sys.executable, "-c", PEER, os.path.join(home.state, "banger.db")],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        home.children.append(peer)
        harness.equal(peer.stdout.readline().strip(), str(VMS), "rows the peer read")
        pid = home.boot_daemon()
        home.banger("watch", os.path.dirname(path))
        harness.equal(len(home.vms()), VMS, "VMs known")
        os.kill(pid, signal.SIGHUP)  # a resync now is none in the next minute
        time.sleep(3)
        before, peer_before = switches(pid), switches(peer.pid)
        time.sleep(SECONDS)
        report.add(f"bangerd idle, {VMS} stopped VMs: wake-ups in {SECONDS} s", switches(pid) - before, "", 0,
                   "python3 in select()", switches(peer.pid) - peer_before)
        report.add("  its resident memory", resident(pid), "MiB", 16, "python3 with the rows", resident(peer.pid))

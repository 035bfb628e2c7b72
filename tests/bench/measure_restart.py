"""A new bangerd among 100 running hypervisors: from its exec until it answers and holds them all.

The hypervisors are real QEMUs with the command line that banger gives them (taken from a start
with the stand-in), stopped before their first instruction (-S), each with its row in the store. The
peers look for the same processes the way a script does: pgrep -f, and a scan of /proc by Python."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time

from bench import Bench, harness, median, now_ms

COUNT = 100
ROUNDS = 11
BATCH = 10

HEAD = "version: 1\nstack: restart\ndefaults: {image: tiny, memory: 128Mi, work_disk: 16Mi, ready: none}\nvms:\n"


def model(home):
    """What banger says to QEMU for one VM, and its directory with disks."""
    for state, code in (("stopped", 0), ("running", None)):
        # A stand-in that ends at once is a failed start: it has said all it is asked for.
        home.banger("apply", "-f", home.file("model.yaml", f"{HEAD}  model: {{state: {state}}}\n"), "--yes", code=code)
    harness.wait_for("a start", 30, home.stand_ins)
    home.banger("daemon", "stop")
    argv = home.stand_ins()[0][1]
    return argv, os.path.dirname(argv[argv.index("-pidfile") + 1])


def like(argv, model_id, vm_id, number):
    address = next(word for word in argv if "hostfwd=" in word).split("hostfwd=tcp:")[1].split(":")[0]
    own = f"127.127.{number // 200}.{number % 200 + 1}"
    return [word.replace(model_id, vm_id).replace(address, own) for word in argv] + ["-S"]


def start_all(home, argv, directory, ids):
    qemu = shutil.which("qemu-system-x86_64")
    processes = []
    for number, vm_id in enumerate(ids):
        target = os.path.join(home.state, "vms", vm_id)
        shutil.copytree(directory, target, ignore=shutil.ignore_patterns("*.sock", "pid", "lock"))
        with open(os.path.join(target, "initrd"), "wb") as f:
            f.write(bytes(4096))  # taken away with the start that failed; nobody boots from it
        processes.append(spawn(qemu, like(argv, os.path.basename(directory), vm_id, number), target))
        if number % BATCH == BATCH - 1:
            harness.wait_for("a batch of hypervisors is up", 120, lambda: all(
                os.path.exists(os.path.join(home.state, "vms", one, "qmp.sock")) for one in ids[:number + 1]))
    shutil.rmtree(directory)
    return processes


def spawn(qemu, argv, directory):
    return subprocess.Popen(argv, executable=qemu, cwd=directory, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                            stderr=open(os.path.join(directory, "hypervisor.log"), "w"), start_new_session=True)


def ping(home):
    with socket.socket(socket.AF_UNIX) as s:
        s.connect(os.path.join(home.env["XDG_RUNTIME_DIR"], "banger", "bangerd.sock"))
        body = json.dumps({"id": 1, "method": "ping", "params": {}}).encode()
        s.sendall(len(body).to_bytes(4, "big") + body)
        data = b""
        while len(data) < 4 or len(data) < 4 + int.from_bytes(data[:4], "big"):
            chunk = s.recv(65536)
            if not chunk:
                return 0
            data += chunk
        return json.loads(data[4:])["result"]["running"]


def restart(home):
    log = open(os.path.join(home.state, "bangerd.log"), "a")
    start = now_ms()
    daemon = subprocess.Popen([os.path.join(harness.BUILD, "bangerd")], env=home.env, stdin=subprocess.DEVNULL,
                              stdout=log, stderr=log)
    running = 0
    while now_ms() - start < 20000 and running < COUNT:
        try:
            running = ping(home)
        except OSError:
            time.sleep(0.0005)
    took = now_ms() - start
    log.close()
    daemon.send_signal(signal.SIGKILL)  # the hard way: nothing was tidied for the next one
    daemon.wait()
    harness.equal(running, COUNT, "hypervisors held")
    return took


def by_pgrep(home):
    start = now_ms()
    out = subprocess.run(["pgrep", "-f", os.path.join(home.state, "vms")], capture_output=True, text=True).stdout
    took = now_ms() - start
    harness.equal(len(out.split()), COUNT, "hypervisors that pgrep finds")
    return took


def by_python(home):
    start = now_ms()
    found = home.hypervisors()
    took = now_ms() - start
    harness.equal(len(found), COUNT, "hypervisors that a scan finds")
    return took


def measure(report):
    with Bench("restart", images=True, stand_in=True) as home:
        path = home.file("vms.yaml", HEAD + "".join(f"  vm-{i:03}: {{}}\n" for i in range(COUNT)))
        argv, directory = model(home)
        os.unlink(os.path.join(home.state, "banger.db"))
        ids = home.fill_store(path, "restart", path)
        hypervisors = start_all(home, argv, directory, list(ids.values()))
        try:
            ours, pgrep, scan = [], [], []
            for _ in range(ROUNDS):
                ours.append(restart(home))
                pgrep.append(by_pgrep(home))
                scan.append(by_python(home))
        finally:
            for process in hypervisors:
                process.kill()
            for process in hypervisors:
                process.wait()
        report.add(f"restart of bangerd, {COUNT} hypervisors held again", median(ours), "ms", 250,
                   "pgrep -f", median(pgrep), samples=ours)
        report.add("  the same, worst", max(ours), "ms", None, "python scan of /proc", median(scan))

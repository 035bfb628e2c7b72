"""What every end-to-end scenario stands on.

A scenario is a function `scenario_<name>(home)` in tests/e2e/test_*.py. It gets a Home: its own XDG
directories, its own daemon, its own VMs, and whatever happens Home.close() takes all of it away and
fails the scenario when something was left behind. Images are built once (the pull is a scenario of
its own) and linked into each Home, as they are immutable.
"""

import contextlib
import glob
import json
import os
import re
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, os.environ.get("BUILD", "build-san"))
IMAGES = os.path.join(ROOT, "build", "test-images")
# Emulated guests on a loaded machine are slow; a deadline is for hangs, not for speed.
PATIENCE = float(os.environ.get("BANGER_TEST_PATIENCE", "90"))
# In the lab guests are emulated twice: what is large is smaller there.
IN_LAB = bool(os.environ.get("BANGER_LAB"))

FORWARD = "/proc/sys/net/ipv4/ip_forward"
IN_LAB_READY = ", ready: {probe: ssh, timeout: 400s}"  # the usual two minutes are short for several at once
SMALL = "{image: tiny, memory: 128Mi, vcpus: 1, work_disk: 64Mi, system_disk: 512Mi%s}"


class Failed(AssertionError):
    pass


def check(truth, message):
    if not truth:
        raise Failed(message)


def equal(got, want, what=""):
    check(got == want, f"{what}: got {got!r}, want {want!r}")


class Result:
    def __init__(self, args, code, out, err):
        self.args, self.code, self.out, self.err = args, code, out, err

    def json(self):
        return json.loads(self.out)

    def __str__(self):
        return f"$ banger {' '.join(self.args)}\nexit {self.code}\n--- stdout\n{self.out}--- stderr\n{self.err}"


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(what, seconds, probe, every=0.05):
    end = time.monotonic() + seconds
    while True:
        value = probe()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(f"not within {seconds:g} s: {what}")
        time.sleep(every)


def processes():
    """pid -> argv of everything that runs and is ours to see."""
    found = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                with open(f"/proc/{entry}/cmdline", "rb") as f:
                    argv = f.read().decode("utf-8", "replace").split("\0")
                with open(f"/proc/{entry}/stat") as f:
                    if f.read().rsplit(")", 1)[1].split()[0] == "Z":
                        continue
            except OSError:
                continue
            if argv[0]:
                found[int(entry)] = argv
    return found


class Rpc:
    """A client without manners, for what banger itself never does."""

    def __init__(self, home):
        self.socket = socket.socket(socket.AF_UNIX)
        self.last = 0
        try:
            self.socket.connect(home.socket_path)
        except OSError:
            self.socket.close()
            raise
        self.socket.settimeout(PATIENCE)

    def send(self, method, params=None, fds=()):
        self.last += 1
        body = json.dumps({"id": self.last, "method": method, "params": params or {}}).encode()
        socket.send_fds(self.socket, [struct.pack(">I", len(body)) + body], list(fds))
        return self.last

    def exactly(self, size):
        data = b""
        while len(data) < size:
            more = self.socket.recv(size - len(data))
            if not more:
                raise ConnectionError("bangerd hung up")
            data += more
        return data

    def receive(self):
        return json.loads(self.exactly(struct.unpack(">I", self.exactly(4))[0]))

    def call(self, method, params=None, fds=()):
        number = self.send(method, params, fds)
        while True:
            reply = self.receive()
            if reply["id"] == number:
                return reply

    def close(self):
        self.socket.close()


class Home:
    def __init__(self, name, images=True):
        self.name = name
        self.fake = False
        self.tally = {}  # what a matrix counted, added up by run.py
        self.dir = tempfile.mkdtemp(prefix="banger-e2e-")
        # As root the machine's bangerd can be tested as well, in a machine of its own below self.dir.
        self.system = os.environ.get("BANGER_TEST_MODE") == "system"
        self.state = os.path.join(self.dir, "var", "lib", "banger") if self.system else os.path.join(self.dir, "state", "banger")
        if self.system:
            os.chmod(self.dir, 0o711)  # hypervisors have users of their own there
            with open(FORWARD) as f:
                self.forward = f.read()
        self.work = os.path.join(self.dir, "work")
        os.makedirs(self.work)
        os.makedirs(self.state, mode=0o700)
        self.env = {k: v for k, v in os.environ.items()
                    if k == "BANGER_START_TIMEOUT_MS" or not k.startswith(("XDG_", "BANGER_", "GIT_"))}
        self.env.update(
            HOME=os.path.join(self.dir, "home"),
            XDG_STATE_HOME=os.path.join(self.dir, "state"),
            XDG_CACHE_HOME=os.environ.get("BANGER_TEST_CACHE", os.path.join(ROOT, "build", "test-cache")),
            XDG_CONFIG_HOME=os.path.join(self.dir, "config"),
            XDG_RUNTIME_DIR=os.path.join(self.dir, "run"),
            BANGER_ACCEL=os.environ.get("BANGER_ACCEL", "tcg"),
            PATH=BUILD + os.pathsep + os.environ["PATH"],
            ASAN_OPTIONS="detect_leaks=1:abort_on_error=1:log_path=" + os.path.join(self.dir, "asan"),
            UBSAN_OPTIONS="print_stacktrace=1:abort_on_error=1",
            # Who is killed while it writes its counts leaves none; that is no word to the user.
            GCOV_ERROR_FILE=os.path.join(self.dir, "gcov"),
        )
        if self.system:
            self.env.update(BANGER_SYSTEM="1", BANGER_ROOT=self.dir)
        for switch, variable in (("BANGER_TEST_HYPERVISOR", "BANGER_HYPERVISOR"), ("BANGER_FIRECRACKER", "BANGER_FIRECRACKER")):
            if switch in os.environ:
                self.env[variable] = os.environ[switch]
        if IN_LAB:
            # Looking for a client's leaks costs a second a command there; it is done in the same scenarios elsewhere.
            with open(os.path.join(self.dir, "options.banger"), "w") as f:
                f.write("detect_leaks=0\n")
            self.env["ASAN_OPTIONS"] += f":include_if_exists={self.dir}/options.%b"
        os.makedirs(self.env["HOME"])
        os.makedirs(self.env["XDG_RUNTIME_DIR"], mode=0o711 if self.system else 0o700)
        runtime = os.path.join(self.dir, "run")
        self.socket_path = os.path.join(runtime, "banger", "bangerd.sock")
        if images:
            for store in ("images", "kernels"):
                source = os.path.join(IMAGES, "state", "banger", store)
                if os.path.isdir(source):
                    subprocess.run(["cp", "-al", source, self.state], check=True)
        self.children = []
        self.daemons = []

    def own_cache(self):
        """Where downloads go from now on, nobody else's."""
        self.env["XDG_CACHE_HOME"] = os.path.join(self.dir, "cache")
        return os.path.join(self.dir, "var", "cache", "banger") if self.system else os.path.join(self.dir, "cache", "banger")

    # --- faults ---
    def fake_qemu(self, **conf):
        """From now on hypervisors are tests/fake/qemu.c, behaving as said (keys there)."""
        if not self.fake:
            self.fake = True
            self.env.pop("BANGER_HYPERVISOR", None)
            self.env["PATH"] = os.path.join(BUILD, "fake") + os.pathsep + self.env["PATH"]
            self.env["FAKE_QEMU"] = os.path.join(self.dir, "fake.conf")
        self.file(self.env["FAKE_QEMU"], "".join(f"{key} {value}\n" for key, value in conf.items()))

    def fake_firecracker(self, jailer=True):
        """From now on Firecrackers are tests/fake/firecracker.c, started by tests/fake/jailer.c or as they are. What they
        do is in the files that FAKE_FIRECRACKER and FAKE_JAILER name."""
        place = os.path.join(BUILD, "fake")
        if not jailer:
            place = os.path.join(self.work, "bin")
            os.makedirs(place)
            shutil.copy(os.path.join(BUILD, "fake", "firecracker"), place)
        self.env["BANGER_FIRECRACKER"] = os.path.join(place, "firecracker")
        for name in ("FAKE_FIRECRACKER", "FAKE_JAILER"):
            self.env[name] = self.file(os.path.join(self.dir, name.lower()), "")

    def doomed_daemon(self, failpoint):
        """A bangerd that kills itself there; the one that ran is ended first."""
        pid = self.daemon_pid()
        if pid:
            self.kill_daemon(signal.SIGTERM)
        log = open(os.path.join(self.state, "bangerd.log"), "a")
        daemon = subprocess.Popen([os.path.join(BUILD, "bangerd")], stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                  env=dict(self.env, BANGER_FAILPOINT=failpoint), cwd="/")
        log.close()
        self.daemons.append(daemon)
        wait_for("bangerd listens", PATIENCE, lambda: daemon.poll() is not None or self.listens())
        return daemon

    def listens(self):
        try:
            Rpc(self).close()
            return True
        except OSError:
            return False

    # --- commands ---
    def banger(self, *args, code=0, input=None, timeout=PATIENCE * 2, env=None, cwd=None):
        full = dict(self.env, **(env or {}))
        process = subprocess.run([os.path.join(BUILD, "banger"), *args], env=full, cwd=cwd or self.work,
                                 input=input, capture_output=True, timeout=timeout, text=True, errors="replace",
                                 stdin=subprocess.DEVNULL if input is None else None)
        result = Result(args, process.returncode, process.stdout, process.stderr)
        if code is not None and result.code != code:
            raise Failed(f"expected exit {code}\n{result}")
        return result

    def start(self, *args):
        """A command left running; ended by close()."""
        child = subprocess.Popen([os.path.join(BUILD, "banger"), *args], env=self.env, cwd=self.work, text=True,
                                 stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.children.append(child)
        return child

    def ssh(self, vm, *command, code=0):
        return self.banger("ssh", vm, "--", *command, code=code).out.strip()

    def file(self, name, text):
        path = os.path.join(self.work, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)
        return path

    def spec(self, name="vms.yaml", stack="t", **vms):
        """vms: name -> extra fields (", ports: [...]") on top of SMALL."""
        lines = ["version: 1", f"stack: {stack}", "vms:" if vms else "vms: {}"]
        patient = {vm: IN_LAB_READY if IN_LAB and "ready:" not in extra else "" for vm, extra in vms.items()}
        lines += [f"  {vm}: " + SMALL % (extra + patient[vm]) for vm, extra in vms.items()]
        return self.file(name, "\n".join(lines) + "\n")

    # --- what is there ---
    def vm(self, name):
        return self.banger("show", name, "-o", "json").json()["vm"]

    def vms(self):
        return {vm["name"]: vm for vm in self.banger("ps", "-o", "json").json()}

    def wait_state(self, name, *states, seconds=PATIENCE):
        def probe():
            vm = self.vms().get(name)
            return vm if vm and vm["state"] in states else None
        try:
            return wait_for(f"{name} is {'/'.join(states)}", seconds, probe, 0.1)
        except Failed as failed:
            raise Failed(f"{failed}; it is {self.vms().get(name)}") from None

    def wait_gone(self, name, seconds=PATIENCE):
        wait_for(f"{name} is gone", seconds, lambda: name not in self.vms(), 0.1)

    def daemon_pid(self):
        return next((pid for pid, argv in processes().items()
                     if os.path.basename(argv[0]) == "bangerd" and self.owns(pid)), None)

    def owns(self, pid):
        try:
            with open(f"/proc/{pid}/environ", "rb") as f:
                return f"XDG_STATE_HOME={self.dir}/state".encode() in f.read().split(b"\0")
        except OSError:
            return False

    def hypervisors(self):
        """pids of the QEMUs and Firecrackers whose directories are below ours."""
        return sorted(pid for pid, argv in processes().items()
                      if os.path.basename(argv[0]).startswith(("qemu", "firecracker", "jailer"))
                      and (any(self.state in a for a in argv) or self.is_jailed(pid, argv)))

    def is_jailed(self, pid, argv):
        """Its command line says nothing of a directory; its root directory does."""
        if len(argv) < 3 or not argv[2].startswith("banger-"):
            return False
        root = os.path.join(self.state, "vms", argv[2].split("-")[1], "jail", argv[0].strip("/"), argv[2], "root")
        try:
            return os.path.samestat(os.stat(f"/proc/{pid}/root"), os.stat(root))
        except OSError:
            return False

    def kill_daemon(self, sig=signal.SIGKILL):
        pid = self.daemon_pid()
        check(pid, "bangerd runs")
        os.kill(pid, sig)
        wait_for("bangerd ended", PATIENCE, lambda: pid not in processes())
        return pid

    def log(self):
        try:
            with open(os.path.join(self.state, "bangerd.log"), errors="replace") as f:
                return f.read()
        except OSError:
            return ""

    def wait_log(self, pattern, seconds=PATIENCE):
        return wait_for(f"log says {pattern!r}", seconds, lambda: re.search(pattern, self.log()))

    def boots(self):
        return 0 if self.fake else self.log().count("hypervisor started: pid")

    def vm_dirs(self):
        path = os.path.join(self.state, "vms")
        return sorted(os.listdir(path)) if os.path.isdir(path) else []

    # --- the end ---
    def leftovers(self):
        return [f"{pid}: {' '.join(argv)[:160]}" for pid, argv in processes().items()
                if pid != os.getpid() and any(self.dir in a for a in argv)]

    def close(self, failed):
        for child in self.children:
            if child.poll() is None:
                child.kill()
            child.wait()
            for pipe in (child.stdout, child.stderr):
                pipe.close()
        problems = []
        for daemon in self.daemons:
            if daemon.poll() is None:
                daemon.terminate()
            daemon.wait()
        pid = self.daemon_pid()
        if pid:
            os.kill(pid, signal.SIGTERM)
            try:
                wait_for("bangerd ends on SIGTERM", 30, lambda: pid not in processes())
            except Failed as late:
                problems.append(str(late))
                os.kill(pid, signal.SIGKILL)
        for pid in self.hypervisors():
            os.kill(pid, signal.SIGKILL)
        try:
            # ssh of a client that was killed finds out by itself that nobody is there any more.
            wait_for("no process is left", 60, lambda: not self.leftovers())
        except Failed:
            problems.append("left behind: " + "; ".join(self.leftovers()))
        for name in os.listdir(self.dir):
            if name.startswith("asan"):
                with open(os.path.join(self.dir, name), errors="replace") as f:
                    problems.append("sanitizer:\n" + f.read()[:4000])
        problems += self.remove_devices()
        log = self.log()
        for word in ("runtime error:", "banger: bug at", "AddressSanitizer"):
            if word in log:
                problems.append(f"bangerd.log has '{word}'")
        if failed or problems:
            problems.append("--- bangerd.log (tail)\n" + log[-4000:])
            self.keep_logs()
        shutil.rmtree(self.dir, ignore_errors=True)
        return problems

    def remove_devices(self):
        """Of the hypervisors that were ended above: bangerd would do so at its next start. What stays is told."""
        problems = []

        def remove(*command):
            done = subprocess.run(command, capture_output=True, text=True)
            if done.returncode:
                problems.append(f"{' '.join(command)}: {done.stderr[-200:]}")
        for name in [name for vm in self.vm_dirs() for name in (f"banger-{vm}", f"banger-{vm}-base")]:
            if os.path.exists(f"/dev/mapper/{name}"):
                remove("dmsetup", "remove", "--retry", name)
                with contextlib.suppress(FileNotFoundError):  # dmsetup leaves to udev what bangerd made without it
                    os.unlink(f"/dev/mapper/{name}")
        for cgroup in sorted(glob.glob("/sys/fs/cgroup/banger/banger-*")):
            if os.path.basename(cgroup).split("-")[1] in self.vm_dirs():
                os.rmdir(cgroup)
        if self.system and os.path.isdir("/sys/fs/cgroup/banger") and not glob.glob("/sys/fs/cgroup/banger/banger-*"):
            os.rmdir("/sys/fs/cgroup/banger")
        pool = [name for name in os.listdir("/sys/class/net") if name.startswith("bgr-pool-")]
        ours = [f"bgr-{vm}" for vm in self.vm_dirs()] + pool + ["banger0"] if self.system else []
        for name in ours:
            if os.path.exists(f"/sys/class/net/{name}"):
                remove("ip", "link", "del", name)
        if self.system and "table inet banger" in subprocess.run(["nft", "list", "tables"], capture_output=True, text=True).stdout:
            remove("nft", "delete", "table", "inet", "banger")
        if self.system:
            with open(FORWARD, "w") as f:
                f.write(self.forward)
        return problems

    def keep_logs(self):
        """Where somebody asked for it: what daemon, hypervisors and consoles of a failed scenario said."""
        place = os.environ.get("BANGER_TEST_LOGS")
        for folder, _, files in os.walk(self.state if place else "/nonexistent"):
            for name in files:
                if name.endswith(".log"):
                    target = os.path.join(place, self.name, os.path.relpath(folder, self.state))
                    os.makedirs(target, exist_ok=True)
                    shutil.copy(os.path.join(folder, name), target)

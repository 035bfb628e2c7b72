"""Those who mean harm, or behave as if: clients, guests, look-alikes. And hosts that run out."""

import errno
import json
import os
import shutil
import signal
import socket
import struct
import subprocess
import time

from harness import BUILD, IMAGES, PATIENCE, Home, Rpc, check, equal, free_port, processes, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi")


def rss(home):
    with open(f"/proc/{home.daemon_pid()}/statm") as f:
        return int(f.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def cpu(home):
    with open(f"/proc/{home.daemon_pid()}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def no_quarantine(home):
    """What AddressSanitizer keeps back of freed memory is no growth of ours."""
    home.env["ASAN_OPTIONS"] += ":quarantine_size_mb=1:malloc_context_size=1:allocator_release_to_os_interval_ms=100"


def no_growth(home, before, what):
    """At most 4 MiB, once what was freed has gone back; with AddressSanitizer's padding twice that."""
    with open(f"/proc/{home.daemon_pid()}/maps") as f:
        limit = (8 if "libasan" in f.read() else 4) << 20
    wait_for(f"{what}: bangerd has grown by less than {limit} bytes", 10, lambda: rss(home) - before < limit, 0.2)


def texts(value):
    """All strings in it."""
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else []
    return [text for one in inner for text in texts(one)]


def nothing(home):
    equal((home.vms(), home.vm_dirs(), home.hypervisors()), ({}, [], []), "nothing is left")


# --- clients ---

def scenario_clients_that_flood(home):
    no_quarantine(home)
    home.vms()
    equal(os.stat(home.socket_path).st_mode & 0o777, 0o600, "mode of the socket")
    # More than there is room for: refused, and the room is free again.
    crowd = []
    for _ in range(160):
        s = socket.socket(socket.AF_UNIX)
        s.connect(home.socket_path)
        crowd.append(s)
    wait_for("some are refused", 10, lambda: "are connected" in home.log())
    for s in crowd:
        s.close()
    home.vms()
    # Half a frame is waited for and keeps nobody else waiting; a huge one is hung up on.
    half, huge = Rpc(home), Rpc(home)
    half.socket.sendall(b"\0\0")
    huge.socket.sendall(struct.pack(">I", 1 << 30))
    equal(huge.socket.recv(1), b"", "hung up")
    half.socket.sendall(struct.pack(">I", 2)[2:] + b"[]")
    equal(half.socket.recv(1), b"", "no object: hung up")
    # A descriptor that nobody writes to, in place of the sources.
    r, w = os.pipe()
    plain = os.open(home.file("plain", "x" * 100), os.O_RDONLY)
    rpc = Rpc(home)
    for fds in ([r], [plain], [], [r, plain], [os.open("/dev/null", os.O_RDONLY)]):
        reply = rpc.call("plan", {"documents": [{"name": "x", "length": 1}]}, fds)
        equal(reply["error"]["code"], "invalid", f"descriptors {fds}")
    rpc.close()
    os.close(w)
    # A hundred thousand questions, and no answer is read.
    before, used = rss(home), cpu(home)
    deaf = Rpc(home)
    deaf.socket.settimeout(2)
    try:
        for _ in range(100000):
            deaf.send("doctor" if False else "image.list")
    except TimeoutError:
        pass
    home.vms()
    no_growth(home, before, "a hundred thousand questions")
    used = cpu(home)
    time.sleep(3)
    check(cpu(home) - used < 0.5, f"and does not spin: {cpu(home) - used} s in 3 s")
    deaf.close()
    equal(home.vms(), {}, "others are served")


scenario_clients_that_flood.without_images = True


def scenario_clients_of_another_user(home):
    home.vms()
    if os.getuid() != 0:
        print("only root can try to be somebody else: skipped", flush=True)
        return
    # Even where modes would let them in, they are refused.
    directory = os.path.dirname(home.socket_path)
    for path in (home.dir, home.env["XDG_RUNTIME_DIR"], directory):
        os.chmod(path, 0o755)
    os.chmod(home.socket_path, 0o666)
    program = ("import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); "
               "s.sendall(b'\\0\\0\\0\\x18{\"id\":1,\"method\":\"ping\"}'); print(s.recv(100))")
    stranger = subprocess.run(["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", "python3", "-c", program,
                               home.socket_path], capture_output=True, text=True)
    check("pong" not in stranger.stdout and "version" not in stranger.stdout, f"no answer: {stranger}")
    home.wait_log("refused a client of another user", 5)


scenario_clients_of_another_user.without_images = True


# --- guests ---

def scenario_guests_that_flood_their_agent_port(home):
    no_quarantine(home)
    home.fake_qemu()
    home.banger("create", "warm", *FLAGS)
    before = rss(home)
    for name, conf in (("valid", {"flood": 1}), ("garbage", {"flood": 1, "garbage": 1})):
        home.fake_qemu(ready=-1, **conf)
        home.banger("create", name, *FLAGS, "--no-wait")
        home.wait_state(name, "running")
        used = cpu(home)
        time.sleep(6)
        check(cpu(home) - used < 3, f"{name}: {cpu(home) - used:.1f} s of processor time in 6 s")
        no_growth(home, before, name)
        home.banger("stop", name)
        equal(home.vm(name)["state"], "stopped", name)
        home.banger("delete", name)
    equal(home.vm("warm")["state"], "ready", "the neighbour")


def scenario_guests_that_lie(home):
    """Wrong types, other ids, control characters, 64 KiB of brackets, silence: one after the other."""
    no_quarantine(home)
    home.fake_qemu()
    home.banger("create", "warm", *FLAGS)
    home.fake_qemu(lie=1)
    home.banger("create", "liar", *FLAGS)
    for verb in ("ping", "stats", "health", "ports"):
        home.banger(verb, "warm", code=None)
    before = rss(home)
    seen = set()
    rpc = Rpc(home)
    for turn in range(30):  # every kind of lie at least twice, each time for another question
        verb = ("ping", "stats", "health", "ports")[turn % 4]
        began = time.monotonic()
        reply = rpc.call(f"vm.{verb}", {"names": ["liar"]})
        check(time.monotonic() - began < 20, f"{verb} is bounded")
        item = reply["result"]["items"][0]
        code = item.get("error", {}).get("code", "answer")
        seen.add(code)
        check("liar" in json.dumps(item) and len(json.dumps(item)) < 32768, f"{verb}: {item}")
        check(all(" " <= c <= "~" for text in texts(item) for c in text), f"{verb}: {item}")
        if code == "unavailable":  # it was hung up on, for ten seconds
            time.sleep(2)
    check(seen >= {"answer", "timeout", "system"}, f"of all kinds: {seen}")
    no_growth(home, before, "a liar")
    rpc.close()
    # Everybody else is as ever, and it can be stopped.
    home.banger("ping", "warm")
    home.banger("stats", "liar", code=None)
    home.banger("stop", "liar")
    equal((home.vm("warm")["state"], home.vm("liar")["state"]), ("ready", "stopped"), "states")
    home.fake_qemu()
    home.banger("start", "liar")
    home.banger("stats", "liar")


def scenario_logs_follow_over_rotations(home):
    lines = 100000  # 3.9 MB: three rotations
    home.fake_qemu()
    home.banger("create", "box", *FLAGS, "--no-start")
    home.fake_qemu(console=lines)
    follower = home.start("logs", "-f", "box")
    home.banger("start", "box")
    got = []
    for line in follower.stdout:
        got.append(line)
        if line.startswith(f"line {lines - 1:08d}"):
            break
    follower.kill()
    check(home.vm("box")["state"] == "ready", "it runs")
    want = [f"line {i:08d} of what the guest says\n" for i in range(lines)]
    wrong = next((i for i, (a, b) in enumerate(zip(got, want)) if a != b), None)
    check(got == want, f"{len(got)} lines, the first wrong one is {wrong}: {got[wrong or 0:][:2]}")
    equal(home.banger("logs", "box", "--tail", "2").out.splitlines()[-1] + "\n", want[-1], "tail")


# --- look-alikes ---

def scenario_processes_that_look_like_ours(home):
    home.fake_qemu()
    fake = os.path.join(BUILD, "fake", "qemu-system-x86_64")
    home.banger("create", "box", *FLAGS)
    vm = home.vm("box")
    home.banger("stop", "box")

    def alike(name, state, *prefix):
        cwd = os.path.join(home.dir, name)
        os.makedirs(cwd)
        os.chmod(cwd, 0o777)
        return subprocess.Popen([*prefix, fake, "-pidfile", os.path.join(state, "vms", vm["id"], "pid"), "-m", "128M"], cwd=cwd,
                                env=dict(home.env, FAKE_QEMU=""))
    others = [alike("other", os.path.join(home.dir, "elsewhere", "banger"))]
    if os.getuid() == 0 and os.path.realpath(BUILD).startswith("/") and os.access("/", os.X_OK):
        os.chmod(home.dir, 0o755)
        others.append(alike("nobody", home.state, "setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"))
    # A zombie of ours: it has ended, whatever its entry in /proc says.
    zombie = alike("zombie", home.state)
    time.sleep(0.5)
    zombie.kill()
    try:
        for verb in (lambda: os.kill(home.daemon_pid(), signal.SIGHUP), lambda: home.kill_daemon(), lambda: home.banger("start", "box"),
                     lambda: home.banger("restart", "box"), lambda: home.banger("kill", "box"), lambda: home.banger("delete", "box")):
            verb()
            home.vms()
        nothing_but = [pid for pid in home.hypervisors() if pid not in {o.pid for o in others}]
        equal(nothing_but, [], "ours are gone")
        for other in others:
            check(other.poll() is None or other.returncode > 0, f"touched: {other.args}: {other.returncode}")
        check(others[0].poll() is None, "the one of another state directory lives")
    finally:
        for other in others:
            other.kill()
            other.wait()
        zombie.wait()


def scenario_a_frozen_hypervisor_can_be_ended(home):
    home.fake_qemu()
    home.env["BANGER_STOP_TIMEOUT_MS"] = "3000"
    home.banger("create", "box", *FLAGS)
    os.kill(home.vm("box")["pid"], signal.SIGSTOP)
    home.banger("stop", "box")
    equal((home.vm("box")["state"], home.hypervisors()), ("stopped", []), "stop")
    home.banger("start", "box")
    os.kill(home.vm("box")["pid"], signal.SIGSTOP)
    home.banger("kill", "box")
    equal((home.vm("box")["state"], home.hypervisors()), ("stopped", []), "kill")
    home.banger("start", "box")
    os.kill(home.vm("box")["pid"], signal.SIGSTOP)
    home.banger("delete", "box")
    nothing(home)


# --- a host that cannot ---

def scenario_hypervisors_that_fail(home):
    # Ends at once: named, nothing left by `create`; a stack's VM says why and recovers.
    home.fake_qemu(exit=1)
    failed = home.banger("create", "box", *FLAGS, code=4)
    check("told to fail" in failed.err, f"its last words\n{failed}")
    nothing(home)
    spec = home.spec(box="", other=", state: stopped")
    failed = home.banger("apply", "-f", spec, "--yes", code=4)
    check("told to fail" in failed.err + failed.out, f"its last words\n{failed}")

    def says_why():  # unless it is being tried again at this moment
        vm = home.vm("box")
        table = home.banger("ps").out + home.banger("ps", "-o", "wide").out
        return (vm["state"] == "failed" and "told to fail" in vm["reason"] and "tried again" in vm["reason"] and
                "told to fail" in table and home.vm_dirs() == [home.vm("other")["id"]])
    wait_for("show and ps say why, and no directory is left of it", 20, says_why)
    home.fake_qemu()
    home.wait_state("box", "ready")
    equal(home.vm("box")["reason"], "", "recovered by itself")
    home.banger("delete", "-f", spec, "--yes")
    # A port that somebody took between the look and the start, and gives back.
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        spec = home.spec(box=f", ports: ['{port}:80']")
        failed = home.banger("apply", "-f", spec, "--yes", code=4)
        check(str(port) in failed.err + failed.out, f"the port is named\n{failed}")
    home.wait_state("box", "ready")
    # Dies as soon as it is up, over and over: it is tried later each time.
    home.fake_qemu(ready=-1, die=100)
    home.banger("restart", "box", code=4)
    time.sleep(6)
    check(home.log().count("its hypervisor") <= 6, "it backs off")
    home.fake_qemu()
    home.banger("start", "box")
    home.banger("delete", "-f", spec, "--yes")
    nothing(home)


def scenario_a_hypervisor_that_hangs(home):
    home.fake_qemu(mute=1)
    failed = home.banger("create", "box", *FLAGS, code=5)
    check("does not come up" in failed.err, f"named\n{failed}")
    nothing(home)
    # ... and can be given up meanwhile.
    home.banger("create", "box", *FLAGS, "--no-wait")
    time.sleep(1)
    home.banger("delete", "box")
    nothing(home)


def scenario_a_missing_agent_is_named(home):
    home.fake_qemu()
    share = os.path.join(home.dir, "share")
    shutil.copytree(os.path.join(BUILD, "share"), share)
    os.rename(os.path.join(share, "agent.cpio"), os.path.join(share, "away"))
    home.env["BANGER_SHARE"] = share
    failed = home.banger("create", "box", *FLAGS, code=4)
    check("agent.cpio" in failed.err, f"named\n{failed}")
    nothing(home)
    os.rename(os.path.join(share, "away"), os.path.join(share, "agent.cpio"))
    home.banger("create", "box", *FLAGS)


def scenario_a_full_disk(home):
    if os.getuid() != 0:
        print("only root can mount a small disk: skipped", flush=True)
        return
    home.fake_qemu()
    os.makedirs(home.state, exist_ok=True)
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=700m,mode=700", "none", home.state], capture_output=True)
    if mounted.returncode:
        print("no permission to mount: skipped", flush=True)
        return
    try:
        for store in ("images", "kernels"):
            subprocess.run(["cp", "-a", os.path.join(IMAGES, "state", "banger", store), home.state], check=True)
        spec = home.spec(box="")
        home.vms()
        filler = os.path.join(home.state, "filler")

        def fill(leave):
            st = os.statvfs(home.state)
            size = st.f_bavail * st.f_frsize - leave
            if size <= 0:
                return
            with open(filler, "ab") as f:
                try:
                    os.posix_fallocate(f.fileno(), os.fstat(f.fileno()).st_size, size)
                except OSError as full:  # bangerd wrote something after the look
                    check(full.errno == errno.ENOSPC, full)
                    fill(leave)
        fill(2 << 20)
        failed = home.banger("create", "one", *FLAGS, code=4)
        check("space" in failed.err.lower(), f"named\n{failed}")
        nothing(home)
        failed = home.banger("apply", "-f", spec, "--yes", code=4)
        check("space" in failed.err.lower() + failed.out.lower(), f"named\n{failed}")
        check("space" in home.vm("box")["reason"].lower(), "ps says why")
        equal((home.vm_dirs(), home.hypervisors()), ([], []), "nothing is left")
        os.unlink(filler)
        home.wait_state("box", "ready")
        # With no byte left a VM can be stopped and deleted, also by a fresh daemon.
        fill(0)
        home.kill_daemon()
        home.banger("stop", "box")
        home.banger("delete", "-f", spec, "--yes")
        nothing(home)
    finally:
        home.kill_daemon(signal.SIGTERM)
        for pid in home.hypervisors():
            os.kill(pid, signal.SIGKILL)
        shutil.copy(os.path.join(home.state, "bangerd.log"), os.path.join(home.dir, "bangerd.log"))
        subprocess.run(["umount", "-l", home.state], check=True)
        shutil.copy(os.path.join(home.dir, "bangerd.log"), os.path.join(home.state, "bangerd.log"))


scenario_a_full_disk.without_images = True


def scenario_daemons_that_cannot_begin(home):
    home.vms()
    program = os.path.join(BUILD, "bangerd")
    second = subprocess.run([program], env=home.env, capture_output=True, text=True, timeout=PATIENCE)
    equal(second.returncode, 3, second.stderr)
    check("another bangerd" in second.stderr, second.stderr)
    home.kill_daemon()
    database = os.path.join(home.state, "banger.db")
    for name in os.listdir(home.state):
        if name.startswith("banger.db"):
            os.unlink(os.path.join(home.state, name))
    home.file(database, "no database, and long enough to be looked at\n")
    damaged = subprocess.run([program], env=home.env, capture_output=True, text=True, timeout=PATIENCE)
    equal(damaged.returncode, 4, damaged.stderr)
    check("is damaged" in damaged.stderr and home.banger("ps", code=None).code == 4, damaged.stderr)
    with open(database) as f:
        check(f.read().startswith("no database"), "it is left as it was")


scenario_daemons_that_cannot_begin.without_images = True

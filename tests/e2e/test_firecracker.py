"""Firecracker, as far as it goes without one: its stand-in (tests/fake/firecracker.c) under a whole bangerd."""

import fcntl
import json
import os
import signal
import socket
import subprocess

from harness import BUILD, PATIENCE, check, equal, wait_for


def tell(directory, method, path, body):
    """One call to the API; the descriptor's path, as a VM's own may be too long for a socket."""
    folder = os.open(directory, os.O_RDONLY)
    with socket.socket(socket.AF_UNIX) as s:
        s.settimeout(PATIENCE)
        s.connect(f"/proc/self/fd/{folder}/fc.sock")
        text = json.dumps(body)
        s.sendall(f"{method} {path} HTTP/1.1\r\nContent-Length: {len(text)}\r\n\r\n{text}".encode())
        answer = s.recv(4096).decode()
    os.close(folder)
    check(answer.startswith("HTTP/1.1 204"), f"{method} {path}: {answer}")


def put_in_place(home, vm_id):
    """What the driver does: a Firecracker that holds the VM's lock, its console a pipe, and boots."""
    directory = os.path.join(home.state, "vms", vm_id)
    for name in ("qmp.sock", "agent.sock", "console.sock", "pid"):
        if os.path.exists(os.path.join(directory, name)):
            os.unlink(os.path.join(directory, name))
    os.mkfifo(os.path.join(directory, "console.pipe"), 0o600)
    kernel = home.file("vmlinux", "\x7fELF" + " " * 1000)
    console = os.open(os.path.join(directory, "console.pipe"), os.O_RDWR)
    # As root a hypervisor is its VM's user.
    user = os.stat(directory).st_gid if home.system else None
    lock = os.open(os.path.join(directory, "lock"), os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    child = subprocess.Popen(
        [os.path.join(BUILD, "fake", "firecracker"), "--id", f"banger-{vm_id}-c1-m128-x128-n0", "--log-path",
         os.path.join(directory, "console.pipe"), "--level", "Warning", "--api-sock", "fc.sock"],
        cwd=directory, env=home.env, stdin=subprocess.DEVNULL, stdout=console, stderr=subprocess.DEVNULL,
        pass_fds=(lock,), start_new_session=True, user=user, group=user, extra_groups=None if user is None else [])
    os.close(console)
    os.close(lock)
    wait_for("its API", PATIENCE, lambda: os.path.exists(os.path.join(directory, "fc.sock")))
    tell(directory, "PUT", "/boot-source", {"kernel_image_path": kernel, "initrd_path": kernel})
    tell(directory, "PUT", "/vsock", {"guest_cid": 3, "uds_path": "vsock.sock"})
    tell(directory, "PUT", "/actions", {"action_type": "InstanceStart"})
    return child


def scenario_a_firecracker_is_found_heard_and_ended(home):
    home.fake_qemu()
    spec = home.spec(web="")
    home.banger("apply", "-f", spec, "--yes")
    vm_id = home.vm("web")["id"]
    home.kill_daemon()
    for pid in home.hypervisors():
        os.kill(pid, signal.SIGKILL)
    wait_for("QEMU is gone", PATIENCE, lambda: not home.hypervisors())
    child = put_in_place(home, vm_id)
    try:
        vm = home.wait_state("web", "ready")
        equal(vm["pid"], child.pid, "the one that runs")
        shown = home.vm("web")
        equal([shown["hypervisor"], shown["accel"]], ["firecracker", "kvm"], "what it is")
        home.wait_log(r"found running: pid")
        wait_for("its console", PATIENCE, lambda: "a stand-in" in home.banger("logs", "web").out)
        home.banger("ping", "web")
        # A daemon that comes later finds the same, and starts nothing.
        home.kill_daemon()
        equal(home.wait_state("web", "ready")["pid"], child.pid, "the one that runs")
        # Its agent is asked over vsock, and it ends by a reset.
        home.banger("stop", "web")
        equal(child.wait(timeout=PATIENCE), 0, "how it ended")
        left = {"fc.sock", "vsock.sock", "console.pipe", "handles.json"} & set(
            os.listdir(os.path.join(home.state, "vms", vm_id)))
        equal(left, set(), "files of the run")
        # And QEMU takes its place again.
        home.banger("start", "web")
        equal(home.vm("web")["hypervisor"], "qemu", "what it is now")
    finally:
        if child.poll() is None:
            child.kill()
        child.wait()


def scenario_what_firecracker_lacks_is_named(home):
    home.fake_qemu()
    home.env.update(BANGER_FIRECRACKER="/nowhere/firecracker", BANGER_ACCEL="tcg")
    spec = home.spec(web=", network: user, hypervisor: firecracker")
    result = home.banger("apply", "-f", spec, "--yes", code=3)
    for word in ("vm 'web'", "hypervisor 'firecracker' cannot run here", "/nowhere/firecracker", "BANGER_FIRECRACKER",
                 "needs KVM", "network 'bridge'"):
        check(word in result.err, f"{word}: {result.err}")
    equal(home.hypervisors(), [], "what runs")
    # What is there is not said to be missing; and QEMU is one word away.
    home.banger("daemon", "stop")
    home.env.update(BANGER_FIRECRACKER=os.path.join(BUILD, "fake", "firecracker"), BANGER_ACCEL="kvm")
    result = home.banger("apply", "-f", spec, "--yes", code=None)
    result = home.banger("start", "web", code=3)
    check("network 'bridge'" in result.err and "KVM" not in result.err and "nowhere" not in result.err, result.err)
    check("firecracker 1.17.0" in home.banger("doctor", code=None).out, "doctor tells of it")
    home.env["BANGER_ACCEL"] = "tcg"
    home.banger("daemon", "stop")
    home.banger("apply", "-f", home.spec(web=", hypervisor: qemu"), "--yes")
    equal(home.vm("web")["hypervisor"], "qemu", "what runs it")

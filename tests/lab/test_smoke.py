"""What the lab is for works in it, without banger: kernel, device-mapper, network, vsock and KVM."""

import fcntl
import os
import shutil
import socket
import subprocess
import tempfile
import threading

from harness import PATIENCE, IMAGES, check, equal


def sh(*argv, code=0, input=None):
    done = subprocess.run(argv, capture_output=True, text=True, input=input, timeout=PATIENCE,
                          stdin=None if input is not None else subprocess.DEVNULL)
    check(code is None or done.returncode == code, f"{argv}: exit {done.returncode}, not {code}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def scenario_a_snapshot_over_two_loops(home):
    origin, cow = home.file("origin", ""), home.file("cow", "")
    os.truncate(origin, 8 << 20)
    os.truncate(cow, 4 << 20)
    loops = []
    try:
        loops.append(sh("losetup", "--find", "--show", "--read-only", origin))
        loops.append(sh("losetup", "--find", "--show", cow))
        sh("dmsetup", "create", "smoke", "--table", f"0 {(8 << 20) // 512} snapshot {loops[0]} {loops[1]} P 8")
        try:
            with open("/dev/mapper/smoke", "r+b") as disk:
                disk.write(b"copied on write")
                disk.flush()
                os.fsync(disk.fileno())
            used = sh("dmsetup", "status", "smoke").split()[3]
            check("/" in used and int(used.split("/")[0]) > 0, f"the snapshot holds something: {used}")
        finally:
            sh("dmsetup", "remove", "--retry", "smoke")
        with open(origin, "rb") as f:
            equal(f.read(15), bytes(15), "the origin")
    finally:
        for loop in loops:
            sh("losetup", "--detach", loop)


scenario_a_snapshot_over_two_loops.without_images = True


def scenario_bridge_tap_and_nftables(home):
    sh("ip", "link", "add", "smoke0", "type", "bridge")
    try:
        sh("ip", "tuntap", "add", "smoke1", "mode", "tap")
        try:
            sh("ip", "link", "set", "smoke1", "master", "smoke0")
            sh("bridge", "link", "set", "dev", "smoke1", "isolated", "on")
            before = sh("nft", "list", "ruleset")
            sh("nft", "-f", "-", input="table inet smoke {\nchain c {\ntype nat hook postrouting priority srcnat\n"
               "ip saddr 10.9.8.7/32 masquerade\n}\n}\n")
            check("10.9.8.7" in sh("nft", "list", "ruleset"), "the rule is there")
            sh("nft", "delete", "table", "inet", "smoke")
            equal(sh("nft", "list", "ruleset"), before, "ruleset")
        finally:
            sh("ip", "link", "del", "smoke1")
    finally:
        sh("ip", "link", "del", "smoke0")
    check("127.0.0.53" in sh("resolvectl", "status") or sh("systemctl", "is-active", "systemd-resolved") == "active",
          "systemd-resolved runs")


scenario_bridge_tap_and_nftables.without_images = True


def scenario_vsock(home):
    VHOST_VSOCK_SET_GUEST_CID = 0x4008AF60
    VHOST_SET_OWNER = 0xAF01
    with open("/dev/vhost-vsock", "r+b", buffering=0) as device:
        fcntl.ioctl(device, VHOST_SET_OWNER)
        fcntl.ioctl(device, VHOST_VSOCK_SET_GUEST_CID, (1234).to_bytes(8, "little"))
    with socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM) as listener:
        listener.bind((socket.VMADDR_CID_ANY, 5000))


scenario_vsock.without_images = True


def boot_to_init(directory, kernel, initrd):
    """A guest in KVM that says so; False when it died or hung before."""
    console = os.path.join(directory, "console")
    qemu = subprocess.Popen(["qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot", "-machine", "q35",
                             "-accel", "kvm", "-cpu", "host", "-m", "192", "-kernel", kernel, "-initrd", initrd,
                             "-append", "console=ttyS0 quiet panic=-1 rdinit=/init", "-serial", f"file:{console}"],
                            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    killer = threading.Timer(120, qemu.kill)
    killer.start()
    try:
        said = qemu.communicate()[0]
    finally:
        killer.cancel()
    with open(console, errors="replace") as f:
        text = f.read()
    return "a guest in the lab's KVM" in text, said + text[-2000:]


def scenario_kvm_runs_a_guest(home):
    kernels = os.path.join(IMAGES, "state", "banger", "kernels")
    name = next(entry for entry in os.listdir(kernels) if os.path.exists(os.path.join(kernels, entry, "vmlinux")))
    with tempfile.TemporaryDirectory() as directory:
        tree = os.path.join(directory, "tree")
        os.makedirs(os.path.join(tree, "bin"))
        libraries = [word for word in sh("ldd", "/bin/dash").split() if word.startswith("/")]
        for path in ["/bin/dash", *libraries]:
            target = tree + path
            os.makedirs(os.path.dirname(target), exist_ok=True)
            shutil.copy(os.path.realpath(path), target)
        init = os.path.join(tree, "init")
        with open(init, "w") as f:
            f.write("#!/bin/dash\necho a guest in the lab\\'s KVM\nkill -9 $$\n")
        os.chmod(init, 0o755)
        initrd = os.path.join(directory, "initrd")
        listing = subprocess.run(["find", "."], cwd=tree, capture_output=True, check=True).stdout
        with open(initrd, "wb") as out:
            subprocess.run(["cpio", "--quiet", "-H", "newc", "-o"], cwd=tree, input=listing, stdout=out, check=True)
        # Nested and emulated: one in six dies early in its boot.
        for last in (False, True):
            worked, said = boot_to_init(directory, os.path.join(kernels, name, "vmlinux"), initrd)
            if worked:
                return
            check(not last, f"no guest came up in two tries:\n{said}")

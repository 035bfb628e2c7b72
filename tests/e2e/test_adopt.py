"""A hypervisor that was started by hand becomes a VM as it runs; what cannot be one says why."""

import os
import shutil
import signal
import socket
import subprocess
import time

from harness import BUILD, PATIENCE, check, equal, free_port, processes, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "64Mi", "--system-disk", "512Mi")


def by_hand(home, directory, *options):
    """A QEMU with nothing of banger's in its command line."""
    os.makedirs(directory, exist_ok=True)
    log = open(os.path.join(directory, "log"), "w")
    child = subprocess.Popen(["qemu-system-x86_64", "-nodefaults", "-display", "none", "-accel", home.env["BANGER_ACCEL"], *options],
                             cwd=directory, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
    log.close()
    home.daemons.append(child)  # ended by close()
    return child


def parts_of_a_guest(home, directory):
    """Disks, initrd and kernel of a VM, and the options that boot them; the VM itself is gone."""
    path = home.env["PATH"]
    home.fake_qemu()
    home.env["BANGER_DISK"] = "qcow2"
    home.banger("create", "parts", *FLAGS, "--network", "user")
    vm = home.vm("parts")
    argv = processes()[vm["pid"]]
    shutil.copytree(os.path.join(home.state, "vms", vm["id"]), directory,
                    ignore=shutil.ignore_patterns("*.sock", "lock", "handles.json"))
    home.banger("delete", "parts")
    home.banger("daemon", "stop")
    home.env["PATH"], home.fake = path, False
    del home.env["BANGER_DISK"]
    mac = next(part for part in ",".join(argv).split(",") if part.startswith("mac="))
    return ["-machine", "q35", "-cpu", "max", "-smp", "1", "-m", "size=128M", "-name", "byhand",
            "-kernel", argv[argv.index("-kernel") + 1], "-initrd", "initrd", "-append", "console=ttyS0 panic=-1",
            "-drive", "file=root.qcow2,if=none,id=d0,format=qcow2", "-device", "virtio-blk-pci,drive=d0,serial=root",
            "-drive", "file=work.img,if=none,id=d1,format=raw", "-device", "virtio-blk-pci,drive=d1,serial=work",
            "-device", f"virtio-net-pci,netdev=n0,{mac}", "-serial", "null"]


def ssh(home, port, *command):
    return subprocess.run(["ssh", "-p", str(port), "-i", os.path.join(home.state, "keys", "id_ed25519"), "-F", "none",
                           "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null", "-o", "BatchMode=yes",
                           "-o", "ConnectTimeout=5", "-o", "LogLevel=ERROR", "root@127.0.0.1", *command],
                          capture_output=True, text=True, timeout=60).stdout.strip()


def scenario_a_hypervisor_started_by_hand_becomes_a_vm(home):
    home.env["BANGER_STOP_TIMEOUT_MS"] = "3000"  # the guest's kernel knows no power button
    directory = os.path.join(home.work, "hand")
    port = free_port()
    hand = by_hand(home, directory, *parts_of_a_guest(home, directory), "-netdev",
                   f"user,id=n0,restrict=on,hostfwd=tcp:127.0.0.1:{port}-:22", "-qmp", "unix:control,server=on,wait=off")
    boot = ["cat", "/proc/sys/kernel/random/boot_id"]
    boot_id = wait_for("the guest answers", PATIENCE, lambda: ssh(home, port, *boot), 1)
    ssh(home, port, "echo mine > /root/kept; sync")

    # Its YAML, by its pid and by its socket.
    text = home.banger("adopt", str(hand.pid)).out
    for line in ("byhand:", "image: tiny", "memory: 128Mi", "vcpus: 1", "work_disk: 64Mi", f"{port}:22"):
        check(line in text, f"'{line}' in its YAML\n{text}")
    equal(home.banger("adopt", os.path.join(directory, "control")).out, text, "by its socket")
    equal(home.vms(), {}, "reading takes nothing")

    # Taken over: the guest goes on, a new daemon finds it again.
    home.banger("adopt", str(hand.pid), "--take", "--name", "box")
    vm = home.vm("box")
    equal((vm["pid"], vm["state"], vm["adopted"]), (hand.pid, "ready", True), "it is a VM")
    home.banger("adopt", str(hand.pid), code=3)
    home.kill_daemon()
    equal(home.vm("box")["pid"], hand.pid, "found again")
    equal(ssh(home, port, *boot), boot_id, "the same boot")
    listed = {item["what"]: item for item in home.banger("resources", "-o", "json").json()}
    equal(listed[f"pid {hand.pid}"]["owner"], "box", "in the ledger")
    equal([item["what"] for item in listed.values() if item["orphan"]], [], "no orphans")

    # Its YAML rules it from here on: more memory by a restart on the same disks, then off.
    spec = home.file("vms.yaml", "stack: t\n" + home.banger("show", "box", "-o", "yaml").out)
    home.banger("diff", "-f", spec, "--adopt", code=1)
    home.banger("apply", "-f", spec, "--adopt", "--yes")
    equal(home.vm("box")["pid"], hand.pid, "joining a stack restarts nothing")
    home.file("vms.yaml", open(spec).read().replace("memory: 128Mi", "memory: 192Mi"))
    check("restart" in home.banger("diff", "-f", spec, code=1).out, "a restart, and it says so")
    home.banger("apply", "-f", spec, "--yes")
    equal(hand.wait(PATIENCE), 0, "the one started by hand has ended")
    vm = home.wait_state("box", "ready")
    equal(vm["adopted"], False, "it is banger's own now")
    equal(home.ssh("box", "cat", "/root/kept"), "mine", "its disk")
    check(int(home.ssh("box", "grep", "MemTotal", "/proc/meminfo").split()[1]) > 140 << 10, "its memory")
    home.file("vms.yaml", open(spec).read() + "    state: stopped\n")
    home.banger("apply", "-f", spec, "--yes")
    home.wait_state("box", "stopped")
    home.banger("delete", "-f", spec, "--yes")
    check(os.path.exists(os.path.join(directory, "work.img")), "the disk stays where its owner had it")
    equal(home.vm_dirs(), [], "nothing of ours is left")


def scenario_what_cannot_be_adopted_says_why(home):
    disk = os.path.join(home.work, "disk.img")
    subprocess.run(["mke2fs", "-q", "-t", "ext4", disk, "64M"], check=True)
    qmp = ["-qmp", "unix:control,server=on,wait=off"]
    drive = ["-drive", f"file={disk},if=virtio,format=raw"]

    def refused(whom, code, *texts, take=True):
        result = home.banger("adopt", str(whom), *(["--take"] if take else []), code=code)
        for text in texts:
            check(text in result.err, f"'{text}' is said\n{result}")
        return result

    refused(os.getpid(), 3, "is no QEMU")
    refused(999999999, 2, "no process 999999999")
    refused("/nowhere/at/all", 2, "neither a pid nor a socket")
    mute = by_hand(home, os.path.join(home.work, "mute"), "-S")
    wait_for("it runs", PATIENCE, lambda: "qemu" in os.readlink(f"/proc/{mute.pid}/exe"))
    refused(mute.pid, 3, "no monitor", "-qmp unix:PATH")
    if os.getuid() == 0:
        program = shutil.copy(os.path.join(BUILD, "fake", "qemu-system-x86_64"), home.work)
        os.chmod(home.dir, 0o755)
        os.makedirs(os.path.join(home.dir, "theirs"), mode=0o777)
        os.chmod(os.path.join(home.dir, "theirs"), 0o777)
        other = subprocess.Popen(["setpriv", "--reuid=12345", "--regid=12345", "--clear-groups", program],
                                 cwd=os.path.join(home.dir, "theirs"), stderr=subprocess.DEVNULL)
        home.daemons.append(other)
        wait_for("it runs", PATIENCE, lambda: os.stat(f"/proc/{other.pid}").st_uid == 12345)
        refused(other.pid, 3, "belongs to another user (uid 12345)")

    odd = os.path.join(home.work, "odd")
    strange = by_hand(home, odd, "-S", *qmp, *drive, "-device", "qemu-xhci,id=usb9", "-device", "e1000",
                      "-m", "128M")
    control = os.path.join(odd, "control")
    wait_for("its monitor", PATIENCE, lambda: os.path.exists(control))
    refused(strange.pid, 3, "usb9", "8086:100e", "not by -kernel")
    text = refused(strange.pid, 0, "--take would be refused", "usb9", take=False).out
    check("memory: 128Mi" in text, f"it is read all the same\n{text}")
    # One client at a time: a bounded error, and no trace once that one has gone.
    with socket.socket(socket.AF_UNIX) as s:
        here = os.open(odd, os.O_PATH)  # 107 bytes are all a path may have
        s.connect(f"/proc/self/fd/{here}/control")
        os.close(here)
        s.recv(16)
        began = time.monotonic()
        refused(strange.pid, 5, "another one seems to hold it")
        check(time.monotonic() - began < 30, "bounded")
    refused(strange.pid, 0, "usb9", take=False)
    equal((home.vms(), home.vm_dirs()), ({}, []), "nothing was taken")
    strange.send_signal(signal.SIGTERM)
    strange.wait(PATIENCE)
    refused(control, 2, "nobody listens" if os.path.exists(control) else "neither a pid nor a socket")

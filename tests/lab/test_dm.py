"""System disks by device-mapper: snapshots of one shared image, and nothing of them left behind."""

import os
import re
import signal
import subprocess

from harness import BUILD, PATIENCE, check, equal, wait_for


def sh(*argv):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def shell(home, vm, script):
    return home.ssh(vm, "sh", "-c", script)


def plumbing():
    """dm devices and loop devices with their files, as the kernel has them."""
    devices = sorted(line.split()[0] for line in sh("dmsetup", "ls").splitlines() if "No devices" not in line)
    loops = sorted(line for line in sh("losetup", "--list", "--noheadings", "--output", "BACK-FILE,RO").splitlines())
    return devices, [" ".join(line.split()) for line in loops]


def keeps_its_own(home):
    """What a wrote is not b's, and is there when its hypervisor was killed."""
    shell(home, "a", "echo mine > /etc/mark && sync")
    check("mark" not in shell(home, "b", "ls /etc"), "the other's disk is its own")
    pid = home.vm("a")["pid"]
    os.kill(pid, signal.SIGKILL)
    wait_for("a comes back", PATIENCE, lambda: home.vm("a").get("pid") not in (None, 0, pid) and home.vm("a")["state"] == "ready", 0.5)
    equal(shell(home, "a", "cat /etc/mark"), "mine", "what was synced")


def scenario_drivers_conform(home):
    for program in ("test_driver_disk",):
        done = subprocess.run([os.path.join(BUILD, "tests", program)], capture_output=True, text=True, timeout=PATIENCE,
                              env=dict(os.environ, BANGER_TEST_DIR=home.work))
        check(done.returncode == 0, f"{program}: exit {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-6000:]}")
        check("dm-snapshot: skipped" not in done.stdout, "dm-snapshot is possible here")
        print("     " + " ".join(re.findall(r"\S+ in \d+ ms", done.stdout)))
    equal(plumbing(), ([], []), "what is left")


scenario_drivers_conform.without_images = True


def scenario_snapshots_share_their_image(home):
    """Two VMs, one read-only loop of the image; kills, restarts and a deletion leave what they should."""
    home.env["BANGER_DISK"] = "dm-snapshot"
    spec = home.spec(a="", b="")
    home.banger("apply", "-f", spec, "--yes", timeout=PATIENCE * 3)
    devices, loops = plumbing()
    equal(len(devices), 4, f"a snapshot and a base each: {devices}")
    equal(sorted(loop.rsplit("/", 1)[1] for loop in loops), ["root.cow 0", "root.cow 0", "rootfs.ext4 1"], "loops")
    keeps_its_own(home)  # the devices are made anew
    home.banger("stop", "b")
    equal(len(plumbing()[0]), 2, "b has no devices while it is stopped")
    home.banger("delete", "-f", spec, "--yes")
    equal(plumbing(), ([], []), "what is left")


def scenario_a_dead_host_leaves_no_devices(home):
    """Hypervisors, daemon and its database die at once: the next bangerd takes away what nobody uses."""
    home.env["BANGER_DISK"] = "dm-snapshot"
    home.banger("create", "a", "--memory", "128Mi", "--work-disk", "0", timeout=PATIENCE * 3)
    home.kill_daemon()
    equal(len(plumbing()[0]), 2, "the devices of what runs on")
    home.banger("ps")
    equal(len(plumbing()[0]), 2, "a new bangerd leaves them alone")
    home.kill_daemon()
    for pid in home.hypervisors():
        os.kill(pid, signal.SIGKILL)
    wait_for("it is gone", 10, lambda: not home.hypervisors())
    equal(len(plumbing()[0]), 2, "the devices of the dead")
    for name in os.listdir(home.state):
        if name.startswith("banger.db"):
            os.unlink(os.path.join(home.state, name))
    home.banger("ps")
    equal(plumbing(), ([], []), "after the next start of bangerd")


def scenario_a_full_host_pauses_in_time(home):
    """The store is filled from inside: room is reserved ahead, and without any the guest stands still."""
    home.env["BANGER_DISK"] = "dm-snapshot"
    vms, image = os.path.join(home.state, "vms"), home.file("small.ext4", "")
    os.makedirs(vms, mode=0o700)
    os.truncate(image, 700 << 20)
    sh("mke2fs", "-q", "-t", "ext4", "-m", "0", image)
    sh("mount", "-o", "loop", image, vms)
    try:
        os.rmdir(os.path.join(vms, "lost+found"))
        home.banger("create", "a", "--memory", "128Mi", "--work-disk", "0", "--system-disk", "512Mi", timeout=PATIENCE * 3)
        cow = os.path.join(vms, os.listdir(vms)[0], "root.cow")

        def reserved():
            return os.stat(cow).st_blocks * 512 >> 20

        first = reserved()
        check(96 <= first <= 140, f"reserved before it is needed: {first} MiB")
        shell(home, "a", "dd if=/dev/urandom of=/one bs=1M count=80 2>/dev/null; sync; sha256sum /one > /one.sum; sync")
        wait_for("more is reserved ahead", PATIENCE, lambda: reserved() >= first + 32, 0.5)
        boot_id = home.vm("a")["boot_id"]
        ballast = os.path.join(vms, "ballast")
        free = os.statvfs(vms).f_bavail * os.statvfs(vms).f_frsize
        with open(ballast, "wb") as f:
            f.write(b"x" * (free - (8 << 20)))
            os.fsync(f.fileno())
        writer = home.start("ssh", "a", "--", "sh", "-c",
                            "dd if=/dev/urandom of=/two bs=1M count=160 && sha256sum /two > /two.sum && sync")
        home.wait_log("stands still", PATIENCE)
        check("paused" in home.vm("a")["reason"], f"shown: {home.vm('a')['reason']}")
        status = [line for line in sh("dmsetup", "status", "--target", "snapshot").splitlines()]
        check("Invalid" not in str(status) and "Overflow" not in str(status), f"the snapshot lives: {status}")
        os.unlink(ballast)
        home.wait_log("the guest goes on", PATIENCE)
        equal(writer.wait(PATIENCE * 2), 0, "the writer never noticed")
        equal(shell(home, "a", "sha256sum -c /one.sum /two.sum && echo 3 > /proc/sys/vm/drop_caches && sha256sum -c /one.sum").count("OK"), 3, "sums")
        equal(home.vm("a")["boot_id"], boot_id, "same boot")
        home.banger("delete", "a", "--yes")
        check("root.cow" not in str(plumbing()), "no store is in use")
    finally:
        home.banger("daemon", "stop", code=None)
        for pid in home.hypervisors():
            os.kill(pid, 9)
        subprocess.run("dmsetup ls | cut -f 1 | grep ^banger- | sort | while read d; do dmsetup remove $d; done", shell=True, check=False)
        wait_for("unmounted", 20, lambda: subprocess.run(["umount", vms], capture_output=True).returncode == 0)


def scenario_a_snapshot_grows_under_its_guest(home):
    home.env["BANGER_DISK"] = "dm-snapshot"
    home.banger("create", "a", "--memory", "128Mi", "--work-disk", "0", "--system-disk", "512Mi", timeout=PATIENCE * 3)
    boot_id = home.vm("a")["boot_id"]
    shell(home, "a", "dd if=/dev/urandom of=/one bs=1M count=30 2>/dev/null; sync; sha256sum /one > /one.sum; sync")
    home.banger("set", "a", "system_disk=1Gi", timeout=PATIENCE * 2)
    blocks = int(shell(home, "a", "df -k / | tail -n 1 | awk '{ print $2 }'"))
    check(blocks > 900 << 10, f"the file system has grown: {blocks} KiB")
    shell(home, "a", "dd if=/dev/urandom of=/two bs=1M count=60 2>/dev/null; sync; sha256sum /two > /two.sum; sync; echo 3 > /proc/sys/vm/drop_caches")
    equal(home.vm("a")["boot_id"], boot_id, "same boot")
    home.banger("restart", "a", timeout=PATIENCE * 2)
    equal(shell(home, "a", "sha256sum -c /one.sum /two.sum").count("OK"), 2, "sums after a restart")
    home.banger("delete", "a", "--yes")
    equal(plumbing(), ([], []), "what is left")

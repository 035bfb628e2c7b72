"""System disks on a file system that can reflink: what is chosen there, and what it costs."""

import os
import signal
import subprocess

from harness import PATIENCE, check, equal, wait_for
from test_dm import keeps_its_own, plumbing, sh, shell


def used(place):
    fs = os.statvfs(place)
    return (fs.f_blocks - fs.f_bfree) * fs.f_frsize >> 20


def shared(path):
    """MiB of the file that lie in extents that another file has too."""
    extents = [line for line in sh("filefrag", "-v", path).splitlines() if "shared" in line]
    return sum(int(line.split(":")[3]) for line in extents) * 4096 >> 20


def scenario_a_system_disk_is_a_reflink_on_xfs(home):
    """No copy, no device: root.img shares the image's blocks, and what its guest writes is its own."""
    disk, place = home.file("xfs.img", ""), os.path.join(home.work, "xfs")
    os.makedirs(place)
    os.truncate(disk, 2 << 30)
    sh("mkfs.xfs", "-q", disk)
    sh("mount", "-o", "loop", disk, place)
    sh("cp", "-a", "--sparse=always", f"{home.state}/.", place)
    sh("umount", place)
    sh("mount", "-o", "loop", disk, home.state)
    try:
        before = used(home.state)
        for name in ("a", "b"):
            home.banger("create", name, "--memory", "128Mi", "--work-disk", "0", "--system-disk", "512Mi", timeout=PATIENCE * 3)
        roots = [os.path.join(home.state, "vms", vm, "root.img") for vm in home.vm_dirs()]
        equal([os.path.exists(root) for root in roots], [True, True], "what was chosen")
        equal(plumbing()[0], [], "devices")
        image = sum(os.stat(root).st_blocks for root in roots) * 512 >> 20
        check(min(shared(root) for root in roots) >= 16, f"shared: {[shared(root) for root in roots]} MiB")
        cost = used(home.state) - before
        print(f"     two disks of {image} MiB in all take {cost} MiB more, initrds and logs included")
        keeps_its_own(home)
        home.banger("set", "a", "system_disk=1Gi", timeout=PATIENCE * 2)
        check(int(shell(home, "a", "df -k / | tail -n 1 | awk '{ print $2 }'")) > 900 << 10, "the file system has grown")
        home.banger("delete", "a", "b", "--yes")
        equal(home.vm_dirs(), [], "directories")
    finally:
        home.banger("daemon", "stop", code=None)
        for pid in home.hypervisors():
            os.kill(pid, signal.SIGKILL)
        wait_for("unmounted", 30, lambda: subprocess.run(["umount", home.state], capture_output=True).returncode == 0, 0.5)

"""A full host disk: nothing of the guest is lost. Needs root for a small file system of its own."""

import os
import subprocess

from harness import check, equal, wait_for


def scenario_a_full_disk_freezes_and_thaws(home):
    if os.getuid() != 0:
        print("     (not root: no small file system to fill, skipped)")
        return
    vms = os.path.join(home.state, "vms")
    os.makedirs(vms, mode=0o700)
    size = "640m" if home.system else "160m"  # a snapshot has 128 MiB held ahead of it
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", vms], check=True)
    try:
        spec = home.spec(web="")
        home.banger("apply", "-f", spec, "--yes")
        boot_id = home.vm("web")["boot_id"]
        ballast = os.path.join(vms, "ballast")
        free = os.statvfs(vms).f_bavail * os.statvfs(vms).f_frsize
        with open(ballast, "wb") as f:
            f.write(b"x" * (free - (12 << 20)))
        writer = home.start("ssh", "web", "--", "sh", "-c",
                            "dd if=/dev/urandom of=/root/data bs=1M count=40 && sha256sum /root/data > /root/sum && sync")
        home.wait_log("stands still")
        check("paused" in home.vm("web")["reason"], f"shown: {home.vm('web')['reason']}")
        os.unlink(ballast)
        home.wait_log("the guest goes on")
        equal(writer.wait(120), 0, "the writer never noticed")
        home.ssh("web", "sha256sum", "-c", "/root/sum")
        equal(home.vm("web")["boot_id"], boot_id, "same boot")
        home.banger("delete", "-f", spec, "--yes")
        # No room for a VM at all: a named error, nothing left behind.
        with open(ballast, "wb") as f:
            f.write(b"x" * (os.statvfs(vms).f_bavail * os.statvfs(vms).f_frsize - (4 << 20)))
        result = home.banger("create", "box", "--memory", "128Mi", "--work-disk", "64Mi", code=4)
        check("box" in result.err and ("space" in result.err.lower() or "free" in result.err), f"named\n{result}")
        equal((home.vms(), home.vm_dirs()), ({}, ["ballast"]), "nothing is left")
    finally:
        home.banger("daemon", "stop", code=None)
        for pid in home.hypervisors():
            os.kill(pid, 9)
        wait_for("no hypervisor is left", 20, lambda: not home.hypervisors())
        home.remove_devices()  # which are of files in there
        wait_for("unmounted", 20, lambda: subprocess.run(["umount", vms], capture_output=True).returncode == 0)

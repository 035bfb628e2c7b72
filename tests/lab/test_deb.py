"""The package of this tree on a machine of its own: installed, upgraded, removed, purged, under systemd."""

import fcntl
import glob
import os
import re
import shutil
import signal
import subprocess

from harness import IMAGES, PATIENCE, ROOT, Result, check, equal, processes, wait_for

PACKAGES = os.path.join(ROOT, "run", "packages")
STATE = "/var/lib/banger"
DROP_IN = "/run/systemd/system/bangerd.service.d"
ENV = {key: value for key, value in os.environ.items() if not key.startswith(("BANGER_", "XDG_"))}
ENV.update(DEBIAN_FRONTEND="noninteractive", HOME="/root", PATH="/usr/sbin:/usr/bin:/sbin:/bin")


def sh(*argv, code=0, timeout=PATIENCE * 2):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, env=ENV)
    check(code is None or done.returncode == code,
          f"{' '.join(argv)}: exit {done.returncode}, not {code}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    return done


def banger(*args, code=0):
    done = sh("banger", "--system", *args, code=code, timeout=PATIENCE * 3)
    return Result(args, done.returncode, done.stdout, done.stderr)


def install(version):
    sh("apt-get", "-y", "--no-install-recommends", "install", os.path.join(PACKAGES, f"banger_{version}_amd64.deb"))


def active(unit):
    return sh("systemctl", "is-active", unit, code=None).stdout.strip()


def main_pid():
    return int(sh("systemctl", "show", "-P", "MainPID", "bangerd").stdout)


def vm():
    return banger("show", "web", "-o", "json").json()["vm"]


def guest(*command):
    return banger("ssh", "web", "--", *command).out.strip()


def ready():
    """Guests of the lab may die once early in their boot, and are started again."""
    return wait_for("web is ready", PATIENCE * 2, lambda: (now := vm())["state"] == "ready" and now, 0.5)


def hypervisors():
    return [pid for pid, argv in processes().items() if any(f"{STATE}/vms" in a for a in argv) and "qemu" in argv[0]]


def host():
    """All that banger makes outside of its directories."""
    devices = [line.split()[0] for line in sh("dmsetup", "ls").stdout.splitlines() if "No devices" not in line]
    with open("/proc/sys/net/ipv4/ip_forward") as f:
        forward = f.read().strip()
    return {"devices": devices, "loops": sh("losetup", "--list", "--noheadings").stdout,
            "links": sorted(os.listdir("/sys/class/net")), "rules": sh("nft", "list", "ruleset").stdout, "forward": forward,
            "units": sorted(glob.glob("/lib/systemd/system/banger*")),
            "enabled": sorted(glob.glob("/etc/systemd/system/**/banger*", recursive=True)),
            "places": [place for place in (STATE, "/run/banger", "/var/cache/banger", "/etc/banger") if os.path.exists(place)],
            "processes": [" ".join(argv) for argv in processes().values() if "banger" in os.path.basename(argv[0])]}


def clean_up():
    sh("systemctl", "stop", "bangerd", code=None)
    for pid in hypervisors():
        os.kill(pid, signal.SIGKILL)
    wait_for("hypervisors are gone", 20, lambda: not hypervisors())
    sh("sh", "-c", "dmsetup ls | cut -f 1 | grep ^banger- | sort | while read d; do dmsetup remove --retry $d; done", code=None)
    sh("dpkg", "--purge", "banger", code=None)
    shutil.rmtree(STATE, ignore_errors=True)
    shutil.rmtree(DROP_IN, ignore_errors=True)


def with_room(place):
    """The lab's own disk has none to spare: /var/lib is on that with the tree until the end."""
    sh("cp", "-a", "/var/lib", place)
    sh("mount", "--bind", place, "/var/lib")


def units_are_sound():
    said = sh("systemd-analyze", "verify", "--man=no", "bangerd.service", "banger-vms.service")
    equal((said.stdout + said.stderr).strip(), "", "systemd-analyze verify")
    said = sh("systemd-analyze", "verify", "--man=no", "--user", "/usr/lib/systemd/user/bangerd.service", code=None)
    check("bangerd" not in said.stderr, said.stderr)
    table = sh("systemd-analyze", "security", "--no-pager", "bangerd.service").stdout
    with open("/lab/out/security.txt", "w") as f:
        f.write(table)
    score = float(re.search(r"exposure level for bangerd.service: ([\d.]+)", table).group(1))
    print(f"     systemd-analyze security bangerd: {score}")
    check(score <= 5.5, f"exposure {score}\n{table}")


def survives(what, change):
    """A change of bangerd that its VM never notices."""
    before, daemon, boot = vm(), main_pid(), guest("cat", "/proc/sys/kernel/random/boot_id")
    change()
    wait_for(f"another bangerd after {what}", 60, lambda: active("bangerd") == "active" and main_pid() not in (0, daemon), 0.5)
    now = ready()
    equal(now["pid"], before["pid"], f"hypervisor after {what}")
    equal(guest("cat", "/proc/sys/kernel/random/boot_id"), boot, f"boot_id after {what}")


def who_starts_it():
    """The unit is there but does not run: an ordinary user is told what to do, root has it done."""
    sh("systemctl", "stop", "bangerd")
    equal(len(hypervisors()), 1, "the VM runs on")
    done = sh("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "banger", "--system", "ps", code=4)
    check("systemctl start bangerd" in done.stderr, f"names the command: {done.stderr}")
    banger("ps")
    equal(active("bangerd"), "active", "started by systemd")


def the_machine_goes_down():
    """What systemd does then: the VM ends in good order, unsynced writes with it, and comes back."""
    guest("sh", "-c", "echo not synced > /root/late")
    sh("systemctl", "stop", "banger-vms", timeout=PATIENCE * 2)
    wait_for("bangerd ended", 20, lambda: active("bangerd") == "inactive")
    equal(hypervisors(), [], "hypervisors")
    sh("systemctl", "start", "banger-vms")
    ready()
    equal(guest("cat", "/root/late"), "not synced", "what was written last")


def scenario_the_package_from_install_to_purge(home):
    os.makedirs(DROP_IN, exist_ok=True)
    with open(os.path.join(DROP_IN, "lab.conf"), "w") as f:
        f.write("[Service]\nEnvironment=BANGER_ACCEL=kvm BANGER_START_TIMEOUT_MS=90000 BANGER_STOP_TIMEOUT_MS=150000\n")
    with_room(os.path.join(home.work, "lib"))
    before = host()
    try:
        install("0.0.1")
        equal((active("bangerd"), active("banger-vms")), ("active", "active"), "units")
        check("banger:" in open("/etc/group").read(), "the group is there")
        units_are_sound()
        for store in ("images", "kernels"):
            shutil.rmtree(os.path.join(STATE, store), ignore_errors=True)
            sh("cp", "-al", os.path.join(IMAGES, "state", "banger", store), os.path.join(home.work, "lib", "banger"))
        banger("doctor")
        made = banger("create", "web", "--memory", "128Mi", "--work-disk", "64Mi", "--network", "bridge", "--nat", code=None)
        check(made.code in (0, 5), str(made))
        ready()
        found = host()
        check(found["devices"] and "bgr-" in str(found["links"]) and "banger" in found["rules"], f"dm, bridge and rules in the unit: {found}")

        survives("an upgrade", lambda: install("0.0.2"))
        check("0.0.2" in banger("ping").out, "the new version answers")
        survives("systemctl restart", lambda: sh("systemctl", "restart", "bangerd"))
        survives("kill -9", lambda: os.kill(main_pid(), signal.SIGKILL))
        banger("set", "web", "nat=false")
        banger("restart", "web", code=None)
        ready()
        who_starts_it()
        the_machine_goes_down()

        sh("apt-get", "-y", "remove", "banger", timeout=PATIENCE * 3)
        equal(hypervisors(), [], "VMs after the removal")
        left = host()
        kept = ("places", "enabled")  # dpkg keeps what is enabled till it is purged
        equal({**left, **{key: before[key] for key in kept}}, before, "after the removal")
        directory = glob.glob(f"{STATE}/vms/*")[0]
        with open(os.path.join(directory, "lock"), "a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            done = sh("dpkg", "--purge", "banger", code=1)
            check(directory in done.stderr, f"a VM that runs is named: {done.stderr}")
            check(os.path.exists(os.path.join(directory, "root.cow")), "its disk is there")
        install("0.0.2")
        ready()
        equal(guest("cat", "/root/late"), "not synced", "its disk after remove and install")
        sh("apt-get", "-y", "purge", "banger", timeout=PATIENCE * 3)
        equal(host(), before, "after the purge")
    finally:
        clean_up()
        sh("umount", "--lazy", "/var/lib")


scenario_the_package_from_install_to_purge.packages = True
scenario_the_package_from_install_to_purge.without_images = True

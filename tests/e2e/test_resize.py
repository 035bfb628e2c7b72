"""Memory and disks of a VM that runs: more and less of them under a working guest."""

import re
import time

from harness import check, equal, wait_for

MI = 1 << 20


def boot_id(home, vm):
    return home.ssh(vm, "cat", "/proc/sys/kernel/random/boot_id")


def mem_total(home, vm):
    return int(home.ssh(vm, "sh", "-c", "sed -n 's/MemTotal: *\\([0-9]*\\) kB/\\1/p' /proc/meminfo")) * 1024


def near(got, want, what):
    check(abs(got - want) <= want / 10, f"{what}: {got / MI:.0f} MiB, {want / MI:.0f} MiB within 10 %")


def live_only(home, spec, *fields):
    """The plan says live for each of them, and nothing but live."""
    text = home.banger("diff", "-f", spec, code=1).out
    for field in fields:
        check(re.search(field + r" \S+ -> \S+ \(live\)", text), f"{field} is live\n{text}")
    check("restart" not in text and "reimage" not in text, f"only live\n{text}")


def one(home, memory, disk, system="512Mi", extra=""):
    return home.file("vms.yaml", f"""version: 1
stack: t
vms:
  web: {{image: tiny, vcpus: 1, memory: {memory}, memory_max: 1Gi, work_disk: {disk}, system_disk: {system}{extra}}}
""")


# Writes numbered blocks and notes the sum of each, until it is told to stop.
WRITER = """
cd /root && mkdir -p w && rm -f stop sums
i=0
while [ ! -e stop ]; do
    i=$((i + 1))
    head -c 65536 /dev/urandom > w/$i.part && mv w/$i.part w/$i && md5sum w/$i >> sums
done
sync; touch stopped
"""


def scenario_memory_and_disks_under_a_working_guest(home):
    spec = one(home, "256Mi", "1Gi")
    home.banger("apply", "-f", spec, "--yes")
    boot, small = boot_id(home, "web"), mem_total(home, "web")
    pid = home.hypervisors()
    home.file("writer.sh", WRITER)
    home.banger("cp", "writer.sh", "web:/root/writer.sh")
    home.ssh("web", "sh", "-c", "sh /root/writer.sh </dev/null >/root/writer.log 2>&1 &")

    # Up, and filled: a file in memory larger than all that the guest began with.
    spec = one(home, "768Mi", "4Gi", "1Gi")
    live_only(home, spec, "memory", "work_disk", "system_disk")
    home.kill_daemon()
    live_only(home, spec, "memory", "work_disk", "system_disk")
    home.banger("apply", "-f", spec)
    equal(home.hypervisors(), pid, "the same hypervisor")
    near(mem_total(home, "web"), 768 * MI, "after growing")
    equal(home.vm("web")["memory_now"], 768 * MI, "what banger shows")
    check("768Mi/1Gi" in home.banger("ps").out, "ps")
    home.ssh("web", "sh", "-c", "mkdir -p /tmp/m && mount -t tmpfs -o size=700m none /tmp/m && "
             "yes all that is plugged | head -c 419430400 > /tmp/m/big && md5sum /tmp/m/big > /tmp/big.sum && md5sum -c -s /tmp/big.sum")
    kib = int(home.ssh("web", "sh", "-c", "df -k /root | tail -1 | awk '{print $2}'"))
    check(kib > 3.7 * MI, f"the work disk's file system has {kib} KiB")
    kib = int(home.ssh("web", "sh", "-c", "df -k / | tail -1 | awk '{print $2}'"))
    check(kib > 0.85 * MI, f"the system disk's file system has {kib} KiB")
    home.banger("diff", "-f", spec)

    # Back, with the daemon killed between; what is in use has to go first.
    home.kill_daemon()
    home.banger("diff", "-f", spec)  # found out again: nothing to do
    wait_for("the daemon knows what is plugged", 20, lambda: home.vm("web")["memory_now"] == 768 * MI)
    home.ssh("web", "umount", "/tmp/m")
    spec = one(home, "256Mi", "4Gi", "1Gi")
    live_only(home, spec, "memory")
    home.banger("apply", "-f", spec)
    near(mem_total(home, "web"), small, "after shrinking")
    equal(boot_id(home, "web"), boot, "boot_id")
    equal(home.hypervisors(), pid, "the same hypervisor still")

    # Nothing that was written meanwhile is lost.
    home.ssh("web", "touch", "/root/stop")
    wait_for("the writer ends", 60, lambda: home.banger("ssh", "web", "--", "test", "-e", "/root/stopped", code=None).code == 0)
    lines = int(home.ssh("web", "sh", "-c", "wc -l < /root/sums"))
    check(lines > 20, f"only {lines} blocks were written")
    home.ssh("web", "sh", "-c", "sync; echo 3 > /proc/sys/vm/drop_caches; cd /root && md5sum -c -s sums")
    # Below what it was started with, and beyond what it has room for: not without a restart.
    for memory in ("128Mi",):
        text = home.banger("diff", "-f", one(home, memory, "4Gi", "1Gi"), code=1).out
        check("(restart)" in text, f"{memory}\n{text}")

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
    room = "" if "memory_max" in memory else ", memory_max: 1Gi"
    return home.file("vms.yaml", f"""version: 1
stack: t
vms:
  web: {{image: tiny, vcpus: 1, memory: {memory}{room}, work_disk: {disk}, system_disk: {system}{extra}}}
""")


# Writes numbered blocks and notes the sum of each, until it is told to stop.
WRITER = """
cd /root && mkdir -p w && rm -f stop sums
i=0
while [ ! -e stop ]; do
    i=$((i + 1))
    head -c 65536 /dev/urandom > w/$i.part && mv w/$i.part w/$i && md5sum w/$i >> sums
    sleep 0.05
done
sync; touch stopped
"""

# Four hundred MiB that are read again: more than the guest began with.
FILLER = """
set -e
mkdir -p /tmp/m
mount -t tmpfs -o size=600m none /tmp/m
cd /tmp/m
head -c 16777216 /dev/urandom > 0
sum=$(md5sum < 0)
for i in $(seq 1 24); do cp 0 $i; done
for i in $(seq 1 24); do [ "$(md5sum < $i)" = "$sum" ]; done
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
    home.file("fill.sh", FILLER)
    home.banger("cp", "fill.sh", "web:/tmp/fill.sh")
    home.ssh("web", "sh", "/tmp/fill.sh")
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
    for memory in ("128Mi", "1025Mi, memory_max: 2Gi"):
        text = home.banger("diff", "-f", one(home, memory, "4Gi", "1Gi"), code=1).out
        check("(restart)" in text, f"{memory}\n{text}")


scenario_memory_and_disks_under_a_working_guest.takes_minutes = True


def scenario_a_guest_that_refuses_is_named(home):
    """A stand-in whose guest goes a quarter of the way, then not, then all of it."""
    home.fake_qemu(follow=25)
    home.banger("apply", "-f", one(home, "256Mi", "64Mi"), "--yes")
    pid = home.hypervisors()
    began = time.monotonic()
    result = home.banger("apply", "-f", one(home, "768Mi", "64Mi"), code=5)
    check(time.monotonic() - began < 45, "within its deadline")
    for part in ("vm 'web'", "memory", "guest refused: it has ", "768Mi wanted"):
        check(part in result.err, f"says {part!r}\n{result}")
    now = int(re.search(r"it has (\d+)Mi", result.err).group(1))
    check(256 < now < 768, f"how far it came: {now}")
    equal(home.hypervisors(), pid, "it runs on, nothing was restarted")
    equal(home.vm("web")["state"], "ready", "state")
    check("guest refused" in home.banger("ps").out, "ps says why")
    # What is asked is never forgotten: the guest comes round, with a new daemon.
    home.kill_daemon()
    home.fake_qemu(follow=100)
    wait_for("it has its memory", 60, lambda: home.vm("web")["memory_now"] == 768 * MI)
    home.banger("apply", "-f", one(home, "768Mi", "64Mi"))
    home.banger("diff", "-f", one(home, "768Mi", "64Mi"))
    # A disk whose file system cannot grow is larger by then, and grown later; it never shrinks.
    home.fake_qemu(grow=0)
    result = home.banger("apply", "-f", one(home, "768Mi", "1Gi"), code=4)
    check("grow work disk" in result.err and "it will not" in result.err, f"named\n{result}")
    home.kill_daemon()
    home.fake_qemu(grow=1)
    applied = lambda: home.banger("show", "web", "-o", "json").json()["applied"]["work_disk"] == "1Gi"
    wait_for("its file system is grown, unasked", 60, applied)
    refused = home.banger("apply", "-f", one(home, "768Mi", "64Mi"), code=3)
    check("data" in refused.err, f"no smaller\n{refused}")
    equal(home.hypervisors(), pid, "the same hypervisor through all of it")


def scenario_killed_while_it_resizes(home):
    """At each point of a live change; afterwards it is as wanted, by the same hypervisor."""
    home.fake_qemu()
    home.banger("apply", "-f", one(home, "256Mi", "64Mi"), "--yes")
    pid, memory, disk = home.hypervisors(), 256, 64
    for point in ("before memory", "after memory", "before grow system disk", "disk grown", "disk grown@2",
                  "after grow work disk", "after ssh keys"):
        memory = 768 if memory == 256 else 256
        disk += 64
        spec = one(home, f"{memory}Mi", f"{disk}Mi", f"{448 + disk}Mi")
        doomed = home.doomed_daemon(point)
        home.banger("apply", "-f", spec, code=None)
        wait_for(f"it dies at '{point}'", 30, lambda: doomed.poll() is not None)
        size = lambda: (home.vm("web")["memory_now"] == memory * MI and
                        home.banger("show", "web", "-o", "json").json()["applied"]["work_disk"] == f"{disk}Mi")
        wait_for(f"all of it is done after '{point}'", 60, size)
        wait_for("nothing is left to do", 60, lambda: home.banger("diff", "-f", spec, code=None).code == 0)
        equal(home.hypervisors(), pid, "the same hypervisor")


def scenario_restarts_only_when_the_plan_said_so(home):
    home.fake_qemu(follow=0)
    home.banger("apply", "-f", one(home, "256Mi", "64Mi"), "--yes")
    pid = home.hypervisors()
    spec = one(home, "256Mi", "64Mi", extra=", labels: {a: b}, kernel_args: debug")
    result = home.banger("apply", "-f", spec, "--no-restart", code=3)
    check("vm 'web' pending a restart: kernel_args none -> debug" in result.err, f"names what waits\n{result}")
    equal((home.hypervisors(), home.vm("web")["labels"]), (pid, {"a": "b"}), "what goes live is done, no more")
    home.kill_daemon()
    again = home.banger("diff", "-f", spec, code=1).out
    check("kernel_args none -> debug (restart)" in again and "labels" not in again, f"still to do\n{again}")
    refused = home.banger("apply", "-f", spec, code=3)
    check("--yes" in refused.err and home.hypervisors() == pid, f"a restart is asked for\n{refused}")
    home.banger("apply", "-f", spec, "--restart")
    restarted = home.hypervisors()
    check(restarted != pid and len(restarted) == 1, "--restart agrees to it")
    home.banger("diff", "-f", spec)
    # A guest that refuses is restarted with it, too, and the plan says so.
    spec = one(home, "768Mi", "64Mi", extra=", labels: {a: b}, kernel_args: debug")
    result = home.banger("apply", "-f", spec, "--restart")
    check("restarted if the guest does not go along" in result.out, f"said before\n{result}")
    check(home.hypervisors() != restarted, "it was restarted")
    equal(home.vm("web")["memory_now"], 768 * MI, "with what was wanted")
    home.banger("diff", "-f", spec)

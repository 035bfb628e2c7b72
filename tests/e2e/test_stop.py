"""Stopping loses nothing: by the agent, over SSH, and by neither, while somebody writes.

A writer numbers its lines. What it had written when the stop began must be there afterwards, whole
and in order; where the guest could not be asked, at least what it had synced."""

import os
import socket
import subprocess
import time

from harness import PATIENCE, check, equal, wait_for
from test_fields import modules
from test_lifecycle import FLAGS, boot_id

WRITER = "(n=0; while n=$((n+1)); do echo $n; sleep 0.01; done > /root/lines 2> /dev/null < /dev/null &)"
# systemd takes its time where all is emulated, and more so beside others.
DEBIAN = "{image: debian, memory: 384Mi, vcpus: 2, work_disk: 64Mi, system_disk: 2Gi, ready: {probe: ssh, timeout: 900s}}"
FORCED = "ended by force"
# Something with every process of a name, in any guest, without pidof or killall.
NAMED = "for p in /proc/[0-9]*; do [ \"$(cat $p/comm 2> /dev/null)\" = %s ] && %s ${p#/proc/}; done; true"


def begin_writing(home, vm):
    home.ssh(vm, "sh", "-c", f"rm -f /root/lines; {WRITER}; sleep 1")
    return int(home.ssh(vm, "tail", "-n", "1", "/root/lines"))


def check_lines(home, vm, at_least, cut_off=False):
    """cut_off: as after a power cut, what came after the last sync may be zeros or half a line."""
    text = home.ssh(vm, "cat", "/root/lines")
    lines = text.split("\0")[0].split()
    check(cut_off or "\0" not in text, "no zeros where lines were")
    if cut_off and len(lines) > at_least:
        lines.pop()
    equal(lines, [str(i + 1) for i in range(len(lines))], "the lines are whole and in order")
    check(len(lines) >= at_least, f"{len(lines)} lines are left of {at_least} that were written")


def check_disk(home, vm):
    """The stopped VM's work disk needs no repair."""
    disk = os.path.join(home.state, "vms", home.vm(vm)["id"], "work.img")
    done = subprocess.run(["/usr/sbin/e2fsck", "-fn", disk], capture_output=True, text=True, check=False)
    equal(done.returncode, 0, f"e2fsck: {done.stdout}")


def check_no_errors(home, vm):
    said = home.ssh(vm, "sh", "-c", "dmesg | grep -i -e 'EXT4-fs error' -e 'EXT4-fs warning' -e 'I/O error'; true")
    equal(said, "", "the kernel complains about a disk")


def greets(vm):
    """Whether the guest's SSH server says what it is, as the first thing that anybody is told."""
    try:
        with socket.create_connection((vm["address"], vm["ssh_port"]), 2) as s:
            return bool(s.recv(1))
    except OSError:
        return False


def stop_two_ways(home, vm, unmounts):
    """unmounts: the image's own poweroff leaves clean disks, also without the agent."""
    # The agent.
    at_least = begin_writing(home, vm)
    began = time.monotonic()
    home.banger("stop", vm)
    by_agent = time.monotonic() - began
    check_disk(home, vm)
    home.banger("start", vm)
    check_lines(home, vm, at_least)
    check("recovery" not in home.ssh(vm, "dmesg"), "the disks were left clean")
    # No agent: SSH.
    at_least = begin_writing(home, vm)
    home.ssh(vm, "sh", "-c", NAMED % ("banger-agent", "kill -KILL"))
    home.banger("stop", vm)
    if unmounts:
        check_disk(home, vm)
    home.banger("start", vm)
    check_lines(home, vm, at_least)
    check(not unmounts or "recovery" not in home.ssh(vm, "dmesg"), "the disks were left clean")
    check(FORCED not in home.banger("events", vm).out, "it had the time it took")
    return by_agent


def stop_by_force(home, vm, server):
    """Neither: what was synced, and a file system that the next boot repairs by its journal."""
    at_least = begin_writing(home, vm)
    home.ssh(vm, "sync")
    listener = min(home.ssh(vm, "sh", "-c", NAMED % (server, "echo")).split(), key=int)
    home.ssh(vm, "sh", "-c", NAMED % ("banger-agent", "kill -STOP") + f"; (sleep 1; kill -STOP {listener}) > /dev/null 2>&1 < /dev/null &")
    wait_for("its SSH server is silent", PATIENCE, lambda: not greets(home.vm(vm)))
    home.banger("stop", vm)
    equal(home.hypervisors(), [], "it was ended")
    check(FORCED in home.banger("events", vm).out, "and that is said")
    home.banger("start", vm)
    check_lines(home, vm, at_least, cut_off=True)
    check_no_errors(home, vm)
    home.banger("stop", vm)
    check_disk(home, vm)


def scenario_stop_loses_nothing(home):
    home.banger("create", "box", *FLAGS)
    check(stop_two_ways(home, "box", False) < 20, "the agent's way is no timeout")
    # What remains is the host's doing, whatever the guest.
    stop_by_force(home, "box", "dropbear")


scenario_stop_loses_nothing.takes_minutes = True


def begin_debian(home, name):
    home.env["BANGER_STOP_TIMEOUT_MS"] = "200000"
    spec = home.file("vms.yaml", f"version: 1\nstack: t\nvms:\n  {name}: {DEBIAN}\n")
    home.banger("apply", "-f", spec, "--yes", timeout=900)
    return spec


def scenario_debian_stop_loses_nothing(home):
    begin_debian(home, "box")
    check(stop_two_ways(home, "box", True) < 100, "the agent's way is no timeout")


scenario_debian_stop_loses_nothing.takes_minutes = True


def scenario_debian_is_a_guest_like_any_other(home):
    spec = begin_debian(home, "deb")
    vm = home.vm("deb")
    print(f"debian: ready after {vm['boot_ms']} ms, {vm['boot']}", flush=True)
    equal(home.ssh("deb", "cat", "/proc/1/comm"), "systemd", "its own init")
    equal(home.ssh("deb", "hostname"), "deb", "hostname")
    check("well" in home.banger("health", "deb").out, "health")
    check("PS1" in home.ssh("deb", "cat", "/root/.bashrc"), "the new work disk starts with the image's home")
    equal(home.ssh("deb", "systemctl", "is-system-running"), "running", "no unit failed")
    equal(home.ssh("deb", "sh", "-c", "ls /etc/ssh/ssh_host_*_key; git --version | cut -c1-11").split("\n"),
          ["/etc/ssh/ssh_host_ed25519_key", "git version"], "the seed's key is the only one")
    modules(home, "deb")
    home.ssh("deb", "sh", "-c", "systemctl stop broken; printf '[Service]\\nExecStart=/bin/false\\n' > "
             "/run/systemd/system/broken.service; systemctl start broken; sleep 1; true")
    sick = home.banger("health", "deb", "-o", "json", code=1).json()[0]["health"]
    equal(sick["failed_units"], ["broken.service"], "failed units")
    # The agent stays through whatever the init does, and is found after a reboot.
    home.ssh("deb", "systemctl", "daemon-reexec")
    home.banger("ping", "deb")
    first = boot_id(home, "deb")
    home.banger("ssh", "deb", "--", "systemctl", "reboot", code=None)
    wait_for("another boot", PATIENCE * 2,
             lambda: home.vm("deb")["boot_id"] not in (None, first) and home.vm("deb")["ready"], 0.5)
    home.banger("ping", "deb")
    ports = home.banger("ports", "deb", "-o", "json").json()[0]["ports"]["ports"]
    check(any(p["port"] == 22 and p["process"] in ("sshd", "systemd") for p in ports), f"ports: {ports}")
    home.banger("delete", "-f", spec, "--yes")


for scenario in (scenario_debian_stop_loses_nothing, scenario_debian_is_a_guest_like_any_other):
    scenario.images = ("debian",)

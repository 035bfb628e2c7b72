"""create, start, stop, restart, kill, set, delete, prune, logs, and deaths."""

import os
import signal
import time

from harness import PATIENCE, check, equal, free_port, processes, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "64Mi", "--system-disk", "512Mi")


def boot_id(home, vm):
    return home.ssh(vm, "cat", "/proc/sys/kernel/random/boot_id")


def scenario_create_stop_start_keeps_fresh_writes(home):
    """create, stop, start, ssh; restart is another boot; kill; set vcpus; the command's exit code."""
    home.banger("create", "box", *FLAGS)
    first = boot_id(home, "box")
    home.ssh("box", "sh", "-c", "echo fresh > /root/a; echo fresh > /etc/b")
    began = time.monotonic()
    home.banger("stop", "box")
    check(time.monotonic() - began < 40, "stop is graceful, not a timeout")
    equal(home.vm("box")["state"], "stopped", "state")
    equal(home.hypervisors(), [], "no process")
    home.banger("start", "box")
    equal(home.ssh("box", "cat", "/root/a", "/etc/b").split(), ["fresh", "fresh"], "writes made just before stop")
    second = boot_id(home, "box")
    check(second != first, "a fresh boot")
    home.banger("restart", "box")
    check(boot_id(home, "box") != second, "restart is a fresh boot")
    home.banger("vm", "kill", "box", "--signal", "KILL")
    equal(home.wait_state("box", "stopped")["hold"], "kill", "kill is a hold")
    home.banger("set", "box", "vcpus=2")
    home.banger("start", "box")
    equal(home.ssh("box", "nproc"), "2", "set vcpus")
    code = home.banger("ssh", "box", "--", "sh", "-c", "exit 42", code=42).code
    equal(code, 42, "the guest's exit code")
    home.banger("delete", "box")
    equal((home.vms(), home.vm_dirs(), home.hypervisors()), ({}, [], []), "nothing is left")


def scenario_prune_spares_what_runs(home):
    home.banger("create", "alive", *FLAGS)
    home.banger("create", "dead", *FLAGS, "--no-start")
    spec = home.spec(owned=", state: stopped")
    home.banger("apply", "-f", spec, "--yes")
    home.banger("prune", "--yes")
    equal(sorted(home.vms()), ["alive", "owned"], "prune takes what is nobody's and does not run")
    result = home.banger("stop", "alive", "nosuch", code=None)
    check(result.code != 0 and "nosuch" in result.err + result.out, f"a missing name fails alone\n{result}")
    equal(home.vm("alive")["state"], "stopped", "... and the other is done")


def scenario_a_killed_hypervisor_comes_back(home):
    spec = home.spec(web="", once=", restart: never", held="")
    home.banger("apply", "-f", spec, "--yes")
    home.banger("stop", "held")
    first = boot_id(home, "web")
    for name in ("web", "once"):
        os.kill(home.vm(name)["pid"], signal.SIGKILL)
    home.wait_state("once", "exited")
    wait_for("web is back", PATIENCE, lambda: home.vm("web")["ready"] and home.vm("web")["pid"] in home.hypervisors())
    check(boot_id(home, "web") != first, "booted anew")
    equal(home.vm("once")["state"], "exited", "restart: never stays down")
    # Hold and recorded exit outlive the daemon and a resync.
    home.kill_daemon(signal.SIGTERM)
    equal(home.vm("held")["state"], "stopped", "held")
    os.kill(home.daemon_pid(), signal.SIGHUP)
    time.sleep(1)
    equal((home.vm("held")["state"], home.vm("once")["state"]), ("stopped", "exited"), "after a resync")
    equal(len(home.hypervisors()), 1, "hypervisors")
    home.banger("start", "once")
    equal(home.ssh("once", "hostname"), "once", "start lifts it")
    # A guest's own power-off under `always` is followed by a start, a reboot is one.
    for word in ("reboot", "poweroff"):
        before = boot_id(home, "web")
        home.banger("ssh", "web", "--", word, code=None)
        wait_for(f"web is back after its own {word}", PATIENCE,
                 lambda: home.vm("web")["ready"] and home.vm("web")["boot_id"] not in (None, before))
        equal(home.ssh("web", "hostname"), "web", f"after its own {word}")


def scenario_the_daemon_may_die_at_any_time(home):
    spec = home.spec(a="", b="")
    home.banger("apply", "-f", spec, "--yes")
    ids = {vm: boot_id(home, vm) for vm in "ab"}
    pids = home.hypervisors()
    old = home.kill_daemon()
    began = time.monotonic()
    equal(home.ssh("a", "hostname"), "a", "ssh after kill -9 of bangerd")
    check(home.daemon_pid() not in (None, old), "a new daemon was started")
    equal(home.hypervisors(), pids, "same hypervisors")
    equal({vm: boot_id(home, vm) for vm in "ab"}, ids, "same boots")
    check(time.monotonic() - began < PATIENCE, "at once")
    # Both at once: the next command brings it back, one of it.
    home.kill_daemon()
    os.kill(home.hypervisors()[0], signal.SIGKILL)
    home.vms()
    wait_for("both run", PATIENCE, lambda: all(vm["ready"] for vm in home.vms().values()))
    equal(len(home.hypervisors()), 2, "hypervisors")
    check(sum(boot_id(home, vm) == ids[vm] for vm in "ab") == 1, "the survivor was not touched")
    # SIGTERM leaves them too.
    pids = home.hypervisors()
    home.kill_daemon(signal.SIGTERM)
    equal(home.hypervisors(), pids, "SIGTERM leaves VMs running")
    home.banger("daemon", "status", code=None)
    equal(home.hypervisors(), pids, "status touches nothing")


def scenario_the_daemon_ends_with_its_vms(home):
    """daemon stop --vms: all are shut down in good order, without a hold; the next daemon starts what ran."""
    spec = home.spec(db=", restart: never", web=", depends_on: [db]", held="")
    home.banger("apply", "-f", spec, "--yes")
    home.banger("stop", "held")
    home.ssh("web", "sh", "-c", "echo fresh > /etc/b")
    home.banger("daemon", "stop", "--vms")
    equal((home.hypervisors(), home.daemon_pid()), ([], None), "hypervisors, daemon")
    order = [line for line in home.log().splitlines() if "vm=" in line and line.endswith(" stop")]
    equal(["vm=web" in line for line in order[-2:]], [True, False], f"what needs another ends first: {order}")
    home.banger("ps")
    home.wait_state("web", "ready")
    equal(home.ssh("web", "cat", "/etc/b"), "fresh", "writes made just before")
    equal((home.vm("db")["state"], home.vm("held")["state"]), ("ready", "stopped"), "what ran runs, what was held is held")
    # Without a daemon it takes one to end them.
    home.kill_daemon()
    home.banger("daemon", "stop", "--vms")
    equal((home.hypervisors(), home.daemon_pid()), ([], None), "hypervisors, daemon")


def scenario_handles_are_only_a_cache(home):
    spec = home.spec(web="")
    home.banger("apply", "-f", spec, "--yes")
    vm = home.vm("web")
    path = os.path.join(home.state, "vms", vm["id"], "handles.json")
    innocent = os.fork()
    if innocent == 0:
        os.execv("/bin/sleep", ["sleep", "600"])
    try:
        for content in (None, "rubbish \0{", '{"pid": %d, "start_ticks": 1, "started_ms": 1}' % innocent):
            home.kill_daemon()
            if content is None:
                os.unlink(path)
            else:
                home.file(path, content)
            again = home.vm("web")
            equal((again["pid"], again["state"]), (vm["pid"], again["state"]), f"found with handles {content!r}")
            home.wait_state("web", "ready")
        # Now the VM is dead and the file names the innocent process.
        home.kill_daemon()
        os.kill(vm["pid"], signal.SIGKILL)
        home.file(path, '{"pid": %d, "start_ticks": 1, "started_ms": 1}' % innocent)
        with open(os.path.join(os.path.dirname(path), "pid"), "r+") as f:  # as root it stays its hypervisor's
            f.truncate()
            f.write(str(innocent))
        home.banger("stop", "web")
        home.banger("delete", "-f", spec, "--yes")
        check(innocent in processes(), "the innocent process lives")
        equal(home.hypervisors(), [], "the VM is gone")
    finally:
        os.kill(innocent, signal.SIGKILL)
        os.waitpid(innocent, 0)


def scenario_failed_creations_leave_nothing(home):
    import socket
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        result = home.banger("create", "box", *FLAGS, "--port", f"{port}:80", code=4)
        check(str(port) in result.err and f"pid {os.getpid()}" in result.err, f"who has the port is named\n{result}")
        equal((home.vms(), home.vm_dirs(), home.hypervisors()), ({}, [], []), "after a taken port")
    result = home.banger("create", "box", "--image", "nosuch", code=None)
    check(result.code in (2, 4) and "nosuch" in result.err, f"missing image\n{result}")
    equal((home.vms(), home.vm_dirs()), ({}, []), "after a missing image")
    result = home.banger("create", "box", *FLAGS, "--kernel-args", "x\ny", code=2)
    result = home.banger("create", "Bad_Name", *FLAGS, code=2)
    equal((home.vms(), home.vm_dirs(), home.boots()), ({}, [], 0), "after bad input")


def scenario_logs_and_floods_are_bounded(home):
    home.banger("create", "loud", *FLAGS)
    home.ssh("loud", "sh", "-c", "echo said-on-the-console > /dev/console")
    wait_for("the console is kept", 10, lambda: "said-on-the-console" in home.banger("logs", "loud").out)
    home.ssh("loud", "sh", "-c", "(yes flood-the-console > /dev/console) </dev/null >/dev/null 2>&1 &")
    rss = lambda: int(open(f"/proc/{home.daemon_pid()}/statm").read().split()[1]) * 4096
    before = rss()
    directory = os.path.join(home.state, "vms", home.vm("loud")["id"])
    end = time.monotonic() + 12
    largest = 0
    while time.monotonic() < end:
        size = sum(os.path.getsize(os.path.join(directory, f)) for f in os.listdir(directory) if f.startswith("console.log"))
        largest = max(largest, size)
        time.sleep(0.2)
    check(0 < largest <= (2 << 20) + 65536, f"console logs stay small: {largest}")
    check(rss() - before < 8 << 20, f"bangerd does not grow: {before} -> {rss()}")
    check("flood-the-console" in home.banger("logs", "loud", "--tail", "5").out, "the tail is the newest")
    began = time.monotonic()
    home.banger("stop", "loud")
    check(time.monotonic() - began < 60, "a loud guest can be stopped")


def scenario_an_idle_guest_costs_no_core_without_daemon(home):
    home.banger("create", "idle", *FLAGS)
    pid = home.vm("idle")["pid"]
    home.banger("daemon", "stop")
    time.sleep(6)

    def ticks():
        with open(f"/proc/{pid}/stat") as f:
            fields = f.read().rsplit(")", 1)[1].split()
        return int(fields[11]) + int(fields[12])
    before = ticks()
    time.sleep(10)
    used = (ticks() - before) / os.sysconf("SC_CLK_TCK") / 10
    check(used < 0.15, f"{used:.0%} of a core")


def scenario_ttl_and_protect(home):
    home.banger("create", "brief", *FLAGS, "--no-start", "--set", "ttl=3s")
    spec = home.spec(owned=", state: stopped, ttl: 3s", safe=", state: stopped, ttl: 2s, protect: true")
    home.banger("apply", "-f", spec, "--yes")
    home.wait_gone("brief", 20)
    home.wait_state("owned", "expired", seconds=20)
    home.banger("apply", "-f", spec, "--yes")
    equal(home.vm("owned")["state"], "expired", "an unchanged spec does not bring it back")
    check("safe" in home.vms() and home.vm("safe")["state"] == "stopped", "protect wins over ttl")
    refused = home.banger("delete", "-f", spec, "--yes", code=3)
    check("protect" in refused.err + refused.out, f"said why\n{refused}")

"""The bridge and its taps: guests on addresses of their own, and nothing of it left behind."""

import os
import re
import signal
import subprocess

from harness import PATIENCE, check, equal, wait_for

BOOT = PATIENCE * 3


def sh(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def shell(home, vm, script, code=0):
    return home.ssh(vm, "sh", "-c", script, code=code)


def links():
    return sorted(name for name in os.listdir("/sys/class/net") if name.startswith(("banger", "bgr-")))


def plumbing():
    """Links, routes and the whole ruleset, as the kernel has them."""
    with open("/proc/sys/net/ipv4/ip_forward") as f:
        return links(), sh("ip", "route"), sh("nft", "list", "ruleset"), f.read().strip()


def create(home, name, *flags):
    home.banger("create", name, "--memory", "128Mi", "--work-disk", "0", "--network", "bridge", *flags, timeout=BOOT)


def scenario_a_guest_on_the_bridge(home):
    """Its address is its own and stays; a kill, a restart and a deletion leave what they should."""
    before = plumbing()
    create(home, "a")
    vm = home.vm("a")
    check(re.fullmatch(r"10\.183\.\d+\.\d+", vm["address"]) and vm["ssh_port"] == 22, f"its address: {vm}")
    tap = f"bgr-{vm['id']}"
    equal(links(), ["banger0", tap], "links")
    with open(f"/sys/class/net/{tap}/brport/isolated") as f:
        equal(f.read().strip(), "1", "isolated")
    inside = shell(home, "a", "ip addr show; ip route")
    check(vm["address"] + "/16" in inside and "default via 10.183.0.1" in inside, inside)
    home.kill_daemon()
    equal(home.vm("a")["address"], vm["address"], "known to the next bangerd")
    os.kill(vm["pid"], signal.SIGKILL)
    wait_for("it comes back", BOOT, lambda: home.vm("a").get("pid") not in (None, 0, vm["pid"]) and home.vm("a")["state"] == "ready", 0.5)
    equal((home.vm("a")["address"], links()), (vm["address"], ["banger0", tap]), "after a crash")
    home.banger("stop", "a")
    equal(plumbing(), before, "stopped")
    home.banger("start", "a", timeout=BOOT)
    equal(home.vm("a")["address"], vm["address"], "after stop and start")
    # Hypervisor, daemon and database die at once.
    home.kill_daemon()
    for pid in home.hypervisors():
        os.kill(pid, signal.SIGKILL)
    wait_for("it is gone", 10, lambda: not home.hypervisors())
    equal(links(), ["banger0", tap], "links of the dead")
    for name in os.listdir(home.state):
        if name.startswith("banger.db"):
            os.unlink(os.path.join(home.state, name))
    home.banger("ps")
    equal(plumbing(), before, "what is left")


def scenario_a_subnet_in_use_is_named(home):
    home.env["BANGER_SUBNET"] = "10.77.0.0/16"
    sh("ip", "link", "add", "theirs0", "type", "dummy")
    try:
        sh("ip", "addr", "add", "10.77.3.1/24", "dev", "theirs0")
        sh("ip", "link", "set", "theirs0", "up")
        said = home.banger("create", "a", "--network", "bridge", "--memory", "128Mi", "--work-disk", "0", code=None, timeout=PATIENCE)
        check(said.code != 0, said)
        for word in ("vm 'a'", "10.77.0.0/16", "10.77.3.0/24", "'theirs0'", "BANGER_SUBNET"):
            check(word in said.err, f"{word}: {said}")
        equal(links(), [], "nothing was made")
    finally:
        sh("ip", "link", "del", "theirs0")

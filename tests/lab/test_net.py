"""The bridge and its taps: guests on addresses of their own, and nothing of it left behind."""

import glob
import os
import re
import signal
import socket
import subprocess
import time

from harness import PATIENCE, check, equal, wait_for

BOOT = PATIENCE * 3


def sh(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout.strip()


def shell(home, vm, script, code=0):
    return home.ssh(vm, "sh", "-c", script, code=code)


def links(pool=False):
    """Ours; the taps that are kept for the next VM are nobody's."""
    return sorted(name for name in os.listdir("/sys/class/net")
                  if name.startswith(("banger", "bgr-")) and (pool or not name.startswith("bgr-pool-")))


def indexes():
    """Which bridge and taps these are: others of the same name have others."""
    return {name: socket.if_nametoindex(name) for name in links()}


def plumbing():
    """Links, routes and the whole ruleset, as the kernel has them."""
    with open("/proc/sys/net/ipv4/ip_forward") as f:
        return links(pool=True), sh("ip", "route"), sh("nft", "list", "ruleset"), f.read().strip()


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
    with open(os.path.join(home.work, "large"), "wb") as f:
        f.write(os.urandom(1 << 20) * 256)
    sessions = [home.start("ssh", "a", "--", "sh", "-c", "echo in; sleep 600"), home.start("cp", "large", "a:/root/large")]
    equal(sessions[0].stdout.readline(), "in\n", "in a session")
    wait_for("cp is at it", PATIENCE, lambda: sh("pgrep", "-P", str(sessions[1].pid), "-x", "ssh", code=None))
    # Nobody says a word for a guest that is gone, and the bridge is no peer that could.
    os.kill(vm["pid"], signal.SIGKILL)
    died = time.monotonic()
    for session in sessions:
        _, said = session.communicate(timeout=40)
        check(session.returncode != 0 and "went away meanwhile: its hypervisor ended" in said, f"{session.args}: {session.returncode}, {said}")
    check(time.monotonic() - died < 20, f"said after {time.monotonic() - died:.0f} s")
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


class Beyond:
    """A server on another network, reached over this host only: 198.51.100.2 in a namespace of its own."""

    SERVER = """
import socket, threading
def answer(s):
    while True:
        c, who = s.accept()
        c.sendall(who[0].encode() + b"\\n")
        c.close()
s = socket.create_server(("198.51.100.2", 7000))
print("listening", flush=True)
answer(s)
"""

    def __enter__(self):
        sh("ip", "netns", "add", "beyond")
        sh("ip", "link", "add", "up0", "type", "veth", "peer", "name", "eth0", "netns", "beyond")
        sh("ip", "addr", "add", "198.51.100.1/24", "dev", "up0")
        sh("ip", "link", "set", "up0", "up")
        for command in ("addr add 198.51.100.2/24 dev eth0", "link set eth0 up", "link set lo up"):
            sh("ip", "-n", "beyond", *command.split())
        self.server = subprocess.Popen(["ip", "netns", "exec", "beyond", "python3", "-c", self.SERVER],
                                       stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        equal(self.server.stdout.readline(), "listening\n", "the server beyond")
        return self

    def __exit__(self, *_):
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()
        sh("ip", "netns", "del", "beyond")
        wait_for("its link is gone", 20, lambda: not os.path.exists("/sys/class/net/up0"))


def reaches(home, vm, address, port=7000):
    """What a server says to a guest; "" when it does not get there."""
    return shell(home, vm, f"nc -w 3 {address} {port} < /dev/null 2>/dev/null", code=None)


def masquerades():
    return re.findall(r"ip saddr (\S+) .*masquerade comment", sh("nft", "list", "table", "inet", "banger", code=None))


def scenario_nat_is_scoped_and_goes_with_its_vm(home):
    """One with nat gets beyond the host, one without does not, live; neither reaches the other."""
    sh("nft", "add", "table", "inet", "theirs")
    try:
        with Beyond():
            before = plumbing()
            create(home, "a", "--nat")
            create(home, "b")
            a, b = home.vm("a")["address"], home.vm("b")["address"]
            equal(masquerades(), [a], "what is masqueraded, and nothing else")
            check("table inet theirs" in sh("nft", "list", "ruleset"), "the tables of others")
            equal(plumbing()[3], "1", "forwarding")
            check("ip_forward" in home.log(), "said aloud")
            equal(reaches(home, "a", "198.51.100.2"), "198.51.100.1", "from whom it seems to come")
            equal(reaches(home, "b", "198.51.100.2"), "", "without nat")
            # Live, both ways; a daemon killed between knows what was.
            boot_id = home.vm("b")["boot_id"]
            home.banger("set", "b", "nat=true", timeout=PATIENCE)
            equal(reaches(home, "b", "198.51.100.2"), "198.51.100.1", "nat given")
            home.kill_daemon()
            home.banger("set", "b", "nat=false", timeout=PATIENCE)
            equal((reaches(home, "b", "198.51.100.2"), masquerades()), ("", [a]), "nat taken, the other's kept")
            equal(home.vm("b")["boot_id"], boot_id, "the same boot")
            # Neither directly, nor over the host; a server in b answers to this host all the same.
            shell(home, "b", "(while echo b | nc -l -p 7001; do :; done) > /dev/null 2>&1 &")
            wait_for("b answers the host", PATIENCE, lambda: tell(b, 7001) == "b\n", 0.5)
            equal(reaches(home, "a", b, 7001), "", "VM to VM")
            shell(home, "a", f"ip route add {b}/32 via 10.183.0.1")
            equal(reaches(home, "a", b, 7001), "", "VM to VM over the gateway")
            # Stop and start: the same rule, once. Spoofed: it leaves the guest, and nothing else.
            home.banger("restart", "a", timeout=BOOT)
            equal(masquerades(), [a], "after a restart")
            spoof(home, "a", b)
            home.banger("delete", "a", "--yes")
            equal(masquerades(), [], "a is deleted")
            home.banger("delete", "b", "--yes")
            equal(plumbing(), before, "what is left")
    finally:
        sh("nft", "delete", "table", "inet", "theirs")


def tell(address, port):
    try:
        with socket.create_connection((address, port), timeout=3) as s:
            s.settimeout(3)
            return s.makefile().readline()
    except OSError:
        return ""


def received(interface):
    with open(f"/sys/class/net/{interface}/statistics/rx_packets") as f:
        return int(f.read())


def spoof(home, vm, other):
    """Pings in another's name: they come out of the tap, and the bridge never sees one."""
    tap, own = f"bgr-{home.vm(vm)['id']}", home.vm(vm)["address"]
    sh("nft", "add table inet spy; add chain inet spy c { type filter hook prerouting priority -400; };"
       f"add rule inet spy c iifname banger0 ip saddr {other} counter; add rule inet spy c iifname banger0 ip saddr {own} counter")
    try:
        shell(home, vm, f"ip addr add {other}/32 dev eth0")
        sent = received(tap)
        shell(home, vm, f"ping -c 5 -I {other} 10.183.0.1 > /dev/null", code=None)
        check(received(tap) >= sent + 5, "they were sent")
        shell(home, vm, f"ping -c 2 -I {own} 10.183.0.1 > /dev/null")
        spoofed, honest = (int(n) for n in re.findall(r"counter packets (\d+)", sh("nft", "list", "chain", "inet", "spy", "c")))
        check(spoofed == 0 and honest >= 2, f"packets on the bridge: {spoofed} in another's name, {honest} in its own")
    finally:
        sh("nft", "delete", "table", "inet", "spy")


def isolated_ports():
    """Of all taps, those that are kept for the next VM as well."""
    return {open(path).read().strip() for path in glob.glob("/sys/class/net/banger0/brif/*/isolated")}


def next_daemon(home, vm_to_vm):
    if home.daemon_pid():
        home.kill_daemon()
    home.env.pop("BANGER_VM_TO_VM", None)
    if vm_to_vm:
        home.env["BANGER_VM_TO_VM"] = vm_to_vm
    return home.banger("ps", code=None, timeout=PATIENCE)


def scenario_vms_reach_each_other_where_the_host_lets_them(home):
    """By a setting of bangerd's, which holds for those that run when it is changed, both ways; spoofing never."""
    before = plumbing()
    sh("modprobe", "br_netfilter")  # then the tables of IP see what the bridge passes on, too
    try:
        home.env["BANGER_VM_TO_VM"] = "allow"
        create(home, "a")
        create(home, "b")
        b, boots = home.vm("b")["address"], [home.vm(name)["boot_id"] for name in "ab"]
        shell(home, "b", "(while echo b | nc -l -p 7001; do :; done) > /dev/null 2>&1 &")
        wait_for("b answers the host", PATIENCE, lambda: tell(b, 7001) == "b\n", 0.5)
        for filtered in "01":
            with open("/proc/sys/net/bridge/bridge-nf-call-iptables", "w") as f:
                f.write(filtered)
            equal((isolated_ports(), reaches(home, "a", b, 7001)), ({"0"}, "b"), f"allowed, br_netfilter {filtered}")
        spoof(home, "a", "10.183.0.9")
        refused = next_daemon(home, "yes")
        check(refused.code != 0 and "BANGER_VM_TO_VM" in refused.err and "'yes'" in refused.err, str(refused))
        equal((home.daemon_pid(), isolated_ports()), (None, {"0"}), "no daemon, and nothing changed")
        next_daemon(home, "")
        equal((isolated_ports(), reaches(home, "a", b, 7001)), ({"1"}, ""), "blocked")
        shell(home, "a", f"ip route add {b}/32 via 10.183.0.1")
        equal(reaches(home, "a", b, 7001), "", "over the gateway")
        shell(home, "a", f"ip route del {b}/32")
        next_daemon(home, "allow")
        equal((isolated_ports(), reaches(home, "a", b, 7001)), ({"0"}, "b"), "allowed again")
        equal([home.vm(name)["boot_id"] for name in "ab"], boots, "they ran on")
        home.banger("delete", "a", "b", "--yes")
        equal(plumbing(), before, "what is left")
    finally:
        sh("modprobe", "-r", "br_netfilter", code=None)


def unwanted(home, vm):
    """Datagrams for a port of the guest's that nobody listens at."""
    names, values = shell(home, vm, "grep ^Udp: /proc/net/snmp").splitlines()
    return int(dict(zip(names.split(), values.split()))["NoPorts"])


def send_datagrams(address, port, count):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
        for _ in range(count):
            s.sendto(b"x", (address, port))


def scenario_ports_of_the_host_lead_into_a_guest(home):
    """On loopback and everywhere, tcp and udp, live, and two VMs never get the same one."""
    with Beyond():
        before = plumbing()
        home.banger("apply", "-f", home.spec(a=", network: bridge, ports: ['8081:7001']", b=", network: bridge"), "--yes", timeout=BOOT * 2)
        shell(home, "a", "(while echo a | nc -l -p 7001; do :; done) > /dev/null 2>&1 &")
        wait_for("on loopback", PATIENCE, lambda: tell("127.0.0.1", 8081) == "a\n", 0.5)
        equal(tell("198.51.100.1", 8081), "", "only there")
        boot_id = home.vm("a")["boot_id"]
        home.banger("apply", "-f", home.spec(a=", network: bridge, ports: ['0.0.0.0:8082:7001', '8083:7002/udp']", b=", network: bridge"), "--yes", timeout=PATIENCE)
        equal((tell("127.0.0.1", 8081), tell("127.0.0.1", 8082)), ("", "a\n"), "moved")
        said = sh("ip", "netns", "exec", "beyond", "python3", "-c",
                  "import socket; print(socket.create_connection(('198.51.100.1', 8082), 5).recv(9))")
        equal(said, "b'a\\n'", "from beyond")
        # Nothing in the guest listens: its kernel counts what came for nobody.
        came = unwanted(home, "a")
        send_datagrams("127.0.0.1", 8083, 5)
        wait_for("udp comes to the guest", PATIENCE, lambda: unwanted(home, "a") == came + 5, 0.5)
        send_datagrams("198.51.100.1", 8083, 3)
        equal(unwanted(home, "a"), came + 5, "on loopback only")
        equal(home.vm("a")["boot_id"], boot_id, "the same boot")
        refused = home.banger("set", "b", "ports=8082:7001", code=None, timeout=PATIENCE)
        check(refused.code != 0, refused)
        home.banger("delete", "-f", home.file("vms.yaml", open(os.path.join(home.work, "vms.yaml")).read()), "--yes")
        equal(plumbing(), before, "what is left")


def dig(name, *more, at="10.183.0.1", kind="A"):
    """(status, answers) of one question, over UDP; more: +tcp, … None when nobody answers."""
    done = subprocess.run(["dig", "+tries=1", "+time=3", "+noall", "+comments", "+answer", *more, f"@{at}", name, kind],
                          capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    status = re.search(r"status: (\w+)", done.stdout)
    return (status.group(1), re.findall(rf"^\S+\s+\d+\s+IN\s+{kind}\s+(\S+)$", done.stdout, re.M)) if status else None


def looked_up(name):
    """By the host's own resolver, as any program would."""
    return subprocess.run(["getent", "ahostsv4", name], capture_output=True, text=True, timeout=PATIENCE,
                          stdin=subprocess.DEVNULL).stdout.split(None, 1)[:1]


def scenario_names_of_running_vms_are_answered(home):
    """By bangerd and by way of systemd-resolved, for those that run, here and nowhere else."""
    before = plumbing()
    create(home, "web", "--nat")
    create(home, "db", "--no-start")
    vm = home.vm("web")
    address = vm["address"]
    reverse = ".".join(reversed(address.split("."))) + ".in-addr.arpa"
    for transport in ("+notcp", "+tcp"):
        equal(dig("web.vm", transport), ("NOERROR", [address]), "its address, " + transport)
        equal(dig(reverse, transport, kind="PTR"), ("NOERROR", ["web.vm."]), "its name, " + transport)
    equal(dig("web.vm", kind="AAAA"), ("NOERROR", []), "no IPv6 here")
    equal([dig(name)[0] for name in ("db.vm", "nobody.vm", "example.com")], ["NXDOMAIN", "NXDOMAIN", "REFUSED"])
    # The host's resolver asks us about what is ours only, and its users need not know.
    wait_for("resolved knows", PATIENCE, lambda: looked_up("web.vm") == [address], 0.5)
    equal(looked_up("db.vm"), [], "one that does not run")
    check("web.vm" in sh("getent", "hosts", address), "and back")
    check("web.vm" in sh("resolvectl", "query", address), "by resolvectl")
    told = sh("resolvectl", "status", "banger0")
    for words in ("10.183.0.1", "~vm ~183.10.in-addr.arpa", "-DefaultRoute", "-LLMNR", "-mDNS"):
        check(words in told, f"{words}: {told}")
    sh("ping", "-c", "1", "-W", "5", "web.vm")
    home.banger("ssh-config", "--install")
    config = os.path.join(home.env["HOME"], ".ssh", "config")
    equal(sh("ssh", "-F", config, "-o", "BatchMode=yes", "web.vm", "hostname"), "web", "ssh web.vm")
    # Guests reach nothing of each other, and are not told who is there: refused, not left waiting.
    equal(shell(home, "web", f"timeout 20 nslookup web.vm 10.183.0.1 | grep -c {address}", code=None), "0", "asked by a guest")
    # A daemon that is killed answers no more; the next one does, about what is so by then.
    home.kill_daemon()
    equal(dig("web.vm"), None, "nobody is there")
    os.kill(vm["pid"], signal.SIGKILL)
    home.banger("stop", "web")
    equal((plumbing(), dig("web.vm")), (before, None), "no VM, no bridge, no answer")
    home.banger("start", "web", timeout=BOOT)
    home.banger("start", "db", timeout=BOOT)
    home.kill_daemon()
    home.banger("ps")
    equal((dig("web.vm"), dig("db.vm")[0]), (("NOERROR", [address]), "NOERROR"), "both, by the next one")
    home.banger("stop", "web")
    equal((dig("web.vm")[0], dig(reverse, kind="PTR")[0], dig("db.vm")[0]), ("NXDOMAIN", "NXDOMAIN", "NOERROR"), "stopped")
    wait_for("resolved notices", 20, lambda: looked_up("web.vm") == [], 0.5)
    home.banger("delete", "web", "db", "--yes")
    equal(plumbing(), before, "what is left")
    check("banger0" not in sh("resolvectl", "status"), "resolved forgot it")


def rules():
    return sh("nft", "list", "table", "inet", "banger", code=None), sh("nft", "list", "table", "bridge", "banger", code=None)


def scenario_rules_that_others_take_away_come_back(home):
    """Flushed, deleted, edited, forwarding switched off: heard of at once; what others do to their own is theirs."""
    before = plumbing()
    home.banger("create", "a", "--memory", "128Mi", "--work-disk", "0", "--nat", "--ready", "none", timeout=BOOT)
    good = rules()
    check("masquerade" in good[0] and "bgr-" in good[1], good)

    def mended():
        return len(re.findall(r'"kind":\s*"mended"', home.banger("events", "-o", "json").out))
    for count, command in enumerate(("flush ruleset", "delete table bridge banger", "flush chain bridge banger from",
                                     "delete table inet banger; add table inet banger"), 1):
        sh("nft", "add table inet theirs; add chain inet theirs c; delete table inet theirs")
        sh("nft", command)
        wait_for(f"after {command}", 40, lambda: rules() == good, 0.2)
        wait_for("it is told", 10, lambda n=count: mended() == n)
    sh("nft", "add table inet theirs")
    home.banger("set", "a", "nat=false", timeout=PATIENCE)
    home.banger("set", "a", "nat=true", timeout=PATIENCE)
    equal((rules(), mended()), (good, 4), "our own changes are no one else's")
    # The only VM is restarted: the bridge and what belongs to it stay, so nobody else notices.
    there, known = indexes(), home.log().count("systemd-resolved asks us")
    home.banger("restart", "a", timeout=BOOT)
    equal((indexes(), rules(), mended()), (there, good, 4), "after a restart")
    equal((home.log().count("systemd-resolved asks us"), known), (1, 1), "resolved is told once")
    home.banger("stop", "a")
    sh("nft", "delete table inet theirs")
    equal(plumbing(), before, "what is left")

"""Every field of the spec has its effect in a real guest."""

import http.server
import os
import subprocess
import threading

from harness import check, equal, free_port, wait_for


def scenario_fields_reach_the_guest(home):
    home.file("motd", "welcome\n")
    home.file(home.env["HOME"] + "/.gitconfig", "[user]\n\tname = Ann Example\n\temail = ann@example.org\n")
    spec = home.spec(web=", kernel_args: 'banger_test=1', ready: {probe: agent, timeout: 80s}, files: "
                         "[{source: motd, path: /etc/deep/er/motd, mode: '0640', owner: 'nobody:nogroup'}]")
    home.banger("apply", "-f", spec, "--yes")
    wait_for("ssh", 60, lambda: home.banger("ssh", "web", "--", "true", code=None).code == 0)
    check("banger_test=1" in home.ssh("web", "cat", "/proc/cmdline"), "kernel_args")
    equal(home.ssh("web", "cat", "/etc/deep/er/motd"), "welcome", "file")
    equal(home.ssh("web", "stat", "-c", "%a %U %G", "/etc/deep/er/motd"), "640 nobody nogroup", "mode and owner")
    equal(home.ssh("web", "git", "config", "--global", "user.name"), "Ann Example", "git identity")
    equal(home.ssh("web", "sh", "-c", "stat -c %a /root /root/.ssh /root/.ssh/authorized_keys"), "700\n700\n600", "sshd's wishes")
    # Both come anew at every start, as they are on the host by then.
    home.file("motd", "welcome back\n")
    home.file(home.env["HOME"] + "/.gitconfig", "[user]\n\tname = Ann Other\n\temail = ann@example.org\n")
    home.ssh("web", "sh", "-c", "chmod 600 /etc/deep/er/motd; chown 1:1 /etc/deep/er/motd")
    home.banger("restart", "web")
    wait_for("ssh", 60, lambda: home.banger("ssh", "web", "--", "true", code=None).code == 0)
    equal(home.ssh("web", "cat", "/etc/deep/er/motd"), "welcome back", "file, changed")
    equal(home.ssh("web", "stat", "-c", "%a %U %G", "/etc/deep/er/motd"), "640 nobody nogroup", "mode and owner again")
    equal(home.ssh("web", "git", "config", "--global", "user.name"), "Ann Other", "git identity, changed")
    # The host key that answers is the one that banger made, and nothing asks.
    vm = home.vm("web")
    with open(os.path.join(home.state, "vms", vm["id"], "host_key.pub")) as f:
        pinned = f.read().split()[1]
    scanned = subprocess.run(["ssh-keyscan", "-p", str(vm["ssh_port"]), "-t", "ed25519", vm["address"]],
                             capture_output=True, text=True).stdout
    check(pinned in scanned, f"host key: {scanned}")
    # A stranger in its place is refused, not asked about.
    path = os.path.join(home.state, "vms", vm["id"], "known_hosts")
    os.chmod(path, 0o600)
    text = open(path).read()
    other = os.path.join(home.work, "other")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", other], check=True)
    with open(path, "w") as f:
        f.write(text.replace(pinned, open(other + ".pub").read().split()[1]))
    home.banger("ssh", "web", "--", "true", code=125)


def scenario_nat_is_off_unless_asked(home):
    """User networking's; the bridge has tests/lab/test_net.py."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    port = server.server_address[1]
    try:
        spec = home.spec(shut=", network: user", free=", network: user, nat: true")
        home.banger("apply", "-f", spec, "--yes")
        reach = ["timeout", "20", "wget", "-q", "-O", "/dev/null", f"http://10.0.2.2:{port}/"]
        check(home.banger("ssh", "shut", "--", *reach, code=None).code != 0, "without nat nothing is reached")
        home.banger("ssh", "free", "--", *reach)
        home.banger("stop", "free")
        home.banger("start", "free")
        home.banger("ssh", "free", "--", *reach)
    finally:
        server.shutdown()
        server.server_close()


def modules(home, vm):
    """Those that are not in the initrd come from the kernel's own disk, which nobody writes."""
    loaded = home.ssh(vm, "sh", "-c", "modprobe dummy && modprobe nf_tables && cat /proc/modules && "
                      "grep /lib/modules /proc/mounts")
    check("dummy " in loaded and "nf_tables " in loaded and "ext4 ro," in loaded, loaded)


def scenario_another_kernel_and_readiness_by_port(home):
    spec = home.spec(web=", kernel: debian, ready: 'tcp:22'", quick=", ready: none")
    home.banger("apply", "-f", spec, "--yes", timeout=600)
    release = home.ssh("web", "uname", "-r")
    check("cloud" not in release, f"kernel: debian is {release}")
    modules(home, "web")
    first = home.ssh("web", "cat", "/proc/sys/kernel/random/boot_id")
    text = open(spec).read()
    home.file("vms.yaml", text.replace("kernel: debian,", "kernel: debian-cloud,"))
    check("(restart)" in home.banger("diff", "-f", spec, code=1).out, "a kernel is a restart")
    home.banger("apply", "-f", spec, "--yes", timeout=600)
    check("cloud" in home.ssh("web", "uname", "-r"), "and back")
    modules(home, "web")
    check(home.ssh("web", "cat", "/proc/sys/kernel/random/boot_id") != first, "restarted")


scenario_another_kernel_and_readiness_by_port.session_only = "pulls a kernel, and the lab reaches no package archive"


def scenario_never_ready_is_a_timeout(home):
    port = free_port() % 1000 + 4000
    spec = home.spec(web=f", ready: {{probe: 'tcp:{port}', timeout: 9s}}")
    result = home.banger("apply", "-f", spec, "--yes", code=None)
    check(result.code in (4, 5) and "not ready" in result.err, f"said so\n{result}")
    equal(home.vm("web")["state"], "running", "it runs all the same")
    result = home.banger("apply", "-f", spec, "--yes", "--timeout", "2s", code=None)
    check(result.code in (0, 5), f"\n{result}")
    # Something else to wait for is told to the guest that runs.
    boot = home.ssh("web", "cat", "/proc/sys/kernel/random/boot_id")
    spec = home.spec(web=f", ready: {{probe: 'tcp:{port + 1}', timeout: 60s}}")
    home.banger("apply", "-f", spec, "--no-wait")
    wait_for("its guest was told", 60, lambda: home.banger("diff", "-f", spec, code=None).code == 0)
    equal(home.ssh("web", "cat", "/proc/sys/kernel/random/boot_id"), boot, "without a restart")
    home.ssh("web", "sh", "-c", f"(while :; do echo x | nc -l -p {port + 1}; done) </dev/null >/dev/null 2>&1 &")
    home.wait_state("web", "ready")


def scenario_a_guest_that_boots_in_circles(home):
    """It panics before anything of it can tell why; the kernel resets, again and again."""
    spec = home.spec(web=", kernel_args: 'rdinit=/nosuch'")
    result = home.banger("apply", "-f", spec, "--yes", code=4)
    check("rebooted" in result.err and "without getting ready" in result.err, f"said so\n{result}")
    home.wait_log("next try in")
    home.spec(web="")
    home.banger("apply", "-f", spec, "--yes")
    equal(home.ssh("web", "hostname"), "web", "the mended one runs")

"""What guests say about themselves: stats, ports, health, ping, boot times."""

import json
import os
import signal
import socket
import struct
import subprocess
import time

from harness import BUILD, PATIENCE, check, equal, free_port, wait_for
from test_lifecycle import FLAGS, boot_id


def asked(home, verb, *names, code=0):
    return {item["name"]: item for item in home.banger(verb, *names, "-o", "json", code=code).json()}


class ExecChannel:
    """The host's end of agent/PROTOCOL.md, "Exec"."""
    HELLO = b"\nBANGER-EXEC-1\n\0" + b"testtest"

    def __init__(self, home, vm):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(os.path.join(home.state, "vms", home.vm(vm)["id"], "exec.sock"))

    def close(self):
        self.socket.close()

    def frame(self, kind, payload):
        self.socket.sendall(kind + struct.pack(">I", len(payload)) + payload)

    def start(self, *argv):
        self.socket.sendall(self.HELLO)
        self.frame(b"S", json.dumps({"argv": argv}).encode())

    def finish(self):
        got, out = b"", b""
        while self.HELLO not in got:
            got += self.socket.recv(65536)
        got = got.split(self.HELLO, 1)[1]
        while True:
            while len(got) < 5 or len(got) < 5 + struct.unpack(">I", got[1:5])[0]:
                got += self.socket.recv(65536)
            end = 5 + struct.unpack(">I", got[1:5])[0]
            kind, payload, got = got[:1], got[5:end], got[end:]
            if kind == b"X":
                return out, json.loads(payload)
            out += payload if kind == b"O" else b""


def scenario_commands_need_no_ssh(home):
    home.banger("create", "box", *FLAGS)
    channel = ExecChannel(home, "box")
    channel.start("sh", "-c", "cat; hostname; exit 42")
    channel.frame(b"I", b"in ")
    channel.frame(b"I", b"")
    equal(channel.finish(), (b"in box\n", {"status": 42}), "a command")
    channel.start("dd", "if=/dev/zero", "bs=65536", "count=64")
    out, end = channel.finish()
    check(out == bytes(64 * 65536) and end == {"status": 0}, f"4 MiB arrive, not {len(out)}: {end}")
    # Hanging up kills it; the next may come at once.
    channel.start("sleep", "4711")
    wait_for("it runs", PATIENCE, lambda: "4711" in home.ssh("box", "ps"))
    channel.close()
    wait_for("it was killed", PATIENCE, lambda: "4711" not in home.ssh("box", "ps"))
    channel = ExecChannel(home, "box")
    channel.start("echo", "again")
    equal(channel.finish()[0], b"again\n", "the next")
    # A command that floods a host which does not read holds up nothing.
    channel.start("yes")
    began = time.monotonic()
    home.banger("ping", "box")
    home.banger("stop", "box")
    check(time.monotonic() - began < 30, "it stops as ever")
    channel.close()


def raw(home, *args, input=b"", code=0):
    """Bytes, as they are."""
    done = subprocess.run([os.path.join(BUILD, "banger"), *args], env=home.env, cwd=home.work, input=input,
                          capture_output=True, timeout=PATIENCE * 2)
    equal(done.returncode, code, f"banger {' '.join(args)}: {done.stderr!r}")
    return done.stdout, done.stderr


def scenario_exec_where_no_ssh_answers(home):
    home.file("nothing", "#!/bin/sh\nexec sleep 1000000\n")
    home.banger("apply", "--yes", "-f", home.spec(
        box=", ready: agent, files: [{source: nothing, path: /etc/init.d/sshd, mode: '0755'}]"))
    first = home.banger("exec", "box", "--", "sh", "-c", "pwd; echo bad >&2; exit 42", code=42)
    check(first.out == "/root\n" and "bad\n" in first.err and "its agent runs" in first.err, first)
    sent = os.urandom(6 << 20)
    got, said = raw(home, "exec", "box", "--agent", "--", "cat", input=sent)
    check(got == sent and not said, f"{len(got)} of {len(sent)} bytes came back: {said!r}")
    equal(raw(home, "exec", "box", "-q", input=b"echo from a script\n")[0], b"from a script\n", "a shell reads commands")
    check("terminal" in home.banger("exec", "box", "--tty", "--", "true", code=125).err, "there is no terminal")

    # The daemon has no part in it: it may die, the command runs on. Ctrl-C ends what runs there.
    child = subprocess.Popen([os.path.join(BUILD, "banger"), "exec", "box", "--", "sh", "-c", "echo on; cat; sleep 4711"],
                             env=home.env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    home.children.append(child)
    child.stderr = open(os.devnull)
    equal(child.stdout.readline(), b"on\n")
    home.kill_daemon()
    child.stdin.write(b"still there\n")
    child.stdin.close()
    equal(child.stdout.readline(), b"still there\n")
    wait_for("the next daemon hears its agent", PATIENCE, lambda: home.banger("ping", "box", code=None).code == 0, 0.3)
    child.send_signal(signal.SIGINT)
    equal(child.wait(PATIENCE), 130, "as a shell has it")
    check("4711" not in home.banger("exec", "box", "--", "ps").out, "it has ended there as well")

    # A guest's reboot brings its agent back; stop waits for no command, however much it writes.
    before = home.vm("box")["boot_id"]
    home.banger("exec", "box", "--", "reboot", code=None)
    wait_for("its agent is found again", PATIENCE, lambda: home.vm("box")["boot_id"] not in (None, before), 0.3)
    equal(home.banger("exec", "box", "--", "echo", "again").out, "again\n")
    flood = home.start("exec", "box", "--", "yes")
    check(flood.stdout.read(2) == "y\n", "it writes, and nobody reads on")
    began = time.monotonic()
    home.banger("stop", "box")
    check(time.monotonic() - began < 30, "it stops as ever")
    out, err = flood.communicate(timeout=PATIENCE)
    check(flood.returncode == 125 and "vm 'box'" in err and "stopp" in err, f"{flood.returncode}: {err}")
    check("start box" in home.banger("exec", "box", "--agent", "--", "true", code=125).err, "stopped is said at once")


def scenario_run_falls_back_to_the_agent(home):
    home.banger("run", "--rm", "--agent", *FLAGS, "--", "sh", "-c", "exit 7", code=7)
    equal(home.vms(), {}, "gone afterwards")
    home.banger("create", "web", *FLAGS)
    home.ssh("web", "sh", "-c", "mv /etc/init.d/sshd /x; killall dropbear", code=None)
    lost = home.banger("exec", "web", "--", "sh", "-c", "exit 3", code=3)
    check("ssh could not reach" in lost.err and "its agent runs" in lost.err, lost)


def scenario_guests_tell_how_they_are(home):
    port = free_port()
    home.banger("create", "box", *FLAGS, "--port", f"{port}:8080")
    ping = asked(home, "ping", "box")["box"]["ping"]
    check(ping["uptime_ms"] > 0 and ping["took_ms"] < 5000, f"ping: {ping}")
    stats = asked(home, "stats", "box")["box"]["stats"]
    equal(stats["boot_id"], boot_id(home, "box"), "boot_id")
    equal(stats["cpus"], 1, "cpus")
    check(60 << 20 < stats["memory_total"] <= 128 << 20, f"memory: {stats}")
    check(0 < stats["memory_available"] < stats["memory_total"], f"memory: {stats}")
    check(400 << 20 < stats["root_size"] <= 512 << 20 and 0 < stats["root_used"] < stats["root_size"], f"root: {stats}")
    check(32 << 20 < stats["work_size"] <= 64 << 20, f"work disk: {stats}")
    boot = home.vm("box")["boot"]
    order = [boot[phase] for phase in ("kernel", "mounted", "network", "init", "ssh")]
    equal(order, sorted(order), f"boot times {boot}")
    # Ports: ssh, one that is forwarded, one that only the guest can reach.
    home.ssh("box", "sh", "-c", "(sleep 99 | nc -l -p 8080 > /dev/null 2>&1 &); "
             "dropbear -p 127.0.0.1:9090 -r /run/host_key; sleep 1")
    ports = {p["port"]: p for p in asked(home, "ports", "box")["box"]["ports"]["ports"]}
    vm = home.vm("box")
    equal((ports[22]["process"], ports[22]["endpoint"]), ("dropbear", f"{vm['address']}:{vm['ssh_port']}"), "ssh")
    equal((ports[8080]["proto"], ports[8080]["process"], ports[8080]["endpoint"]), ("tcp", "nc", f"127.0.0.1:{port}"),
          "forwarded")
    equal((ports[9090]["bind"], ports[9090]["endpoint"]), ("127.0.0.1", None), "of the guest's own")
    check("dropbear" in home.banger("ports").out, "without names: all that run")
    # Health: full disk.
    equal(home.banger("health", "box").out, "box: well\n", "health")
    home.ssh("box", "sh", "-c", "dd if=/dev/zero of=/root/fill bs=1M 2> /dev/null; true")
    sick = home.banger("health", "box", code=1).out
    check("work disk is full" in sick, f"health of a full disk: {sick}")
    home.ssh("box", "rm", "/root/fill")
    home.banger("health", "box")
    # Found again after a reboot and by another daemon.
    first = boot_id(home, "box")
    home.banger("ssh", "box", "--", "reboot", code=None)
    wait_for("another boot", PATIENCE, lambda: home.vm("box")["boot_id"] not in (None, first) and home.vm("box")["ready"])
    equal(asked(home, "stats", "box")["box"]["stats"]["boot_id"], boot_id(home, "box"), "after a reboot")
    home.kill_daemon(signal.SIGKILL)
    wait_for("found again", PATIENCE, lambda: "ping" in asked(home, "ping", "box", code=None)["box"])
    # Several at once, one of which is not there; a guest that stands still costs its deadline only.
    result = asked(home, "ping", "box", "nosuch", code=2)
    check("ping" in result["box"] and result["nosuch"]["error"]["code"] == "not-found", f"several: {result}")
    os.kill(home.vm("box")["pid"], signal.SIGSTOP)
    try:
        began = time.monotonic()
        error = asked(home, "ping", "box", code=5)["box"]["error"]
        equal(error["code"], "timeout", "a guest that stands still")
        check(time.monotonic() - began < 10, "within its deadline")
    finally:
        os.kill(home.vm("box")["pid"], signal.SIGCONT)
    home.banger("ping", "box")
    home.banger("stop", "box")
    check("start it with banger start box" in home.banger("stats", "box", code=3).err, "of a stopped VM")

"""Guests that stop answering in the middle: sshd hangs, the guest reboots. Bounded, named, and the next try works."""

import os
import time

from harness import PATIENCE, check, equal, wait_for
from test_guest import ExecChannel
from test_lifecycle import FLAGS, boot_id
from test_workspace import repository

# ssh gives up after 15 s without a banner, and after three unanswered questions 15 s apart.
BOUND = 100


def in_guest(home, *argv):
    """A command without SSH."""
    channel = ExecChannel(home, "box")
    channel.start(*argv)
    out, end = channel.finish()
    channel.close()
    equal(end, {"status": 0}, f"{argv}: {out}")
    return out.decode()


def begun(home, repo):
    child = home.start("workspace", "prepare", "box", repo, "--include-untracked", "--force")
    wait_for("it is under way", PATIENCE, lambda: "banger-workspace" in in_guest(home, "ls", "-A", "/root"))
    return child


def scenario_a_guest_whose_sshd_hangs_or_that_reboots(home):
    repo = repository(home, "shop", {"a.txt": "a\n"})
    path = home.file("file", "x\n")
    home.banger("create", "box", *FLAGS)
    home.banger("workspace", "prepare", "box", repo)
    with open(os.path.join(repo, "noise"), "wb") as f:
        f.write(os.urandom(25 << 20))

    # In the middle of a prepare all of sshd stands still, also for those who come now.
    children = {"prepare that was under way": (begun(home, repo), 4)}
    in_guest(home, "killall", "-STOP", "dropbear")
    began = time.monotonic()
    for words, code in ((("ssh", "box", "--", "true"), 125), (("exec", "box", "--", "true"), 0), (("cp", path, "box:"), 4),
                        (("cp", "box:/etc/hostname", "."), 4), (("workspace", "export", "box"), 4)):
        children[" ".join(words)] = (home.start(*words), code)
    home.banger("ping", "box")
    equal(in_guest(home, "hostname"), "box\n", "what needs no ssh")
    for what, (child, code) in children.items():
        equal(child.wait(BOUND), code, what)
        said = child.stderr.read()
        check(not code or "box" in said, f"{what}: the VM is named: {said}")
    check(time.monotonic() - began < BOUND, "all of it is bounded")
    in_guest(home, "sh", "-c", "echo fresh > /root/fresh")
    began = time.monotonic()
    home.banger("stop", "box")
    check(time.monotonic() - began < 30, "stop needs no ssh")
    home.banger("start", "box")
    equal(home.ssh("box", "cat", "/root/fresh"), "fresh", "nothing was lost")
    home.banger("workspace", "prepare", "box", repo)

    # A reset in the middle, without a word to anybody.
    child = begun(home, repo)
    first = boot_id(home, "box")
    in_guest(home, "sh", "-c", "(sleep 0.2; echo b > /proc/sysrq-trigger) > /dev/null 2>&1 &")
    equal(child.wait(BOUND), 4, "prepare of a guest that reboots")
    text = child.stderr.read()
    check("vm 'box'" in text, text)
    wait_for("another boot", PATIENCE, lambda: home.vm("box")["boot_id"] not in (None, first) and home.vm("box")["ready"])
    home.banger("workspace", "prepare", "box", repo, "--force")
    equal(home.banger("exec", "box", "--", "cat", "a.txt").out, "a\n", "the next try")
    equal(home.ssh("box", "sh", "-c", "ls -A /root | grep banger-workspace; true"), "", "nothing half-made stays")


scenario_a_guest_whose_sshd_hangs_or_that_reboots.takes_minutes = True

"""run: a VM for one command, and what is left of it."""

import os
import signal
import subprocess
import time

from harness import BUILD, IN_LAB, PATIENCE, check, equal, wait_for
from test_workspace import git, repository, write

FLAGS = ("--memory", "128Mi", "--vcpus", "1", "--work-disk", "64Mi", "--system-disk", "512Mi")
if IN_LAB:
    FLAGS += ("--set", "ready={probe: ssh, timeout: 400s}")
AT_ONCE = 4 if IN_LAB else 8


def nothing_left(home):
    wait_for("no VM is left", PATIENCE, lambda: not home.vms())
    wait_for("no hypervisor is left", PATIENCE, lambda: not home.hypervisors())
    equal(home.vm_dirs(), [], "no directory is left")


def scenario_run_commands_and_workspaces(home):
    """A bad spec leaves nothing; a dry run; a bare one with status 42 and one with a repository and
    its untracked files at once; a shell."""
    repo = repository(home, "shop", {"tracked.txt": "from the host\n"})
    write(repo, "new.txt", "untracked\n")
    bad = home.banger("run", "--rm", *FLAGS, "--vcpus", "0", "--", "true", code=125)
    check("vcpus" in bad.err, bad)
    home.banger("run", "--rm", *FLAGS, os.path.join(home.work, "nowhere"), "--", "true", code=125)
    listed = home.banger("run", "--rm", repo, "--dry-run")
    equal(listed.out, "tracked.txt\n")
    equal(home.vms(), {}, "nothing was made so far")

    # Two at once: one bare, one with a repository and its untracked files.
    bare = home.start("run", "--rm", *FLAGS, "--", "sh", "-c", "echo bare-ok; exit 42")
    both = home.banger("run", "--rm", *FLAGS, repo, "--include-untracked", "--", "sh", "-c",
                       "pwd; cat tracked.txt new.txt")
    equal(both.out, "/root/repo\nfrom the host\nuntracked\n")
    out, err = bare.communicate(timeout=PATIENCE)
    equal((bare.returncode, out), (42, "bare-ok\n"), err)
    nothing_left(home)

    # A shell reads what it is given; without --rm the VM stays.
    kept = home.banger("run", "--name", "kept", *FLAGS, repo, "--branch", "topic", input="git branch --show-current; exit 7\n",
                       code=7)
    check("topic" in kept.out and "banger delete kept" in kept.err, kept)
    equal(home.banger("exec", "kept", "--", "cat", "tracked.txt").out, "from the host\n")
    home.banger("delete", "kept")


def scenario_run_rm_leaves_nothing_whatever_ends_it(home):
    # Killed while it runs, and while it boots.
    child = home.start("run", "--rm", "--name", "killed", *FLAGS, "--", "sleep", "600")
    early = home.start("run", "--rm", "--name", "early", *FLAGS, "--", "sleep", "600")
    wait_for("early is being made", PATIENCE, lambda: "early" in home.vms())
    early.kill()
    home.wait_state("killed", "ready")
    time.sleep(2)
    # A daemon that is killed and comes back has the client's word again.
    home.kill_daemon()
    equal(home.vms()["killed"]["ephemeral"], True)
    time.sleep(17)
    check("killed" in home.vms(), "the client lives, so does its VM")
    child.kill()
    nothing_left(home)

    # Ctrl-C: the whole group hears it.
    child = subprocess.Popen(
                             [os.path.join(BUILD, "banger"), "run", "--rm", "--name", "broken", *FLAGS, "--", "sleep", "600"],
                             env=home.env, cwd=home.work, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL, start_new_session=True)
    home.wait_state("broken", "ready")
    time.sleep(2)
    os.killpg(child.pid, signal.SIGINT)
    check(child.wait(PATIENCE) != 0, "an interrupted run is no success")
    nothing_left(home)

    # The daemon and the client both die: the next daemon takes the VM away.
    child = home.start("run", "--rm", "--name", "orphan", *FLAGS, "--", "sleep", "600")
    home.wait_state("orphan", "ready")
    home.kill_daemon()
    child.kill()
    home.banger("ps")
    nothing_left(home)


def scenario_eight_runs_and_one_is_killed(home):
    children = [home.start("run", "--rm", "--name", f"r{i}", *FLAGS, "--", "true") for i in range(AT_ONCE)]
    wait_for("r3 is being made", PATIENCE, lambda: "r3" in home.vms())
    children[3].kill()
    for i, child in enumerate(children):
        if i != 3:
            equal(child.wait(PATIENCE * 3), 0, child.stderr.read())
    nothing_left(home)

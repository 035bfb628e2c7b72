"""A large repository into a guest, and what restart, stop and delete do meanwhile."""

import os
import random
import subprocess
import time

from harness import IN_LAB, PATIENCE, check, equal, wait_for
from test_workspace import git

FILES, SIZE = (1000, 40 << 20) if IN_LAB else (5000, 200 << 20)


def large_repository(home):
    """One commit, as a clone has it: in a pack. Most of it cannot be compressed."""
    repo = os.path.join(home.work, "large")
    os.makedirs(repo)
    git(repo, "init", "-q", "-b", "main")
    git(repo, "config", "core.compression", "1")
    source = random.Random(5)
    importer = subprocess.Popen(["git", "-C", repo, "fast-import", "--quiet", "--depth=0"], stdin=subprocess.PIPE)
    put = importer.stdin.write
    put(b"commit refs/heads/main\ncommitter a <a@b> 1700000000 +0000\ndata 5\nlarge\n")
    text = b"a line of text as there are many\n" * 128
    for i in range(FILES):
        body = source.randbytes(SIZE // FILES - len(text)) + text
        put(b"M 100644 inline dir-%02d/file-%04d\ndata %d\n%s\n" % (i % 50, i, len(body), body))
    importer.stdin.close()
    equal(importer.wait(PATIENCE), 0, "git fast-import")
    git(repo, "reset", "-q", "--hard")
    return repo


def seconds(fn):
    began = time.monotonic()
    fn()
    return time.monotonic() - began


def by_hand(home, repo, limit):
    """What everybody would do: git archive HEAD | ssh NAME.vm tar -x. None: it takes longer than that."""
    ssh = ["ssh", "-F", os.path.join(home.state, "ssh_config"), "-o", "BatchMode=yes", "web.vm",
           "mkdir -p /root/hand && tar -x -C /root/hand && sync"]
    archive = subprocess.Popen(["git", "-C", repo, "archive", "HEAD"], stdout=subprocess.PIPE)
    try:
        return seconds(lambda: subprocess.run(ssh, stdin=archive.stdout, env=home.env, check=True, timeout=limit))
    except subprocess.TimeoutExpired:
        return None
    finally:
        archive.stdout.close()
        archive.wait()


def begun(home, repo):
    """A prepare that is under way: the guest unpacks it."""
    child = home.start("workspace", "prepare", "web", repo, "--force")
    wait_for("the guest unpacks", PATIENCE, lambda: "banger-workspace" in home.ssh("web", "ls", "-A", "/root"), 0.3)
    return child


def scenario_two_hundred_mebibytes(home):
    """5,000 files, 200 MiB: not slower than by hand, and in nobody's way."""
    repo = large_repository(home)
    home.banger("create", "web", "--memory", "256Mi", "--vcpus", "1", "--work-disk", "1Gi", "--system-disk", "512Mi")
    home.banger("ssh-config", "--install")
    for last in (False, True):
        ours = seconds(lambda: home.banger("workspace", "prepare", "web", repo, "--force", timeout=PATIENCE * 6))
        # Nobody has to wait for the end of what has lost already.
        hand = by_hand(home, repo, ours / 1.5)
        print(f"     prepare {ours:.1f} s, by hand {f'{hand:.1f} s' if hand else f'more than {ours / 1.5:.1f} s'}", flush=True)
        if not hand:
            break
        check(not last, f"prepare took {ours:.1f} s, by hand it is {hand:.1f} s, and so it was before")
        home.ssh("web", "rm", "-rf", "/root/hand")
    equal(home.ssh("web", "sh", "-c", "cd /root/repo && git status -s | wc -l && git ls-files | wc -l"), f"0\n{FILES}")

    # Nobody who ends or restarts the VM waits for it: it fails, and says with whom.
    for verb in ("restart", "stop", "delete"):
        child = begun(home, repo)
        took = seconds(lambda: home.banger(verb, "web"))
        # Had it waited, the prepare would have succeeded.
        check(child.wait(PATIENCE) in ((2, 4) if verb == "delete" else (4,)), f"prepare during {verb}: {child.returncode}")
        text = child.stderr.read()
        print(f"     {verb} {took:.1f} s; {text.splitlines()[0]}", flush=True)
        check("'web'" in text, f"prepare during {verb}: {text}")
        if verb == "stop":
            home.banger("start", "web")
    equal((home.vms(), home.vm_dirs(), home.hypervisors()), ({}, [], []), "nothing is left")


scenario_two_hundred_mebibytes.takes_minutes = True

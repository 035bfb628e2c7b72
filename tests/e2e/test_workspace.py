"""Repositories in guests, there and back. Few VMs, many looks at each."""

import os
import subprocess
import threading
import time

from harness import PATIENCE, check, equal, wait_for


def git(repo, *args, input=None):
    env = dict(os.environ, GIT_AUTHOR_NAME="a", GIT_AUTHOR_EMAIL="a@b", GIT_COMMITTER_NAME="a",
               GIT_COMMITTER_EMAIL="a@b", GIT_CONFIG_GLOBAL="/dev/null", GIT_CONFIG_SYSTEM="/dev/null")
    return subprocess.run(["git", "-C", repo, *args], env=env, check=True, capture_output=True,
                          input=input).stdout.decode("utf-8", "replace").strip()


def repository(home, name, files):
    repo = os.path.join(home.work, name)
    os.makedirs(repo)
    git(repo, "init", "-q", "-b", "main")
    for path, content in files.items():
        write(repo, path, content)
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "first")
    return repo


def write(repo, path, content):
    full = os.path.join(os.fsencode(repo), os.fsencode(path))
    os.makedirs(os.path.dirname(full), exist_ok=True)
    with open(full, "wb") as f:
        f.write(content.encode() if isinstance(content, str) else content)


def host_tree(repo):
    """The tree of the working tree, without touching the index."""
    index = os.path.join(repo, ".git", "test-index")
    env = dict(os.environ, GIT_INDEX_FILE=index)
    subprocess.run(["git", "-C", repo, "read-tree", "HEAD"], env=env, check=True)
    subprocess.run(["git", "-C", repo, "add", "-A"], env=env, check=True)
    tree = subprocess.run(["git", "-C", repo, "write-tree"], env=env, check=True, capture_output=True)
    os.unlink(index)
    return tree.stdout.decode().strip()


GUEST_TREE = ("cd /root/repo && export GIT_INDEX_FILE=.git/test-index && git read-tree HEAD && git add -A && "
              "git write-tree && rm .git/test-index")


def small(home, *names):
    for name in names:
        home.banger("create", name, "--memory", "128Mi", "--vcpus", "1", "--work-disk", "64Mi",
                    "--system-disk", "512Mi")


def scenario_a_workspace_there_and_back(home):
    """prepare, exec, diff, export with and without a base commit, hostile names and configurations."""
    repo = repository(home, "shop", {
        "a.txt": "one\n", "run.sh": "#!/bin/sh\n", "old/name.c": "int x;\n" * 30, "gone.txt": "x\n",
        "bin.dat": bytes(range(256)) * 8, ".gitignore": "*.log\nsecret\n",
        "with space and 'quotes\".txt": "q\n", "-dash": "d\n", "new\nline": "n\n", b"latin-\xe9": "l\n"})
    os.chmod(os.path.join(repo, "run.sh"), 0o755)
    os.symlink("/etc/passwd", os.path.join(repo, "outside"))
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "second")
    # What the working tree has and no commit: changed, removed, untracked, ignored.
    write(repo, "a.txt", "one\ntwo\n")
    os.unlink(os.path.join(repo, "gone.txt"))
    write(repo, "notes.txt", "untracked\n")
    write(repo, "debug.log", "ignored\n")
    write(repo, "secret", "ignored\n")
    # Nothing that it names may run.
    for key, value in (("core.fsmonitor", f"touch {home.dir}/ran; false"), ("core.hooksPath", f"{home.dir}/hooks"),
                       ("filter.evil.clean", f"touch {home.dir}/ran; cat"), ("filter.evil.smudge", f"touch {home.dir}/ran"),
                       ("diff.external", f"touch {home.dir}/ran"), ("core.sshCommand", f"touch {home.dir}/ran"),
                       ("core.pager", f"touch {home.dir}/ran")):
        git(repo, "config", key, value)
    with open(os.path.join(repo, ".git/info/attributes"), "w") as f:
        f.write("*.txt filter=evil diff=evil\n")
    git(repo, "config", "diff.evil.textconv", f"touch {home.dir}/ran")

    dry = home.banger("workspace", "prepare", "web", repo, "--dry-run")
    check("a.txt\n" in dry.out and "gone.txt" not in dry.out and "notes.txt" not in dry.out, dry)
    check("1 untracked file stays here" in dry.err, dry)
    check("notes.txt\n" in home.banger("workspace", "prepare", "web", repo, "--dry-run", "--include-untracked").out,
          "untracked files are listed when asked for")
    equal(home.vms(), {}, "a dry run makes nothing")

    small(home, "web")
    home.banger("workspace", "prepare", "web", repo)
    listing = home.ssh("web", "sh", "-c", "cd /root/repo && ls -A && cat a.txt && readlink outside && git status -s a.txt")
    check("one\ntwo" in listing and "/etc/passwd" in listing and "debug.log" not in listing, listing)
    check("gone.txt" not in listing and "secret" not in listing and "notes.txt" not in listing, listing)
    equal(home.ssh("web", "sh", "-c", "cd /root/repo && git log --oneline | wc -l && test -x run.sh && git branch --show-current"),
          "1\nmain")
    check(not os.path.exists(f"{home.dir}/ran"), "nothing of the repository's configuration was run")
    check(home.vm("web")["workspace"]["root"] == repo, "the daemon remembers")
    git(repo, "config", "--remove-section", "filter.evil")
    for key in ("core.fsmonitor", "diff.external", "core.pager", "core.hooksPath"):
        git(repo, "config", "--unset", key)
    os.unlink(os.path.join(repo, ".git/info/attributes"))
    os.unlink(os.path.join(repo, "notes.txt"))
    equal(home.ssh("web", "sh", "-c", GUEST_TREE), host_tree(repo), "the guest has what the disk had")

    # exec is in the workspace, and says when the host moved on.
    equal(home.banger("exec", "web", "--", "pwd").out, "/root/repo\n")
    equal(home.banger("exec", "web", "--", "sh", "-c", "exit 42", code=42).err, "")
    equal(home.banger("exec", "we", "--", "echo", "a b", "$HOME").out, "a b $HOME\n")

    # Work in the guest: committed, uncommitted, removed, renamed, new, binary.
    home.ssh("web", "sh", "-c",
             "cd /root/repo && git config user.email g@g && git config user.name g && echo committed > c.txt && "
             "git add c.txt && git commit -qm guest && git mv old/name.c old/renamed.c && rm bin.dat && "
             "printf '\\000\\001new' > new.bin && echo three >> a.txt && printf x > 'new\nline' && touch ignored.log")
    before = home.ssh("web", "sh", "-c", "cd /root/repo && git status --porcelain && sha256sum .git/index")
    check("c.txt" in home.banger("workspace", "diff", "web", "-o", "json").out, "diff names what was committed")
    patch = os.path.join(home.work, "work.patch")
    home.banger("workspace", "export", "web", "-o", patch)
    home.banger("workspace", "export", "web", "-o", patch, code=3)
    equal(home.ssh("web", "sh", "-c", "cd /root/repo && git status --porcelain && sha256sum .git/index"), before,
          "export leaves the guest's index as it was")
    check("banger-index" not in home.ssh("web", "ls", "/root/repo/.git"), "no index of ours is left")
    want = home.ssh("web", "sh", "-c", GUEST_TREE)
    copy = os.path.join(home.work, "copy")
    subprocess.run(["cp", "-a", repo, copy], check=True)
    git(copy, "apply", patch)
    equal(host_tree(copy), want, "the patch gives the guest's tree")
    check("ignored.log" not in open(patch, errors="replace").read(), "ignored files stay")
    # Against a commit: only what came after it.
    base = home.ssh("web", "git", "-C", "/root/repo", "rev-parse", "HEAD")
    named = home.banger("workspace", "export", "web", "--base-commit", base).out
    check("c.txt" not in named and "renamed.c" in named, "--base-commit compares with that")
    home.banger("workspace", "export", "web", "--base-commit", "0" * 40, code=2)

    # A workspace with work of its own is not replaced by accident.
    refused = home.banger("workspace", "prepare", "web", repo, code=3)
    check("workspace export web" in refused.err and "--force" in refused.err, refused)
    git(repo, "commit", "-qam", "third")
    moved = home.banger("exec", "web", "--", "cat", "c.txt")
    check(moved.out == "committed\n" and "--auto-prepare" in moved.err, moved)
    check("(moved)" in home.banger("ps").out, "ps says so too")
    check("git apply -3" in home.banger("workspace", "export", "web").err, "a moved base is told")
    home.banger("exec", "web", "--auto-prepare", "--", "true", code=125)
    home.banger("workspace", "prepare", "web", repo, "--force", "--branch", "fix", "--from", "HEAD~1")
    equal(home.ssh("web", "sh", "-c", "cd /root/repo && git branch --show-current && git status -s && cat a.txt"),
          "fix\none")
    home.banger("workspace", "prepare", "web", repo)
    git(repo, "commit", "-q", "--allow-empty", "-m", "fourth")
    equal(home.banger("exec", "web", "--auto-prepare", "--", "git", "rev-parse", "HEAD").out.strip(),
          git(repo, "rev-parse", "HEAD"))

    # Two at once take turns; one whose disk is full says so, and the next try works.
    first = home.start("workspace", "prepare", "web", repo)
    home.banger("workspace", "prepare", "web", repo)
    equal(first.wait(PATIENCE), 0, first.stderr.read())
    first.stderr.close()
    write(repo, "large", os.urandom(62 << 20))
    full = home.banger("workspace", "prepare", "web", repo, "--include-untracked", code=4)
    check("is full" in full.err and "work_disk" in full.err, full)
    os.unlink(os.path.join(repo, "large"))
    equal(home.ssh("web", "sh", "-c", "ls -A /root | grep -c banger-workspace; true"), "0", "nothing half-made stays")
    home.banger("workspace", "prepare", "web", repo)
    home.banger("delete", "web")


scenario_a_workspace_there_and_back.takes_minutes = True


def scenario_repositories_of_every_kind(home):
    """Bare, shallow, detached, worktree, metadata only, full with submodules, or a clear error."""
    origin = repository(home, "origin", {"a.txt": "a\n", "dir/b.txt": "b\n", "link": "x", "gone/deep/file": "x\n"})
    for i in range(3):
        git(origin, "commit", "-q", "--allow-empty", "-m", str(i))
    git(origin, "branch", "side")
    places = {}
    for name, args in (("bare", ["--bare"]), ("shallow", ["--depth", "1"]), ("detached", [])):
        places[name] = os.path.join(home.work, name)
        git(home.work, "clone", "-q", *args, "file://" + origin, places[name])
    git(places["detached"], "checkout", "-q", "--detach", "HEAD~1")
    places["worktree"] = os.path.join(home.work, "worktree")
    git(origin, "worktree", "add", "-q", places["worktree"], "side")
    parent = repository(home, "parent", {"top.txt": "t\n"})
    git(parent, "-c", "protocol.file.allow=always", "submodule", "--quiet", "add", origin, "lib/mod ule")
    git(parent, "commit", "-qm", "module")

    empty = os.path.join(home.work, "empty")
    os.makedirs(empty)
    small(home, "web")
    for source, said in ((empty, "not a git repository"), (os.path.join(home.work, "nowhere"), "No such file"),
                         (os.path.join(origin, ".git"), "own directory"), (os.path.join(origin, "a.txt"), "not a directory")):
        check(said in home.banger("workspace", "prepare", "web", source, code=None).err, said)
    git(empty, "init", "-q")
    check("no commits yet" in home.banger("workspace", "prepare", "web", empty, code=2).err, "no commits")
    refused = home.banger("workspace", "prepare", "web", parent, code=2)
    check("lib/mod ule" in refused.err and "--mode full" in refused.err, refused)
    check("cannot name a branch" in home.banger("workspace", "prepare", "web", origin, "--branch", "-x", code=2).err, "-x")
    check("no commit" in home.banger("workspace", "prepare", "web", origin, "--branch", "x", "--from", "--help", code=2).err, "ref")

    def there(command):
        return home.ssh("web", "sh", "-c", "cd /root/repo && " + command)

    for name, branch, commits in (("bare", "main", "1"), ("shallow", "main", "1"), ("detached", "", "1"), ("worktree", "side", "1")):
        home.banger("workspace", "prepare", "web", places[name])
        equal(there("git rev-parse HEAD && git log --oneline | wc -l && git status -s && cat dir/b.txt && git branch --show-current"),
              "\n".join([git(places[name], "rev-parse", "HEAD"), commits, "b", branch]).strip(), name)
        there("git fsck --no-dangling 2>&1 | grep -v notice; true")
    home.banger("workspace", "prepare", "web", origin, "--mode", "metadata")
    equal(there("ls -A && git rev-parse HEAD"), ".git\n" + git(origin, "rev-parse", "HEAD"))
    home.banger("workspace", "prepare", "web", parent, "--mode", "full")
    equal(there("git log --oneline | wc -l && cat 'lib/mod ule/dir/b.txt' && cd 'lib/mod ule' && git log --oneline | wc -l && git status -s"),
          "2\nb\n4")
    # A directory that became a link out of the tree, and a file that became a directory.
    subprocess.run(["rm", "-rf", os.path.join(origin, "gone"), os.path.join(origin, "link")], check=True)
    os.symlink("/etc", os.path.join(origin, "gone"))
    write(origin, "link/now/a-dir", "y\n")
    home.banger("workspace", "prepare", "web", origin, "--include-untracked", "--force")
    equal(there("readlink gone && cat link/now/a-dir && ls /etc/deep 2>/dev/null; true"), "/etc\ny")
    equal(home.ssh("web", "sh", "-c", GUEST_TREE), host_tree(origin))

    # A sparse file is what it is, on a disk of 64 MiB: 2 GiB of nothing by cp, in a workspace as much as the
    # guest's git hashes in a few seconds.
    sparse = os.path.join(origin, "sparse")
    for size, args in ((2 << 30, ("cp", sparse, "web:/root/repo/")),
                       (300 << 20, ("workspace", "prepare", "web", origin, "--include-untracked", "--force"))):
        with open(sparse, "wb") as f:
            f.truncate(size)
            f.seek(size // 2 - 1)
            f.write(b"edge")
        home.banger(*args, timeout=PATIENCE * 3)
        equal(there(f"stat -c %s sparse && tail -c +{size // 2} sparse | head -c 4 && rm sparse"), f"{size}\nedge", args[0])
    os.unlink(sparse)

    # A VM that goes away in the middle: a word that names it; it waits for nothing, the next works.
    with open(os.path.join(origin, "noise"), "wb") as f:
        f.write(os.urandom(45 << 20))
    child = home.start("workspace", "prepare", "web", origin, "--include-untracked", "--force")
    wait_for("it is under way", PATIENCE, lambda: "banger-workspace" in home.ssh("web", "ls", "-A", "/root"))
    began = time.monotonic()
    home.banger("kill", "web")
    check(time.monotonic() - began < 10, "kill waits for no workspace")
    equal(child.wait(PATIENCE), 4)
    text = child.stderr.read()
    check("vm 'web' went away" in text, text)
    home.banger("start", "web")
    os.unlink(os.path.join(origin, "noise"))
    home.banger("workspace", "prepare", "web", origin, "--force")
    home.banger("delete", "web")


scenario_repositories_of_every_kind.takes_minutes = True


def scenario_cp_and_ssh_config(home):
    """ssh-config there and back over a file of the user's, ssh and scp by it; cp both ways."""
    ssh_dir = os.path.join(home.env["HOME"], ".ssh")
    real = os.path.join(home.work, "dotfiles", "config")
    os.makedirs(ssh_dir, mode=0o700)
    os.makedirs(os.path.dirname(real))
    before = b"# mine\r\nHost *\r\n\tServerAliveInterval 5\r\nInclude other/*\n\n# end without newline"
    with open(real, "wb") as f:
        f.write(before)
    os.chmod(real, 0o640)
    config = os.path.join(ssh_dir, "config")
    os.symlink(real, config)
    home.banger("ssh-config", "--install")
    once = open(real, "rb").read()
    home.banger("ssh-config", "--install")
    equal(open(real, "rb").read(), once, "a second install changes nothing")
    equal(once.count(b"Include \""), 1)
    check(once.endswith(before), "what was there stays")
    small(home, "web", "web2")

    def ssh(*args):
        return subprocess.run(["ssh", "-F", config, "-o", "BatchMode=yes", *args], env=home.env, capture_output=True,
                              text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    done = ssh("web.vm", "hostname")
    equal((done.returncode, done.stdout), (0, "web\n"), done.stderr)
    path = home.file("scp me.txt", "by scp\n")
    subprocess.run(["scp", "-q", "-F", config, path, "web.vm:/root/x"], env=home.env, check=True, timeout=PATIENCE)
    equal(home.ssh("web", "cat", "/root/x"), "by scp")
    generated = os.path.join(home.state, "ssh_config")
    home.banger("delete", "web2")
    wait_for("the file forgets it", 5, lambda: "web2.vm" not in open(generated).read())

    # cp, both ways; names are names.
    tree = os.path.join(home.work, "tree $(x)")
    write(tree, "sub/-f 'q'", "deep\n")
    write(tree, "run", "#!/bin/sh\n")
    os.chmod(os.path.join(tree, "run"), 0o755)
    os.symlink("/etc/shadow", os.path.join(tree, "out"))
    home.banger("cp", tree, "web:")
    home.banger("cp", path, "web:/root/as this")
    equal(home.ssh("web", "cat", "/root/tree $(x)/sub/-f 'q'", "/root/as this"), "deep\nby scp")
    home.banger("cp", "web:tree $(x)", "back")
    equal(subprocess.run(["diff", "-r", "--no-dereference", tree, os.path.join(home.work, "back")]).returncode, 0)
    check(os.access(os.path.join(home.work, "back/run"), os.X_OK), "modes come back")
    home.banger("cp", "web:/root/x", ".")
    equal(open(os.path.join(home.work, "x")).read(), "by scp\n")
    check("there is no" in home.banger("cp", "web:/nope", ".", code=4).err, "a missing file is named")
    # Into a directory that is there, twice: the second time over the first.
    for content in ("once\n", "twice\n"):
        home.ssh("web", "sh", "-c", f"printf '{content}' > '/root/tree $(x)/sub/again'")
        write(home.work, "back/tree $(x)/own", "stays\n")
        home.banger("cp", "web:/root/tree $(x)", "back")
        equal(open(os.path.join(home.work, "back/tree $(x)/sub/again")).read(), content)
        equal(open(os.path.join(home.work, "back/tree $(x)/own")).read(), "stays\n")
    equal([n for n in os.listdir(home.work) if n.startswith(".banger")], [], "nothing half-made stays")

    # Names: a unique beginning is enough, except for what cannot be undone.
    small(home, "web3")
    two = home.banger("ssh", "we", "--", "true", code=125)
    check("web, web3" in two.err, two)
    home.banger("delete", "web3", "we", code=None)
    check("web" in home.vms(), "delete wants the whole name")
    equal(home.banger("ssh", "we", "--", "hostname").out, "web\n")
    home.banger("ssh-config", "--uninstall")
    equal(open(real, "rb").read(), before, "byte for byte what it was")
    check(os.path.islink(config) and os.stat(real).st_mode & 0o777 == 0o640, "link and mode are kept")
    os.unlink(config)
    home.banger("ssh-config", "--install")
    home.banger("ssh-config", "--uninstall")
    check(not os.path.exists(config), "a file that was not there is not there again")
    home.banger("delete", "web")

"""Workspaces that a spec wants: apply brings them, diff tells of a moved HEAD, nothing is lost."""

import os

from harness import check, equal
from test_workspace import git, repository, write


def head(repo):
    return git(repo, "rev-parse", "HEAD")


def advance(repo, text):
    write(repo, "a.txt", text)
    git(repo, "commit", "-qam", text)
    return head(repo)


def scenario_apply_prepares_workspaces(home):
    shop = repository(home, "shop", {"a.txt": "one\n"})
    os.makedirs(os.path.join(home.work, "docs"))
    wanted = "{source: ./shop, path: /root/work/the shop, branch: try%s}"

    def spec(extra=""):
        return home.spec(web=", workspace: " + wanted % extra, docs=", ready: agent, workspace: docs")

    # One whose source is no repository keeps nobody else from theirs.
    first = home.banger("apply", "-f", spec(), "--yes", code=2)
    check("vm 'docs'" in first.err and "not a git repository" in first.err, first)
    check("web:/root/work/the shop is " + shop in first.out, first)
    at = ["git", "-C", "/root/work/the shop"]
    equal(home.ssh("web", *at, "log", "--format=%H %S", "try"), head(shop) + " try")
    equal(home.banger("exec", "web", "--", "pwd").out, "/root/work/the shop\n")
    check("docs (missing)" in home.banger("ps").out, "ps names what is missing")
    git(home.work, "init", "-q", "-b", "main", "docs")
    git(os.path.join(home.work, "docs"), "commit", "-q", "--allow-empty", "-m", "first")
    before = home.banger("diff", "-f", spec(), code=1)
    check("workspace not prepared -> " + head(home.work + "/docs")[:7] in before.out, before)
    home.banger("apply", "-f", spec())
    check("(" not in home.banger("ps").out, "all are as they should be")
    equal(home.banger("diff", "-f", spec()).err, "", "nothing to do")
    shown = home.file("shown.yaml", home.banger("show", "docs", "web", "-o", "yaml").out)
    home.banger("diff", "-f", shown, "--take-over")

    # The host moves on.
    old, new = head(shop), advance(shop, "two\n")
    moved = home.banger("diff", "-f", spec(), code=1)
    check(f"workspace {old[:7]} -> {new[:7]} of {shop} (live)" in moved.out, moved)
    change = home.banger("diff", "-f", spec(), "-o", "json", code=1).json()["vms"][0]
    equal((change["name"], change["kind"], change["changes"][0]["key"]), ("web", "live", "workspace"))
    check("(moved)" in home.banger("ps").out, "ps says so too")
    pid = home.vm("web")["pid"]
    home.banger("apply", "-f", spec())
    equal(home.ssh("web", *at, "rev-parse", "HEAD"), new)

    # Work that is only in the guest stays, and the way on is named.
    home.ssh("web", "sh", "-c", "echo mine > '/root/work/the shop/mine'")
    newer = advance(shop, "three\n")
    kept = home.banger("apply", "-f", spec(), code=3)
    check("vm 'web'" in kept.err and "workspace export web" in kept.err and "prepare web --force" in kept.err, kept)
    equal(home.ssh("web", "cat", "/root/work/the shop/mine"), "mine")
    check("mine" in home.banger("workspace", "export", "web").out, "export knows its place")
    home.banger("workspace", "prepare", "web", "--force")
    equal(home.ssh("web", *at, "log", "-1", "--format=%H %S", "try"), newer + " try")
    home.banger("diff", "-f", spec())

    # auto_prepare is exec's default; without it a command runs where it is and is told.
    last = advance(shop, "four\n")
    stale = home.banger("exec", "web", "--", "git", "rev-parse", "HEAD")
    check(stale.out.strip() == newer and "--auto-prepare" in stale.err, stale)
    home.banger("apply", "-f", spec(", auto_prepare: true"), "--no-wait")
    equal(home.banger("exec", "web", "--", "git", "rev-parse", "HEAD").out.strip(), last)
    equal(home.vm("web")["pid"], pid, "it ran on through all of it")


def scenario_a_watched_directory_leaves_git_alone(home):
    home.fake_qemu()
    shop = repository(home, "shop", {"a.txt": "one\n"})
    home.file("specs/web.yaml", "version: 1\nstack: w\nvms:\n  web: {work_disk: 0, ready: none, workspace: ../shop}\n")
    home.banger("watch", os.path.join(home.work, "specs"))
    home.wait_state("web", "ready")
    shown = home.banger("ps").out
    check("shop (missing)" in shown and "has not been prepared" in shown, shown)

"""Watched directories: what a save does, and everything that must not be taken for a deletion."""

import os
import shutil
import subprocess
import time

from harness import PATIENCE, SMALL, check, equal, wait_for

QUIET = 2.0  # the loop waits so long before it deletes


def one(name, extra=", state: stopped"):
    return f"version: 1\nstack: fleet\nvms:\n  {name}: " + SMALL % extra + "\n"


def fleet(home, *names, extra=", state: stopped"):
    directory = os.path.join(home.work, "fleet")
    os.makedirs(directory, exist_ok=True)
    for name in names:
        home.file(f"fleet/{name}.yaml", one(name, extra))
    return directory


def settled(home, names, seconds=20):
    wait_for(f"VMs are {sorted(names)}, not {sorted(home.vms())}", seconds, lambda: sorted(home.vms()) == sorted(names), 0.1)


def stays(home, names, seconds=QUIET + 1.5):
    """Nothing is deleted over a quiet time and more."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        equal(sorted(home.vms()), sorted(names), "VMs")
        time.sleep(0.25)


def scenario_a_file_comes_changes_and_goes(home):
    directory = fleet(home)
    home.file("fleet/.keep", "")
    home.banger("watch", directory)
    home.file("fleet/web.yaml", one("web", ""))
    home.file("fleet/other.yaml", one("other"))
    home.wait_state("web", "ready")
    first = home.vm("web")["boot_id"]
    home.file("fleet/web.yaml", one("web", "").replace("vcpus: 1", "vcpus: 2"))
    wait_for("the edit converges", PATIENCE, lambda: home.vm("web")["ready"] and home.vm("web")["boot_id"] not in (None, first))
    equal(home.ssh("web", "nproc"), "2", "vcpus")
    listed = home.banger("watch", "--list", "-o", "json").json()
    equal([(w["stack"], w["path"], w["vms"]) for w in listed], [("fleet", directory, 2)], "watch --list")
    # The watch outlives the daemon.
    home.kill_daemon()
    home.vms()
    os.unlink(os.path.join(directory, "web.yaml"))
    began = time.monotonic()
    home.wait_gone("web", 30)
    check(time.monotonic() - began >= QUIET - 0.2, "not before two quiet seconds")
    equal(home.hypervisors(), [], "its process is gone")
    # After unwatch the VMs stay and are nobody's.
    home.banger("unwatch", directory)
    equal(home.vm("other")["stack"], None, "unowned")
    os.unlink(os.path.join(directory, "other.yaml"))
    stays(home, ["other"])


def scenario_trouble_deletes_nothing(home):
    names = [f"v{i}" for i in range(4)]
    directory = fleet(home, *names)
    home.banger("watch", directory)
    settled(home, names)
    # The directory vanishes, and comes back empty, then whole.
    shutil.move(directory, directory + ".away")
    stays(home, names)
    home.wait_log("nothing is deleted")
    os.mkdir(directory)
    stays(home, names)
    os.rmdir(directory)
    shutil.move(directory + ".away", directory)
    stays(home, names, 1)
    # A broken file keeps its VMs and stops every deletion.
    good = home.file("fleet/v0.yaml", one("v0"))
    home.file("fleet/v0.yaml", "version: 1\nstack: fleet\nvms:\n  v0: {imag: tiny}\n")
    os.unlink(os.path.join(directory, "v1.yaml"))
    stays(home, names)
    check("v0.yaml:4:" in home.log(), "the log names file and line")
    faults = home.banger("watch", "--list", "-o", "json").json()[0]
    check(not faults["complete"] and faults["faults"], f"watch --list shows it: {faults}")
    home.file("fleet/v0.yaml", one("v0"))
    home.wait_gone("v1", 30)
    # A file that is being written keeps its last good version.
    names.remove("v1")
    with open(good, "w") as half:
        half.write("version: 1\nstack: fleet\nvms:\n")
        half.flush()
        stays(home, names)
        half.write("  v0: " + SMALL % ", state: stopped" + "\n")
    stays(home, names)
    # An empty file says nothing; only `vms: {}` says none.
    home.file("fleet/v0.yaml", "")
    stays(home, names)
    home.file("fleet/v0.yaml", "version: 1\nstack: fleet\nvms: {}\n")
    home.wait_gone("v0", 30)
    names.remove("v0")
    if os.getuid() != 0:
        os.chmod(directory, 0)
        stays(home, names)
        os.chmod(directory, 0o755)
        stays(home, names, 1)
    equal(home.boots(), 0, "boots")


def scenario_the_guard_holds_half(home):
    names = [f"v{i}" for i in range(8)]
    directory = fleet(home, *names)
    home.banger("watch", directory)
    settled(home, names)
    for name in names[:7]:
        os.unlink(os.path.join(directory, name + ".yaml"))
    stays(home, names)
    home.wait_log("would delete 7 of 8, run banger apply --prune-all")
    # Small steps add up: four may go within ten minutes, not a fifth.
    for name in names[1:7]:
        home.file(f"fleet/{name}.yaml", one(name))
    settled(home, names[1:], 30)
    for index in (1, 2, 3):
        os.unlink(os.path.join(directory, names[index] + ".yaml"))
        settled(home, names[index + 1:], 30)
    os.unlink(os.path.join(directory, names[4] + ".yaml"))
    stays(home, names[4:])
    home.wait_log("would delete 1 of")
    # ... over a restart of the daemon as well.
    home.kill_daemon()
    home.vms()
    stays(home, names[4:])
    home.banger("apply", "-f", directory, "--prune-all", "--yes")
    settled(home, names[5:])
    equal(home.boots(), 0, "boots")


def scenario_every_way_of_saving(home):
    names = ["a", "b", "c"]
    directory = fleet(home, *names)
    home.banger("watch", directory)
    settled(home, names)
    path = os.path.join(directory, "a.yaml")

    def saved(content, label):
        check(content, "something to look for")
        wait_for(f"{label} is seen", 10, lambda: home.vm("a")["labels"].get("saved") == label, 0.05)
        equal(sorted(home.vms()), names, f"nothing lost by {label}")

    def text(label):
        return one("a", f", state: stopped, labels: {{saved: {label}}}")
    # vim: backup by rename, a new file, the backup removed, a probe called 4913, a swap file
    for junk in ("4913", ".a.yaml.swp"):
        open(os.path.join(directory, junk), "w").close()
    os.rename(path, path + "~")
    home.file("fleet/a.yaml", text("vim"))
    os.unlink(path + "~")
    os.unlink(os.path.join(directory, "4913"))
    saved(1, "vim")
    # rename over
    home.file("fleet/.a.yaml.tmp", text("rename"))
    os.rename(os.path.join(directory, ".a.yaml.tmp"), path)
    saved(1, "rename")
    # git: unlink and create, a whole tree at a time
    git = ["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "-C", directory]
    subprocess.run(git + ["init", "-q", "-b", "main"], check=True)
    subprocess.run(git + ["add", "."], check=True)
    subprocess.run(git + ["commit", "-qm", "one"], check=True)
    subprocess.run(git + ["checkout", "-qb", "next"], check=True)
    home.file("fleet/a.yaml", text("git"))
    saved(1, "git")
    subprocess.run(git + ["commit", "-qam", "two"], check=True)
    subprocess.run(git + ["checkout", "-q", "main"], check=True)
    saved(1, "rename")
    subprocess.run(git + ["checkout", "-q", "next"], check=True)
    saved(1, "git")
    # rsync's way and a plain write in place
    home.file("fleet/.a.yaml.Xy12", text("rsync"))
    os.rename(os.path.join(directory, ".a.yaml.Xy12"), path)
    saved(1, "rsync")
    home.file("fleet/a.yaml", text("write"))
    saved(1, "write")
    # a storm of renames of things that do not count and of one that does
    for i in range(500):
        os.rename(path, os.path.join(directory, "z.yaml"))
        os.rename(os.path.join(directory, "z.yaml"), path)
    stays(home, names)
    equal(home.boots(), 0, "boots")


def scenario_switched_symlinks(home):
    """Kubernetes' way: files are links through ..data, which is switched by a rename."""
    directory = os.path.join(home.work, "fleet")
    os.makedirs(directory)

    def version(number, label):
        real = os.path.join(directory, f"..2026_{number}")
        os.makedirs(real)
        for name in "ab":
            with open(os.path.join(real, name + ".yaml"), "w") as f:
                f.write(one(name, f", state: stopped, labels: {{saved: {label}}}"))
        os.symlink(os.path.basename(real), os.path.join(directory, "..data_tmp"))
        os.rename(os.path.join(directory, "..data_tmp"), os.path.join(directory, "..data"))
        return real
    old = version(1, "one")
    for name in "ab":
        os.symlink(f"..data/{name}.yaml", os.path.join(directory, name + ".yaml"))
    home.banger("watch", directory)
    settled(home, ["a", "b"])
    version(2, "two")
    shutil.rmtree(old)
    wait_for("the switch is seen", 10, lambda: all(vm["labels"].get("saved") == "two" for vm in home.vms().values()))
    stays(home, ["a", "b"])
    # The watched path itself is a link that is switched.
    link = os.path.join(home.work, "current")
    other = os.path.join(home.work, "release2")
    os.makedirs(other)
    home.banger("unwatch", directory)
    os.symlink(directory, link)
    home.banger("apply", "-f", directory, "--yes", "--adopt", "--take-over", code=None)
    equal(home.boots(), 0, "boots")

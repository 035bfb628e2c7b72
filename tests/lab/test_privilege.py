"""Who may do what: hypervisors as users of their own, and the members of the machine's group."""

import contextlib
import json
import os
import shutil
import subprocess

from test_adopt import by_hand

from harness import BUILD, PATIENCE, Failed, Result, Rpc, check, equal, wait_for

BOOT = PATIENCE * 3
FIRST, COUNT = 2100000000, 65536
SHADOW = "/etc/shadow"
SMALL = ["--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi"]


def sh(*argv, code=0):
    done = subprocess.run(argv, capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    check(code is None or done.returncode == code, f"{argv}: exit {done.returncode}\n{done.stdout}{done.stderr}")
    return done.stdout


def status(pid):
    with open(f"/proc/{pid}/status") as f:
        return dict(line.rstrip("\n").split(":\t", 1) for line in f if ":\t" in line)


def as_user(user, *argv):
    """Exit status of a program that runs as the user of a VM."""
    return subprocess.run(["setpriv", f"--reuid={user}", f"--regid={user}", "--clear-groups", *argv], timeout=PATIENCE,
                          stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode


def owned_by_vms(*trees):
    """Files and processes of any user of the range."""
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        with contextlib.suppress(OSError):  # it ended meanwhile
            if FIRST <= os.stat(f"/proc/{pid}").st_uid < FIRST + COUNT:
                found.append(pid)
    for tree in trees:
        found += sh("find", tree, "-xdev", "(", "-uid", f"+{FIRST - 1}", "-o", "-gid", f"+{FIRST - 1}", ")").split()
    return found


def create(home, name, *flags):
    home.banger("create", name, "--memory", "128Mi", "--vcpus", "1", "--system-disk", "512Mi", *flags, timeout=BOOT)
    return home.vm(name)


def check_confined(pid, user):
    seen = status(pid)
    equal(seen["Uid"].split() + seen["Gid"].split(), [str(user)] * 8, "whom it runs as")
    for key in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        equal(int(seen[key], 16), 0, key)
    equal((seen["NoNewPrivs"], seen["Seccomp"]), ("1", "2"), "confined")
    kvm = os.stat("/dev/kvm").st_gid if os.path.exists("/dev/kvm") else None
    check(seen["Groups"].split() in ([], [str(kvm)], [str(user)]), f"its groups: {seen['Groups']}")
    with open(f"/proc/{pid}/limits") as f:
        check(any(line.split()[:5] == ["Max", "core", "file", "size", "0"] for line in f), "it leaves no core")


def planted(home, name, user, path):
    """What a hypervisor that fell to its guest could lay into its directory."""
    links = {entry: os.path.lexists(f"{path}/{entry}") for entry in ("console.log.1", "adopted.json", "root.img.tmp", "work.img.tmp")}
    for entry, there in links.items():
        equal(as_user(user, "ln", "-s", SHADOW, f"{path}/{entry}") == 0, not there, f"a link called {entry}")
    equal(as_user(user, "mkfifo", f"{path}/console.log.new"), 0, "a pipe")
    equal(as_user(user, "mkdir", "-p", f"{path}/deep" + "/d" * 200), 0, "directories")
    no_secret(home.banger("logs", name).out, "the console")
    home.kill_daemon()
    equal(home.vm(name)["adopted"], False, "whose process it is")
    with open(SHADOW) as f:
        check(f.read(), f"{SHADOW} is as it was")
    equal(os.stat(SHADOW).st_uid, 0, f"whose {SHADOW} is")


def scenario_every_hypervisor_has_a_user_of_its_own(home):
    """It reaches what is its VM's and nothing of another's; a deletion leaves nothing of its user."""
    a = create(home, "a", "--work-disk", "16Mi", "--network", "bridge")
    b = create(home, "b", "--work-disk", "16Mi")
    dirs = {vm["name"]: os.path.join(home.state, "vms", vm["id"]) for vm in (a, b)}
    users = {name: os.stat(path).st_gid for name, path in dirs.items()}
    check(users["a"] != users["b"] and all(FIRST <= user < FIRST + COUNT for user in users.values()), f"users: {users}")
    for vm in (a, b):
        check_confined(vm["pid"], users[vm["name"]])
    for name, other in (("a", "b"), ("b", "a")):
        user = users[name]
        equal(as_user(user, "test", "-r", f"{dirs[name]}/work.img"), 0, "its own disk")
        equal(as_user(user, "dd", f"if={dirs[name]}/initrd", "of=/dev/null"), 0, "its own initrd")
        for path in ("work.img", "initrd", "root.cow", "root.img", "host_key", "handles.json", "console.log"):
            if os.path.exists(f"{dirs[other]}/{path}"):
                check(as_user(user, "dd", f"if={dirs[other]}/{path}", "of=/dev/null", "count=1") != 0, f"{path} of {other}")
        device = f"/dev/mapper/banger-{(a if other == 'a' else b)['id']}"
        if os.path.exists(device):
            check(as_user(user, "dd", f"if={device}", "of=/dev/null", "count=1") != 0, f"{device} of {other}")
        for path in (dirs[other], os.path.join(home.state, "vms"), home.state):
            check(as_user(user, "touch", f"{path}/planted") != 0, f"a file in {path}")
        check(as_user(user, "rm", "-f", f"{dirs[name]}/handles.json") != 0, "it takes away what is the daemon's")
        check(as_user(user, "ls", home.state) != 0, "lists what there is")
        for secret in ("banger.db", "keys/id_ed25519"):
            check(as_user(user, "cat", f"{home.state}/{secret}") != 0, secret)
        check(as_user(user, "cat", "/etc/shadow") != 0, "the machine's passwords")
    image = sh("find", f"{home.state}/images/", "-name", "rootfs.ext4").split()[0]
    check(as_user(users["a"], "dd", "if=/dev/null", f"of={image}", "conv=notrunc") != 0, "writes to an image")
    # The next bangerd knows them; a stop and a start change nobody's user.
    home.kill_daemon()
    equal((home.vm("a")["pid"], home.vm("b")["pid"]), (a["pid"], b["pid"]), "known to the next bangerd")
    home.banger("restart", "b", timeout=BOOT)
    equal(os.stat(dirs["b"]).st_gid, users["b"], "its user after a restart")
    check_confined(home.vm("b")["pid"], users["b"])
    planted(home, "a", users["a"], dirs["a"])
    home.banger("delete", "a", "b", "--yes")
    with contextlib.suppress(Failed):
        wait_for("nothing is left of their users", 60, lambda: not owned_by_vms(home.dir, "/dev", "/run"), 0.5)
    equal(owned_by_vms(home.dir, "/dev", "/run"), [], "left of their users")


# What of root's powers bangerd keeps: chown, dac_override, fowner, kill, setgid, setuid, setpcap, net_bind_service,
# net_admin, sys_chroot, sys_ptrace, sys_admin, mknod.
KEPT = sum(1 << bit for bit in (0, 1, 3, 5, 6, 7, 8, 10, 12, 18, 19, 21, 27))


class Person:
    """An ordinary user of the lab for a while."""

    def __init__(self, home, name, groups=()):
        self.name, self.env = name, dict(home.env, HOME=os.path.join(home.dir, name))
        self.env.pop("XDG_RUNTIME_DIR")
        sh("useradd", "--no-create-home", "--home-dir", self.env["HOME"], *(["--groups", ",".join(groups)] if groups else []), name)
        os.makedirs(self.env["HOME"])
        shutil.chown(self.env["HOME"], name, name)

    def run(self, *argv, code=0, timeout=BOOT, stdin=""):
        done = subprocess.run(["setpriv", "--reuid", self.name, "--regid", self.name, "--init-groups", *argv], env=self.env,
                              capture_output=True, text=True, input=stdin, timeout=timeout, cwd=self.env["HOME"])
        result = Result(argv, done.returncode, done.stdout, done.stderr)
        check(code is None or done.returncode == code, result)
        return result

    def banger(self, *argv, **more):
        return self.run(os.path.join(BUILD, "banger"), "--system", *argv, **more)

    def path(self, name):
        return os.path.join(self.env["HOME"], name)

    def file(self, name, text):
        """Hers, and nobody else can read it."""
        path = self.path(name)
        with open(path, "w") as f:
            f.write(text)
        os.chmod(path, 0o600)
        shutil.chown(path, self.name, self.name)
        return path

    def end(self):
        subprocess.run(["userdel", self.name], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=PATIENCE)


RAW = """
import fcntl, json, os, sys
sys.path.insert(0, sys.argv[1])
from harness import Rpc
class Home: socket_path = sys.argv[2]
rpc = Rpc(Home)
def memory(text):
    fd = os.memfd_create("x", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.write(fd, text.encode())
    fcntl.fcntl(fd, fcntl.F_ADD_SEALS, 15)
    return fd
for method, params, text in json.load(sys.stdin):
    if text is not None:
        params["documents"] = [{"name": "/x.yaml", "directory": "/etc", "length": len(text)}]
    print(json.dumps(rpc.call(method, params, [memory(text)] if text is not None else [])))
"""

SPECS = {
    "keys": "version: 1\nstack: s\nvms: {x: {ssh_keys: [/etc/shadow]}}\n",
    "keys, relative": "version: 1\nstack: s\nvms: {x: {ssh_keys: [../../../../../../../../../../../etc/shadow]}}\n",
    "keys, by defaults": "version: 1\nstack: s\ndefaults: {ssh_keys: [/etc/shadow]}\nvms: {x: {}}\n",
    "keys, ours by a link": "version: 1\nstack: s\nvms: {x: {ssh_keys: [HOME/link]}}\n",
    "a reader": "version: 1\nstack: s\nvms: {x: {reader: 0}}\n",
    "a file's reader": "version: 1\nstack: s\nvms: {x: {files: [{source: /etc/shadow, path: /x, reader: 0}]}}\n",
    "kernel": "version: 1\nstack: s\nvms: {x: {kernel: /etc/shadow}}\n",
    "image": "version: 1\nstack: s\nvms: {x: {image: ../../../../etc/shadow}}\n",
}
REFUSED = [
    ["vm.create", {"name": "x", "set": ["reader=0"]}, None],
    ["vm.create", {"name": "x", "set": ["ssh_keys=/etc/shadow"]}, None],
    ["vm.create", {"name": "x", "set": ["kernel=/etc/shadow"]}, None],
    ["vm.set", {"name": "m", "set": ["ssh_keys=/etc/shadow"]}, None],
    ["vm.logs", {"name": "../../../../../etc/shadow"}, None],
    ["image.pull", {"name": "../../../../etc/shadow"}, None],
    ["image.show", {"name": "../../../../etc/shadow"}, None],
    ["watch.add", {"path": "/etc"}, None],
    ["watch.remove", {"path": "/etc"}, None],
    ["host.adopt", {"socket": "/etc/shadow"}, None],
    ["host.adopt", {"pid": 1}, None],
    ["shutdown", {}, None],
    ["doctor", {"fix": True}, None],
]


def no_secret(text, what):
    with open(SHADOW) as f:
        words = [line.strip() for line in f if line.strip()]
    for word in words:
        check(word not in text, f"{what} tells of {SHADOW}: {text[:2000]}")


def member_uses_a_vm(alice, home):
    alice.banger("create", "m", *SMALL)
    equal(alice.banger("ssh", "m", "--", "cat", "/proc/sys/kernel/hostname").out, "m\n", "ssh")
    equal(alice.banger("exec", "m", "--", "echo", "hello").out, "hello\n", "exec")
    path = alice.file("note", "carried\n")
    alice.banger("cp", path, "m:/tmp/note")
    alice.banger("cp", "m:/tmp/note", os.path.join(alice.env["HOME"], "back"))
    with open(os.path.join(alice.env["HOME"], "back")) as f:
        equal(f.read(), "carried\n", "there and back")
    check("m" in alice.banger("ps").out, "ps")
    alice.banger("logs", "m")
    said = alice.banger("doctor", code=None)
    check(said.code in (0, 4) and "CHECK" in said.out, f"she may look at the host: {said}")
    said = alice.banger("doctor", "--fix", code=None)
    check(said.code not in (0, 4) and "use sudo" in said.err, f"and not have it changed: {said}")
    check(any(one.get("who") == "alice" for one in home.banger("history", "-o", "json").json()), "who made it, in the history")


def member_reads_no_file_of_roots(alice, home):
    os.symlink(SHADOW, alice.path("link"))
    os.makedirs(alice.path("specs"), 0o755)
    os.symlink(SHADOW, alice.path("specs/a.yaml"))
    for source in (SHADOW, alice.path("link"), alice.path("specs")):
        said = alice.banger("apply", "-f", source, "--yes", code=None)
        check(said.code != 0 and "Permission denied" in said.err, said)
    for what, text in SPECS.items():
        path = alice.file("spec.yaml", text.replace("HOME", alice.env["HOME"]))
        said = alice.banger("apply", "-f", path, "--yes", code=None)
        check(said.code != 0, f"{what}: {said}")
        no_secret(str(said), what)
        if what.startswith("keys"):
            check("you cannot read '/" in said.err and "spec.yaml" in said.err, said)
    # Root's own spec names a file: it is not for a member to want that again.
    rpc = Rpc(home)
    made = rpc.call("vm.create", {"name": "roots", "start": False, "set": ["files=/etc/hostname:/x", "work_disk=0"]})
    rpc.close()
    check("result" in made, f"root may: {made}")
    past = next(one["rev"] for one in home.banger("history", "-o", "json").json() if one["kind"] == "create" and "roots" in json.dumps(one))
    asked = REFUSED + [["apply", {"rollback": past}, None]] + [[method, {"stack": "s"}, text.replace("HOME", alice.env["HOME"])]
                       for text in SPECS.values() for method in ("plan", "apply")]
    answers = alice.run("python3", "-c", RAW, os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + "/e2e", home.socket_path,
                        stdin=json.dumps(asked)).out.splitlines()
    equal(len(answers), len(asked), "every request was answered")
    no_secret("\n".join(answers), "an answer")
    for request, answer in zip(asked, map(json.loads, answers)):
        result = answer.get("result") or {}
        plan = result.get("plan") or {}
        # An image that is not there yet is a plan's, and fails to be pulled.
        check(answer.get("error") or result.get("faults") or (request[0] == "plan" and plan) or "image:" in (request[2] or ""),
              f"{request}: {answer}")
    check(not any(vm["name"] == "x" and vm["state"] not in ("failed", "pending", "creating") for vm in home.banger("ps", "-o", "json").json()), "no such VM runs")
    check(home.daemon_pid(), "bangerd goes on")


FILES = {
    SHADOW: "Permission denied",
    "HOME/link": "Permission denied",
    "/proc/PID/root/etc/shadow": "Permission denied",
    "/proc/PID/environ": "Permission denied",
    "/proc/self/maps": "is not a regular file",
    "HOME/fifo": "is not a regular file",
    "HOME/large": "larger than 16 MiB",
    "HOME/gone": "No such file",
}


def her_files_go_in(alice, home):
    note, key = alice.file("note", "first\n"), alice.path("id")
    alice.file(".gitconfig", "[user]\n\tname = Alice Liddell\n")
    alice.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key)
    os.chmod(key + ".pub", 0o600)
    alice.banger("create", "m", *SMALL, "--set", f"files={note}:/root/note", "--set", f"ssh_keys={key}.pub")

    def inside(*argv):
        return alice.banger("ssh", "m", "--", *argv).out

    equal(inside("cat", "/root/note"), "first\n", "her file")
    check("Alice Liddell" in inside("cat", "/root/.gitconfig"), "her git identity")
    alice.banger("ssh-config", "--install")
    equal(alice.run("ssh", "-o", "BatchMode=yes", "m.vm", "cat", "/root/note").out, "first\n", "plain ssh")
    mine = alice.run("ssh", "-o", "BatchMode=yes", "-o", "IdentityFile=none", "-i", key, "-F", "none", "-o", "StrictHostKeyChecking=no",
                     "-o", "UserKnownHostsFile=/dev/null", f"root@{home.vm('m')['address']}", "-p", str(home.vm("m")["ssh_port"]), "echo", "mine")
    equal(mine.out, "mine\n", "her own key")
    alice.banger("ssh-config", "--uninstall")
    check(not os.path.exists(alice.path(".ssh/config")), "no trace of it")
    # Read anew at every start, by whichever bangerd and whoever starts it.
    alice.file("note", "second\n")
    home.kill_daemon()
    home.banger("restart", "m", timeout=BOOT)
    equal(inside("cat", "/root/note"), "second\n", "her file after a restart")
    check("Alice Liddell" in inside("cat", "/root/.gitconfig"), "her git identity after a restart")


def what_is_not_hers_does_not(alice, home):
    os.symlink(SHADOW, alice.path("link"))
    alice.run("mkfifo", alice.path("fifo"))
    os.truncate(alice.file("large", ""), (16 << 20) + 1)
    for source, why in FILES.items():
        source = source.replace("HOME", alice.env["HOME"]).replace("PID", str(home.daemon_pid()))
        alice.banger("create", "n", *SMALL, "--no-start", "--set", f"files={source}:/x")
        said = alice.banger("start", "n", code=None)
        check(said.code != 0 and why in said.err and "n" in said.err, f"{source}: {said}")
        no_secret(str(said) + alice.banger("why", "n", code=None).out + home.log(), source)
        alice.banger("delete", "n", "--yes")
    spec = alice.file("vms.yaml", "version: 1\nvms: {n: {memory: 128Mi, work_disk: 0, system_disk: 512Mi, files: [{source: ./link, path: /x}]}}\n")
    said = alice.banger("apply", "-f", spec, "--yes", code=None)
    check(said.code != 0 and "Permission denied (read as user" in said.err, said)
    alice.banger("delete", "-f", spec, "--yes")
    # Root's VM stays as it was whoever names a file in it, and its file is root's.
    secret = os.path.join(home.dir, "secret")
    with open(secret, "w") as f:
        f.write("root's\n")
    os.chmod(secret, 0o600)
    home.banger("create", "roots", *SMALL, "--no-start", "--set", f"files={secret}:/x")
    alice.banger("set", "roots", f"files={secret}:/y", "--yes")
    said = alice.banger("start", "roots", code=None)
    check(said.code != 0 and "Permission denied (read as user" in said.err, said)
    alice.banger("delete", "roots", "--yes")


def her_repositories(alice, home):
    repo, roots = alice.path("repo"), os.path.join(home.dir, "roots-repo")
    os.makedirs(roots, 0o700)
    sh("git", "init", "-q", roots)
    git = ["git", "-C", repo, "-c", "user.name=A", "-c", "user.email=a@b.c"]
    alice.run("git", "init", "-q", repo)
    alice.run("ln", "-s", SHADOW, os.path.join(repo, "passwords"))
    alice.run(*git, "add", "passwords")
    alice.run(*git, "commit", "-qm", "x")
    said = alice.banger("run", "--dry-run", repo)
    no_secret(str(said), "a link in a repository")
    alice.run("mkdir", alice.path("other"))
    alice.file("other/.git", f"gitdir: {roots}/.git\n")
    check(alice.banger("run", "--dry-run", alice.path("other"), code=None).code != 0, "root's repository")


@contextlib.contextmanager
def people(home):
    """alice, who is in the group, and mallory, who is not."""
    made = subprocess.run(["groupadd", "--system", "banger"], stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL).returncode == 0
    with contextlib.ExitStack() as ends:
        if made:
            ends.callback(sh, "groupdel", "banger", code=None)
        alice = Person(home, "alice", ["banger"])
        ends.callback(alice.end)
        mallory = Person(home, "mallory")
        ends.callback(mallory.end)
        yield alice, mallory


def scenario_members_bring_files_of_their_own(home):
    """files, ssh_keys, git identity and repositories of an ordinary member, at every start; nothing that he cannot read himself."""
    with people(home) as (alice, _):
        said = alice.banger("ps", code=None)
        check(said.code != 0 and "only root can start it" in said.err, said)
        home.banger("ps")
        her_files_go_in(alice, home)
        what_is_not_hers_does_not(alice, home)
        her_repositories(alice, home)
        alice.banger("delete", "m", "--yes")


def scenario_members_of_the_group_use_vms_and_read_nothing(home):
    """create, ssh, exec, cp, delete as an ordinary member; no file of root's by any request; nobody else is let in."""
    with people(home) as (alice, mallory):
        home.banger("ps")
        held = status(home.daemon_pid())
        equal((int(held["CapEff"], 16), int(held["CapPrm"], 16), int(held["CapBnd"], 16), int(held["CapInh"], 16)),
              (KEPT, KEPT, KEPT, 0), "what bangerd can do")
        socket = os.stat(home.socket_path)
        equal((socket.st_mode & 0o7777, socket.st_uid, sh("stat", "-c", "%G", home.socket_path).strip()), (0o660, 0, "banger"), "the socket")
        said = mallory.banger("ps", code=None)
        check(said.code != 0 and "usermod -aG banger" in said.err, said)
        member_uses_a_vm(alice, home)
        member_reads_no_file_of_roots(alice, home)
        check(alice.run("cat", os.path.join(home.state, "keys", "id_ed25519"), code=None).code != 0, "root's key")
        alice.banger("delete", "m", "--yes")
        home.banger("delete", "roots", "--yes")


def scenario_adopting_opens_no_foreign_file(home):
    """An overlay over a file that is no image of banger's, and a disk that somebody replaces meanwhile, are refused."""
    home.banger("create", "a", *SMALL, "--no-start")  # brings kernel and image
    kernel = f"{home.state}/kernels/names/debian-cloud/vmlinuz"
    base, disk = os.path.join(home.work, "base.img"), os.path.join(home.work, "disk.img")
    for path in (base, disk):
        sh("mke2fs", "-q", "-t", "ext4", path, "16M")
    sh("qemu-img", "create", "-q", "-f", "qcow2", "-b", base, "-F", "raw", os.path.join(home.work, "over.qcow2"))

    def hand(name, file, kind):
        directory = os.path.join(home.work, name)
        child = by_hand(home, directory, "-S", "-machine", "q35", "-m", "128M", "-kernel", kernel, "-qmp", "unix:control,server=on,wait=off",
                        "-drive", f"file={file},if=virtio,format={kind}")
        # The monitor is there before the disks are opened.
        wait_for("it answers", BOOT, lambda: home.banger("adopt", str(child.pid), "--image", "tiny", code=None).code == 0, 0.5)
        return child.pid

    over = hand("over", os.path.join(home.work, "over.qcow2"), "qcow2")
    said = home.banger("adopt", str(over), "--take", "--name", "x", "--image", "tiny", code=3)
    check("overlay of" in said.err and base in said.err, said)
    raw = hand("raw", disk, "raw")
    os.rename(disk, disk + ".gone")
    sh("mke2fs", "-q", "-t", "ext4", disk, "16M")
    said = home.banger("adopt", str(raw), "--take", "--name", "x", "--image", "tiny", code=3)
    check("is not the file that process" in said.err, said)
    equal(os.stat(disk).st_uid, 0, "whose the file is")
    os.unlink(disk)
    os.rename(disk + ".gone", disk)
    home.banger("adopt", str(raw), "--take", "--name", "x", "--image", "tiny")
    equal(home.vm("x")["pid"], raw, "the right one is taken")
    home.banger("kill", "x")
    home.banger("delete", "x", "a", "--yes")

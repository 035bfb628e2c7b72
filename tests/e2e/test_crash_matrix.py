"""bangerd dies before and after every step of every action, is started again, and all is as if nothing had been.

The points are those of the tables in the code (`bangerd --list-steps`), so a new step is in the matrix by being there and
an action that is in no scenario fails. Most of it runs on tests/fake/qemu.c: the faults are bangerd's, a guest adds
nothing but time. test_faults.py and test_soak.py have a sample of it on real VMs."""

import collections
import os
import shutil
import signal
import subprocess

import harness
from harness import Failed, equal, wait_for

FLAGS = ("--image", "tiny", "--memory", "128Mi", "--vcpus", "1", "--work-disk", "16Mi", "--system-disk", "512Mi")
MARK, MARK_AT = b"what the user wrote", 9 << 20
# Between fork and exec of a hypervisor: not steps, and the most delicate moments there are.
SPAWN = ["spawn-forked", "spawn-before-exec", "spawn-after-exec"]


def steps():
    """action -> its steps in order; the same step may come twice."""
    bangerd = os.path.join(harness.BUILD, "bangerd")
    lines = subprocess.run([bangerd, "--list-steps"], check=True, capture_output=True, text=True, timeout=60).stdout
    found = collections.defaultdict(list)
    for line in lines.splitlines():
        action, step = line.split("\t")
        found[action].append(step)
    return found


def points(action):
    """"before seed", "after directory@2": as BANGER_FAILPOINT wants them."""
    seen = collections.Counter()
    found = []
    for step in steps()[action]:
        seen[step] += 1
        nth = f"@{seen[step]}" if seen[step] > 1 else ""
        found += [f"before {step}{nth}", f"after {step}{nth}"]
    return found


class Matrix:
    """One VM called box, and what is found to be wrong with it after each death."""

    def __init__(self, home):
        self.home = home
        self.point = "-"
        self.faults = collections.defaultdict(list)
        self.visited = 0
        self.files = {}  # state -> names in the VM's directory when all went well

    # --- what must never be ---
    def fault(self, kind, text):
        self.faults[kind].append(f"{self.point}: {text}")

    def runs(self):
        """The hypervisors, and a fault when there are two."""
        pids = self.home.hypervisors()
        if len(pids) > 1:
            self.fault("double starts", f"hypervisors {pids}")
        return pids

    def settle(self, *states):
        """Waits until the box is so; NULL state: until it is gone."""
        def probe():
            self.runs()
            vm = self.home.vms().get("box")
            return (vm or {"state": None})["state"] in states and (vm or True)
        try:
            return wait_for(f"box is {states}", harness.PATIENCE, probe, 0.1)
        except Failed:
            vm = self.home.vms().get("box")
            self.fault("lost" if not vm or vm["state"] == "failed" else "stuck", f"wanted {states}, it is {vm}")
            return None

    def disk(self):
        return os.path.join(self.home.state, "vms", self.home.vm("box")["id"], "work.img")

    def write_mark(self):
        with open(self.disk(), "r+b") as f:
            f.seek(MARK_AT)
            f.write(MARK)

    def look(self, state, mark=True):
        """After the next daemon had its time: one VM, one directory, one hypervisor or none, the user's data."""
        home = self.home
        vm = self.settle(state)
        if not vm:
            return
        pids = self.runs()
        if pids != ([vm["pid"]] if state == "ready" else []):
            self.fault("leaked", f"hypervisors {pids}, it says {vm.get('pid')}")
        if home.vm_dirs() != [vm["id"]]:
            self.fault("leaked", f"directories {home.vm_dirs()}, it has {vm['id']}")
        names = set(os.listdir(os.path.join(home.state, "vms", vm["id"])))
        extra = names - self.files.setdefault(state, names)
        if extra:
            self.fault("leaked", f"files {sorted(extra)}")
        if state == "ready" and vm["reason"]:
            self.fault("stuck", vm["reason"])
        if mark:
            with open(self.disk(), "rb") as f:
                f.seek(MARK_AT)
                if f.read(len(MARK)) != MARK:
                    self.fault("lost", "what the user wrote on the work disk")
        self.no_orphans()

    def gone(self):
        self.settle(None)
        if self.home.vm_dirs() or self.runs():
            self.fault("leaked", f"directories {self.home.vm_dirs()}, hypervisors {self.runs()}")
        self.no_orphans()

    def no_orphans(self):
        """A daemon that begins sweeps in its own time, and it may just have begun."""
        def orphans():
            return self.home.banger("resources", "--orphans", "-o", "json").json()
        try:
            wait_for("no orphans", 20, lambda: not orphans())
        except Failed:
            self.fault("leaked", f"orphans {[(item['kind'], item['what']) for item in orphans()]}")

    # --- dying ---
    def die(self, point, *command):
        self.point = point
        daemon = self.home.doomed_daemon(point)
        child = self.home.start(*command)
        try:
            daemon.wait(harness.PATIENCE)
        except subprocess.TimeoutExpired:
            raise Failed(f"bangerd never came to '{point}' in {command}") from None
        equal(daemon.returncode, -signal.SIGKILL, f"bangerd died at '{point}'")
        child.kill()
        child.wait()
        self.visited += 1

    def end(self, wanted):
        for kind, texts in self.faults.items():
            print(f"{kind}: " + "; ".join(texts), flush=True)
        self.home.tally.update(points=len(wanted), visited=self.visited,
                               **{kind.replace(" ", "_"): len(texts) for kind, texts in self.faults.items()})
        equal({kind: len(texts) for kind, texts in self.faults.items()}, {}, "faults")
        equal(self.visited, len(wanted), "points visited")


def of_box(home, action, before, command, after, extra=()):
    """Dies at every point of the action: before() brings the box to where the action begins."""
    home.fake_qemu()
    matrix = Matrix(home)
    wanted = points(action) + list(extra)
    for number, point in enumerate(wanted):
        before(matrix, number)
        matrix.die(point, *command(number))
        after(matrix, number)
    matrix.end(wanted)


def a_ready_box(matrix, number):
    if number == 0:
        matrix.home.banger("create", "box", *FLAGS)
        matrix.write_mark()
        matrix.look("ready")


def scenario_crash_matrix_create(home):
    def after(matrix, _):
        matrix.look("ready", mark=False)
        home.banger("delete", "box")
        matrix.gone()
    of_box(home, "create", lambda matrix, number: None, lambda number: ("create", "box", *FLAGS), after, SPAWN)


def scenario_crash_matrix_start(home):
    def before(matrix, number):
        a_ready_box(matrix, number)
        home.banger("stop", "box")
    of_box(home, "start", before, lambda number: ("start", "box"), lambda matrix, number: matrix.look("ready"), SPAWN)


def scenario_crash_matrix_stop(home):
    def after(matrix, _):
        matrix.look("stopped")
        home.banger("start", "box")
    of_box(home, "stop", a_ready_box, lambda number: ("stop", "box"), after)


def scenario_crash_matrix_restart(home):
    of_box(home, "restart", a_ready_box, lambda number: ("restart", "box"), lambda matrix, number: matrix.look("ready"),
           SPAWN)


def scenario_crash_matrix_delete(home):
    def before(matrix, number):
        matrix.home.banger("create", "box", *FLAGS)
    of_box(home, "delete", before, lambda number: ("delete", "box"), lambda matrix, number: matrix.gone())


def applied(home, action, changed, check):
    """The same with a file: changed(text, number) is what asks for the action."""
    spec = home.spec(box="")
    text = open(spec).read()

    def before(matrix, number):
        if number == 0:
            home.banger("apply", "-f", spec, "--yes")
            matrix.write_mark()
            matrix.look("ready")
        home.file("vms.yaml", changed(text, number))

    def after(matrix, number):
        home.banger("apply", "-f", spec, "--yes")
        matrix.look("ready")
        home.banger("diff", "-f", spec, code=0)
        check(matrix)
    of_box(home, action, before, lambda number: ("apply", "-f", spec, "--yes"), after)


def scenario_crash_matrix_reimage(home):
    # A system disk that shrinks is made anew.
    applied(home, "reimage", lambda text, number: text.replace("512Mi", f"{511 - number}Mi"), lambda matrix: None)


def scenario_crash_matrix_live(home):
    pids = set()

    def one_life(matrix):
        pids.add(home.vm("box")["pid"])
        if len(pids) > 1:
            matrix.fault("double starts", f"a live change started it anew: {pids}")
    applied(home, "live", lambda text, number: text.replace("image: tiny", f"image: tiny, labels: {{a: n{number}}}"),
            one_life)


# A recipe that makes the image the tests have already: what is looked at is the pull, not its making.
RECIPE = """#!/bin/sh
set -e
cp {source}/* "$1"/
chmod u+w "$1"/*
"""


def scenario_crash_matrix_pull(home):
    home.fake_qemu()
    matrix = Matrix(home)
    images = os.path.join(home.state, "images")
    source = os.path.realpath(os.path.join(harness.IMAGES, "state", "banger", "images", "names", "tiny"))
    share = os.path.join(home.dir, "share")
    shutil.copytree(os.path.join(harness.BUILD, "share"), share)
    with open(os.path.join(share, "images", "tiny.sh"), "w") as f:
        f.write(RECIPE.format(source=source))
    home.env["BANGER_SHARE"] = share
    home.own_cache()
    home.env["BANGER_GC_MIN_AGE_MS"] = "0"
    usual = set(os.listdir(images))  # the one image under its digest, names, locks
    wanted = points("pull")
    for point in wanted:
        if "tiny" in home.banger("image", "list", "-q").out.split():
            home.banger("image", "delete", "tiny", code=None)
        matrix.die(point, "image", "pull", "tiny")
        home.banger("image", "pull", "tiny", timeout=harness.PATIENCE * 2)
        digest = home.banger("image", "show", "tiny", "-o", "json").json()["digest"]
        if digest != os.path.basename(source):
            matrix.fault("lost", f"the image is {digest}")
        # What is half-made and nobody's goes when a daemon begins, in its own time.
        home.kill_daemon()
        home.vms()
        try:
            wait_for("the images are as usual", 20, lambda: set(os.listdir(images)) == usual)
        except Failed:
            matrix.fault("leaked", f"{sorted(set(os.listdir(images)) ^ usual)}")
    matrix.end(wanted)


def scenario_crash_matrix_gc(home):
    """A store that was lost, and half-made things: killed at each of them, the next gc goes on."""
    home.fake_qemu()
    cache = home.own_cache()
    matrix = Matrix(home)
    half = os.path.join(home.state, "images", ".building-1-0")
    partial = os.path.join(cache, "archives", "partial", "x.deb")
    # What only root's VMs leave is planted in the lab (lab/orphans).
    of_root = ("devices", "loop devices", "links", "rules", "jails")
    elsewhere = ("half-made files",)  # go at the start already: ledger/gc_takes_exactly_the_orphans
    wanted = [point for point in points("gc") if point.split(" ", 1)[1] not in of_root + elsewhere]
    for point in wanted:
        home.env.pop("BANGER_GC_MIN_AGE_MS", None)
        home.banger("create", "box", *FLAGS)
        home.banger("daemon", "stop")
        for name in os.listdir(home.state):
            if name.startswith("banger.db"):
                os.unlink(os.path.join(home.state, name))
        for path in (os.path.join(half, "rootfs.ext4"), partial):
            os.makedirs(os.path.dirname(path), exist_ok=True)
            open(path, "w").close()
        home.env["BANGER_GC_MIN_AGE_MS"] = "0"
        matrix.die(point, "gc", "--yes")
        home.banger("gc", "--yes")
        if home.banger("gc").out != "No orphans.\n" or os.path.exists(half) or os.path.exists(partial):
            matrix.fault("leaked", home.banger("resources", "--orphans").out)
        matrix.gone()
    matrix.end(wanted)


def scenario_crash_matrix_prepare(home):
    """On a real VM: what is killed is a daemon that a client and a guest are at work around."""
    repo = os.path.join(home.work, "repo")
    os.makedirs(repo)
    for command in (["init", "-q"], ["commit", "-q", "--allow-empty", "-m", "one"]):
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", *command], cwd=repo, check=True,
                       env=home.env)
    matrix = Matrix(home)
    home.banger("create", "box", *FLAGS[:-4], "--work-disk", "64Mi", "--system-disk", "512Mi")
    pid = home.vm("box")["pid"]
    wanted = points("prepare")
    for number, point in enumerate(wanted):
        with open(os.path.join(repo, "file"), "w") as f:
            f.write(f"{number}\n")
        subprocess.run(["git", "add", "file"], cwd=repo, check=True, env=home.env)
        subprocess.run(["git", "-c", "user.name=t", "-c", "user.email=t@example.org", "commit", "-q", "-m", point], cwd=repo,
                       check=True, env=home.env)
        matrix.die(point, "workspace", "prepare", "box", repo)
        vm = matrix.settle("ready")
        if vm and vm["pid"] != pid:
            matrix.fault("double starts", f"it ran as {pid}, now as {vm['pid']}")
        home.banger("workspace", "prepare", "box", repo)
        said = home.ssh("box", "sh", "-c", "cat /root/repo/file; ls -d /root/.banger-workspace.* 2> /dev/null || :")
        if said != str(number):
            matrix.fault("leaked" if said.startswith(str(number)) else "lost", f"in the guest: {said}")
        if matrix.runs() != [pid]:
            matrix.fault("leaked", f"hypervisors {matrix.runs()}")
    matrix.end(wanted)


def scenario_crash_matrix_has_every_action(home):
    del home
    here = {name[len("scenario_crash_matrix_"):] for name in globals() if name.startswith("scenario_crash_matrix_")}
    equal(set(steps()) - here, set(), "actions without a scenario")

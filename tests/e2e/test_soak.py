"""Cycles of edit, apply and kill -9 at random moments; afterwards host and file agree and nothing was lost.

BANGER_SOAK says how many (make soak: 1,000 on the stand-in, 20 on real VMs), BANGER_TEST_SEED which ones."""

import os
import random
import signal
import time

from harness import PATIENCE, Failed, check, equal, wait_for

MARK_AT = 9 << 20
NAMES = ["a", "b", "c", "d"]


def cycles(short):
    return int(os.environ.get("BANGER_SOAK", short))


class Fleet:
    """What the file says, and what must be true once it was applied."""

    def __init__(self, home, dice):
        self.home, self.dice = home, dice
        self.wanted = {}  # name -> {key: value}
        self.marked = {}  # name -> id whose work disk was written to
        self.disk_size = 512

    def edit(self):
        dice = self.dice
        name = dice.choice(NAMES)
        if name not in self.wanted:
            self.wanted[name] = {}
        elif dice.random() < 0.25:
            del self.wanted[name]
            return
        vm = self.wanted[name]
        change = dice.choice(["labels", "vcpus", "state", "reimage", "kernel_args", "none"])
        if change == "labels":
            vm["labels"] = "{n: n%d}" % dice.randrange(1000)
        elif change == "vcpus":
            vm["vcpus"] = dice.choice([1, 2])
        elif change == "state":
            vm["state"] = dice.choice(["running", "running", "stopped"])
        elif change == "kernel_args":
            vm["kernel_args"] = dice.choice(["loglevel=3", "loglevel=4"])
        elif change == "reimage" and self.disk_size > 400:
            self.disk_size -= 1
            vm["system_disk"] = f"{self.disk_size}Mi"

    def write(self):
        lines = ["version: 1", "stack: soak", "vms:" if self.wanted else "vms: {}"]
        for name, keys in sorted(self.wanted.items()):
            full = {"image": "tiny", "memory": "128Mi", "vcpus": 1, "work_disk": "16Mi", "system_disk": "512Mi", **keys}
            lines.append(f"  {name}: {{" + ", ".join(f"{key}: {value}" for key, value in full.items()) + "}")
        return self.home.file("vms.yaml", "\n".join(lines) + "\n")

    def disk(self, vm):
        return os.path.join(self.home.state, "vms", vm["id"], "work.img")

    def agrees(self, spec):
        """One apply more, undisturbed; then everything is as the file says."""
        home = self.home
        def apply():
            return home.banger("apply", "-f", spec, "--yes", "--prune-all", "--allow-data-loss", code=None, timeout=PATIENCE * 3)
        done = apply()
        while done.code == 3 and "the plan changed in the meantime" in done.err:
            done = apply()  # what the killed one began has ended between plan and apply
        equal(done.code, 0, f"{done}")
        home.banger("diff", "-f", spec, code=0)
        vms = home.vms()
        equal(sorted(vms), sorted(self.wanted), "the VMs")
        running = [vm for name, vm in vms.items() if self.wanted[name].get("state", "running") == "running"]
        equal([vm["state"] for vm in running], ["ready"] * len(running), "states")
        equal(home.hypervisors(), sorted(vm["pid"] for vm in running), "one hypervisor each")
        equal(home.vm_dirs(), sorted(vm["id"] for vm in vms.values()), "one directory each")
        equal(len({vm["address"] for vm in running}), len(running), "addresses of their own")
        for name in list(self.marked):
            if name not in vms:
                del self.marked[name]
        return vms

    def marks(self, vms):
        """The work disk of every VM is the one it always had, with what was written to it."""
        for name, vm in vms.items():
            with open(self.disk(vm), "r+b") as f:
                f.seek(MARK_AT)
                text = f"mark of {vm['id']}".encode()
                if self.marked.get(name) == vm["id"]:
                    equal(f.read(len(text)), text, f"work disk of {name}")
                else:
                    check(name not in self.marked, f"{name} was {self.marked.get(name)}, is {vm['id']}: a VM was made anew")
                    f.write(text)
                    self.marked[name] = vm["id"]


def dice_of(home):
    seed = int(os.environ.get("BANGER_TEST_SEED", random.randrange(1 << 30)))
    print(f"{home.name}: BANGER_TEST_SEED={seed}", flush=True)
    return random.Random(seed)


def kill_something(home, dice, longest):
    """bangerd at any moment, now and then a hypervisor too."""
    time.sleep(dice.random() * longest)
    pids = home.hypervisors()
    if pids and dice.random() < 0.2:
        try:
            os.kill(dice.choice(pids), signal.SIGKILL)
        except ProcessLookupError:
            pass
    pid = home.daemon_pid()
    if pid:
        os.kill(pid, signal.SIGKILL)
        wait_for("bangerd is dead", PATIENCE, lambda: home.daemon_pid() != pid)


def scenario_soak_on_the_stand_in(home):
    dice = dice_of(home)
    home.fake_qemu(ready=30, off=20)
    fleet = Fleet(home, dice)
    counted = cycles(40)
    for cycle in range(counted):
        fleet.edit()
        spec = fleet.write()
        child = home.start("apply", "-f", spec, "--yes", "--prune-all")
        kill_something(home, dice, 0.35)
        child.kill()
        child.wait()
        try:
            fleet.marks(fleet.agrees(spec))
        except Failed as failed:
            raise Failed(f"cycle {cycle}: {failed}") from None
        if cycle % 100 == 99:
            print(f"soak: {cycle + 1} of {counted} cycles", flush=True)
    home.tally.update(soak_cycles=counted)
    home.banger("delete", "-f", home.file("vms.yaml", "stack: soak\nvms: {}\n"), "--yes", code=None)


def scenario_soak_on_real_vms(home):
    dice = dice_of(home)
    fleet = Fleet(home, dice)
    counted = min(cycles(2), 20)
    kept = {}
    for cycle in range(counted):
        fleet.wanted.setdefault(dice.choice("ab"), {})
        fleet.wanted.setdefault("a", {})["kernel_args"] = dice.choice(["loglevel=3", "loglevel=4", "loglevel=5"])
        spec = fleet.write()
        child = home.start("apply", "-f", spec, "--yes")
        kill_something(home, dice, 6)
        child.kill()
        child.wait()
        try:
            for name, vm in fleet.agrees(spec).items():
                if name in kept:
                    equal(home.ssh(name, "cat", "/root/kept"), kept[name], f"file in /root of {name}")
                else:
                    kept[name] = vm["id"]
                    home.ssh(name, "sh", "-c", f"echo {vm['id']} > /root/kept; sync")
        except Failed as failed:
            raise Failed(f"cycle {cycle}: {failed}") from None
    home.tally.update(real_soak_cycles=counted)

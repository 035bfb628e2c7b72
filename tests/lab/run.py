#!/usr/bin/env python3
"""Runs scenarios as root in a Debian VM of its own: tests/lab/run.py [--shell] [NAME-PART …]

Builds the machine (tests/lab/image.sh) when its recipe changed, puts what was built into $BUILD and the
test images on a second disk, boots it under TCG, shows what the tests write and fetches /lab/out into
build/lab/results. A run that hangs is ended and shows the end of its console. No root is needed.

A host is one bangerd's: scenarios run one after another in a machine, and many are dealt out to as many
machines as there are processors. With a program in $BANGER_FIRECRACKER their guests are Firecracker's.
"""

import argparse
import concurrent.futures
import hashlib
import os
import re
import selectors
import shlex
import shutil
import subprocess
import sys
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "e2e"))
import harness  # noqa: E402
import run as e2e  # noqa: E402

ROOT = harness.ROOT
LAB = os.path.join(ROOT, "build", "lab")
PACKAGES = os.path.join(LAB, "packages")
RECIPE = ["tests/lab/image.sh", "scripts/images/lib.sh", "scripts/images/bootstrap.sh"]
DISK_SIZE = "16G"  # sparse
# A store into a page that a nested guest ran code from is looked up in all that was translated there, milliseconds
# each: the next guest's memory, which is made of the last one's, would be cleared for minutes. So translations are
# thrown away early, about once a boot, and pages are cleared by words (without erms), not by bytes.
ACCEL = "tcg,thread=multi,tb-size=32"
CPU = "max,erms=off,fsrm=off"
FEW = 8  # scenarios for which one machine is enough
MINUTES_EACH = 4  # of a scenario, at most and on the average
TREE = ["tests", "scripts", "schema", "examples", "packaging"]
os.environ["PATH"] += ":/usr/sbin:/sbin"


def image():
    """The machine's directory; its name says what it was made from."""
    digest = hashlib.sha256()
    for path in RECIPE:
        with open(os.path.join(ROOT, path), "rb") as f:
            digest.update(f.read())
    name = "image-" + digest.hexdigest()[:12]
    place = os.path.join(LAB, name)
    if not os.path.exists(os.path.join(place, "lab.json")):
        print("lab: building its machine, once; some minutes", flush=True)
        cache = os.environ.get("BANGER_TEST_CACHE", os.path.join(ROOT, "build", "test-cache"))
        subprocess.run([os.path.join(ROOT, RECIPE[0]), place, os.path.join(cache, "banger")], check=True,
                       stdin=subprocess.DEVNULL, timeout=3600)
    for other in os.listdir(LAB):
        if other.startswith("image-") and other != name:
            shutil.rmtree(os.path.join(LAB, other))
    return place


def packages():
    """Two versions of the package, of this tree, for scenarios that install it (`packages = True`)."""
    os.makedirs(PACKAGES, exist_ok=True)
    for version in ("0.0.1", "0.0.2"):
        print(f"lab: building the package {version}", flush=True)
        subprocess.run(["make", "-s", "deb", f"VERSION={version}", f"CC={os.environ.get('CC', 'cc')}"], cwd=ROOT, check=True,
                       stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=1800)
        shutil.copy(os.path.join(ROOT, "build", "deb", f"banger_{version}_amd64.deb"), PACKAGES)


def stage(place, parts, shell):
    """What the lab is to see as /lab: hard links, so it costs nothing."""
    shutil.rmtree(place, ignore_errors=True)
    os.makedirs(os.path.join(place, "run", "bin"))
    for tree in TREE:
        subprocess.run(["cp", "-al", os.path.join(ROOT, tree), place], check=True)
    built = os.path.relpath(harness.BUILD, ROOT)
    for folder, _, files in os.walk(harness.BUILD):
        target = os.path.join(place, os.path.relpath(folder, ROOT))
        wanted = [f for f in files if f.endswith(".cpio") or "/share/" in folder
                  or "." not in f and os.access(os.path.join(folder, f), os.X_OK)]
        for name in wanted:
            os.makedirs(target, exist_ok=True)
            os.link(os.path.join(folder, name), os.path.join(target, name))
    if os.path.isdir(PACKAGES):
        subprocess.run(["cp", "-al", PACKAGES, os.path.join(place, "run")], check=True)
    images = os.path.join(place, "build", "test-images", "state", "banger")
    os.makedirs(images)
    for store in ("images", "kernels"):
        subprocess.run(["cp", "-al", os.path.join(harness.IMAGES, "state", "banger", store), images], check=True)
    if "BANGER_FIRECRACKER" in os.environ:
        shutil.copy(os.environ["BANGER_FIRECRACKER"], os.path.join(place, "run", "bin", "firecracker"))
    words = {"build": built, "parts": " ".join(parts)}
    if shell:
        size = shutil.get_terminal_size()
        words["shell"] = f"rows {size.lines} cols {size.columns}"
    # What a caller of `make lab` may choose about its tests.
    words["env"] = "\n".join(f"export {name}={shlex.quote(os.environ[name])}" for name in ("BANGER_LEAK", "BANGER_TEST_SEED") if name in os.environ)
    for name, text in words.items():
        with open(os.path.join(place, "run", name), "w") as f:
            f.write(text + "\n")


def make_disk(path, place):
    if os.path.exists(path):
        os.unlink(path)
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-m", "0", "-L", "lab", "-d", place,
                    "-E", "root_owner=0:0,lazy_itable_init=1,nodiscard,assume_storage_prezeroed=1", path, DISK_SIZE],
                   check=True, stdout=subprocess.DEVNULL)
    shutil.rmtree(place)


def qemu(machine, disk, console, shell):
    serial = ["-chardev", "stdio,id=tests,signal=off", "-chardev", f"file,id=console,path={console}"]
    first, second = ("tests", "console") if shell else ("console", "tests")
    # It ends with whoever runs it, however that ends.
    return ["setpriv", "--pdeathsig", "KILL", "qemu-system-x86_64", "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "pc", "-accel", ACCEL, "-cpu", CPU, "-smp", "2", "-m", "3072",
            "-kernel", os.path.join(machine, "vmlinuz"), "-initrd", os.path.join(machine, "initrd"),
            "-append", "console=ttyS0 quiet loglevel=5 mitigations=off panic=-1 cryptomgr.notests systemd.show_status=no",
            "-drive", f"file={machine}/rootfs.ext4,format=raw,if=virtio,snapshot=on",
            "-drive", f"file={disk},format=raw,if=virtio,cache=unsafe,discard=unmap",
            *serial, "-serial", f"chardev:{first}", "-serial", f"chardev:{second}", "-device", "virtio-rng-pci"]


def tail(path, lines=40):
    with open(path, errors="replace") as f:
        return "".join(f.readlines()[-lines:])


def watch(process, deadline, mark):
    """Shows and returns what the tests write, line by line, and whether they ended before the deadline."""
    said, shown = b"", 0
    end = time.monotonic() + deadline
    ready = selectors.DefaultSelector()
    ready.register(process.stdout, selectors.EVENT_READ)
    while True:
        left = end - time.monotonic()
        if left <= 0:
            return said, False
        if ready.select(left):
            data = os.read(process.stdout.fileno(), 65536)
            said += data.replace(b"\r\n", b"\n")
            until = said.rfind(b"\n") + 1 if data else len(said)
            for line in said[shown:until].splitlines():
                print(mark + line.decode("utf-8", "replace"), flush=True)
            shown = until
            if not data:
                return said, True


def boot(command, console, deadline, mark):
    """All that was said; the machine is gone afterwards, whatever happens."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    said, ended = b"", False
    try:
        said, ended = watch(process, deadline * 60, mark)
        if ended:
            process.wait(timeout=30)
    finally:
        process.kill()
        process.wait()
    if not ended:
        print(f"{mark}FAIL the lab did not end within {deadline:g} minutes; the end of its console:\n{tail(console)}", flush=True)
    return said


def fetch(disk, results):
    """/lab/out -> build/lab/results; a disk that was cut off is mended first."""
    subprocess.run(["e2fsck", "-fy", disk], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
    subprocess.run(["debugfs", "-R", f"rdump /out {results}", disk], stderr=subprocess.DEVNULL, check=True)
    out = os.path.join(results, "out")
    if os.path.isdir(out):
        for name in os.listdir(out):
            os.rename(os.path.join(out, name), os.path.join(results, name))
        os.rmdir(out)


def in_machine(machine, results, parts, options, mark=""):
    """Scenarios in a machine of their own; how many passed and failed, the machine's own failure included."""
    shutil.rmtree(results, ignore_errors=True)
    os.makedirs(results)
    disk, console = os.path.join(results, "disk.ext4"), os.path.join(results, "console.txt")
    stage(os.path.join(results, "stage"), parts, options.shell)
    make_disk(disk, os.path.join(results, "stage"))
    command = qemu(machine, disk, console, options.shell)
    said = b""
    if options.shell:
        subprocess.run(command)
    else:
        said = boot(command, console, options.deadline or max(60, MINUTES_EACH * len(parts)), mark)
    fetch(disk, results)
    os.unlink(disk)
    if options.shell:
        return 0, 0
    with open(os.path.join(results, "tests.txt"), "wb") as f:
        f.write(said)
    last = re.findall(rb"^(\d+) passed, (\d+) failed\s*$", said, re.M)
    if last:
        return int(last[-1][0]), int(last[-1][1])
    print(f"{mark}FAIL the lab's tests did not come to their end; the end of its console:\n{tail(console)}", flush=True)
    return len(re.findall(rb"^ok   ", said, re.M)), 1


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--shell", action="store_true", help="a root shell on the console; ^A x does not end it, exit does")
    parser.add_argument("--deadline", type=float, default=float(os.environ.get("BANGER_LAB_DEADLINE", "0")), help="minutes")
    parser.add_argument("--machines", type=int, default=0, help="one for a few scenarios, else as many as processors, up to 4")
    parser.add_argument("--results", default="results", metavar="NAME", help="of a folder in build/lab")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    os.makedirs(LAB, exist_ok=True)
    os.environ["BANGER_LAB"] = "1"
    machine = image()
    todo = e2e.scenarios(options.parts) if options.parts or not options.shell else []
    e2e.prepare_images(e2e.wanted_images(todo))
    if any(e2e.attribute(one, "packages") for one in todo):
        packages()
    results = os.path.join(LAB, options.results)
    began = time.monotonic()
    count = options.machines or (1 if len(todo) <= FEW else min(4, os.cpu_count() or 1))
    if count == 1:
        sums = [in_machine(machine, results, options.parts, options)]
    else:
        shutil.rmtree(results, ignore_errors=True)
        titles = ["=" + title for _, _, title in todo]
        with concurrent.futures.ThreadPoolExecutor(count) as pool:
            sums = list(pool.map(lambda n: in_machine(machine, os.path.join(results, str(n)), titles[n::count], options, f"{n}| "),
                                 range(count)))
    if options.shell:
        return 0
    passed, failed = (sum(column) for column in zip(*sums))
    print(f"lab: {time.monotonic() - began:.0f} s, results and logs in {os.path.relpath(results, ROOT)}")
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

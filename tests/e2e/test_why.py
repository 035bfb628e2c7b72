"""`why` names the cause: one provoked failure after the other."""

import os
import signal
import socket
import subprocess

from harness import PATIENCE, check, equal, wait_for


def why(home, name):
    return home.banger("why", name, "-o", "json").json()


def names(home, name, *texts, seconds=PATIENCE):
    """Waits until `why` says all of it, to programs, to people, and the essence in ps."""
    def probe():
        said = why(home, name)
        essence = " ".join(str(said.get(k)) for k in ("reason", "note", "held_back", "waits_for", "error"))
        return said if all(t in essence for t in texts) else None
    try:
        said = wait_for(f"why {name} says {texts}", seconds, probe, 0.2)
    except AssertionError as late:
        raise AssertionError(f"{late}; it says {why(home, name)}") from None
    text = home.banger("why", name).out
    check(all(t in text for t in texts), f"in words as well\n{text}")
    if name in home.vms():
        check(home.vms()[name]["reason"], f"ps has a reason for '{name}'")
    return said


def scenario_why_names_the_cause(home):
    """Nine failures on the stand-in; the tenth, no space, needs a file system of its own."""
    home.fake_qemu()
    # A port that is taken.
    taken = socket.create_server(("127.0.0.1", 0))
    port = taken.getsockname()[1]
    spec = home.spec("a.yaml", "a", port=f", ports: ['{port}:80']")
    home.banger("apply", "-f", spec, "--yes", code=4)
    said = names(home, "port", str(port), "taken")
    check(said["tried"]["kind"] in ("create", "start") and said["tried"]["at_ms"], said)
    equal([f["key"] for f in said["fields"] if f["key"] == "state"], ["state"], "wanted running, and is not")
    # Backing off: when the next try is, and that it comes.
    said = wait_for("it backs off", PATIENCE, lambda: (lambda s: s.get("retry_at_ms") and s)(why(home, "port")))
    check("next try" in home.banger("why", "port").out, "in words")
    check("failed" in [e["kind"] for e in said["events"]], "what happened to it")
    taken.close()
    home.wait_state("port", "ready")
    said = why(home, "port")
    equal([said[k] if k in said else None for k in ("error", "retry_at_ms", "waits_for")], [None] * 3, "nothing is wrong")
    check(all(not f["differs"] for f in said["fields"]), said["fields"])
    # An image and a kernel that nobody has; a guest whose SSH never comes; one that waits for it.
    home.fake_qemu(ready=-1)
    spec = home.spec("b.yaml", "b", image=", kernel: nosuchkernel", noimg="", ssh=", ready: {probe: ssh, timeout: 1s}",
                     above=", depends_on: [ssh]")
    with open(spec) as f:
        text = f.read().replace("noimg: {image: tiny", "noimg: {image: nosuchimage")
    home.file("b.yaml", text)
    home.banger("apply", "-f", spec, "--yes", "--no-wait")
    names(home, "image", "nosuchkernel")
    names(home, "noimg", "nosuchimage")
    said = names(home, "ssh", "not ready after 1 s", "reached 'mounted'")
    check("not-ready" in [e["kind"] for e in said["events"]], said["events"])
    check([f for f in said["fields"] if f["key"] == "ready" and "mounted" in f["have"]], "how far it came")
    names(home, "above", "ssh")
    # A field that differs is named with what is there; all of them with -v.
    home.banger("delete", "-f", spec, "--yes")
    # One that dies at once, again and again.
    home.fake_qemu(exit=1)
    home.banger("apply", "-f", home.spec("c.yaml", "c", dies=""), "--yes", code=4)
    said = wait_for("it failed twice", PATIENCE, lambda: (lambda s: s["failures"] >= 2 and s)(why(home, "dies")))
    check(said["error"]["text"] and (said.get("retry_at_ms") or said["tried"]["running"]), said)
    home.banger("delete", "-f", home.spec("c.yaml", "c", dies=""), "--yes")
    home.fake_qemu()
    # A name that another stack has; protection; the prune limit.
    off = ", state: stopped"
    fleet = {n: off for n in ("v1", "v2", "v3", "v4", "v5")}
    directory = os.path.dirname(home.spec("fleet/vms.yaml", "fleet", keep=off + ", protect: true", **fleet))
    home.banger("watch", directory)
    wait_for("all are made", PATIENCE, lambda: all(vm["state"] == "stopped" and not vm["pid"] for vm in home.vms().values()
                                                   if vm["stack"] == "fleet") and len(home.vms()) == 7)
    home.banger("apply", "-f", home.spec("d.yaml", "d", v1=off), "--yes", code=3)
    names(home, "v1", "stack 'd'", "belongs to stack 'fleet'")
    home.spec("fleet/vms.yaml", "fleet", **fleet)
    names(home, "keep", "protected")
    home.spec("fleet/vms.yaml", "fleet", keep=off + ", protect: true", v1=off)
    names(home, "v3", "would delete 4 of 6", "prune-all")
    # All of a VM, and of what is not there.
    every = home.banger("why", "v1", "-v", "-o", "json").json()["fields"]
    check({"memory", "image", "vcpus"} <= {f["key"] for f in every}, every)
    home.banger("why", "nobody", code=2)
    gone = why(home, "dies")
    equal(gone["state"], "absent", "of one that is gone")
    check("deleted" in [e["kind"] for e in gone["events"]], gone)


def scenario_why_names_what_is_wrong_inside(home):
    """Real guests: a kernel that cannot boot what it was told to, a service that never answers."""
    spec = home.spec(kernel=", kernel_args: 'rdinit=/nosuch root=/dev/nosuch', restart: never",
                     tcp=", ready: {probe: 'tcp:81', timeout: 20s}")
    home.banger("apply", "-f", spec, "--yes", "--no-wait")
    said = names(home, "kernel", "without getting ready", "guest-panic", seconds=PATIENCE * 2)
    check({"rebooted", "died"} <= set(e["kind"] for e in said["events"]), said["events"])
    check("died" in [e["kind"] for e in said["events"]], said["events"])
    said = names(home, "tcp", "not ready after 20 s", seconds=PATIENCE * 2)
    check([f for f in said["fields"] if f["key"] == "ready"], said["fields"])
    home.banger("delete", "-f", spec, "--yes")


def scenario_why_names_a_disk_that_is_full(home):
    if os.getuid() != 0:
        print("     (not root: no small file system to fill, skipped)")
        return
    home.fake_qemu()
    vms = os.path.join(home.state, "vms")
    os.makedirs(vms, mode=0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", vms], check=True)
    try:
        home.banger("apply", "-f", home.spec(box=""), "--yes", code=4)
        names(home, "box", "space")
        subprocess.run(["mount", "-o", "remount,size=200m", vms], check=True)
        home.banger("apply", "-f", home.spec(box=""), "--yes")
        home.banger("delete", "-f", home.spec(box=""), "--yes")
    finally:
        home.banger("daemon", "stop", code=None)
        for pid in home.hypervisors():
            os.kill(pid, signal.SIGKILL)
        wait_for("unmounted", 20, lambda: subprocess.run(["umount", vms], capture_output=True).returncode == 0)

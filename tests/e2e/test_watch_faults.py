"""Watched directories that contradict each other, lose their stack, or are very large."""

import os
import time

from harness import SMALL, check, equal, free_port, wait_for


def spec(stack, *vms, extra=", state: stopped"):
    return f"version: 1\nstack: {stack}\nvms:\n" + "".join(f"  {vm}: {SMALL % extra}\n" for vm in vms)


def watches(home):
    return {w["stack"]: w for w in home.banger("watch", "--list", "-o", "json").json()}


def scenario_two_watches_want_one_name(home):
    one, two = (os.path.dirname(home.file(f"{d}/vms.yaml", spec(d, "web", d))) for d in ("one", "two"))
    home.banger("watch", one)
    home.banger("watch", two)
    wait_for("all are made", 20, lambda: sorted(home.vms()) == ["one", "two", "web"])
    equal(home.vm("web")["stack"], "one", "who came first has it")
    home.wait_log("web.*stack 'two': refused: belongs to stack 'one'", 5)
    for i in range(4):
        home.file("two/vms.yaml", spec("two", "web", "two") + f"# {i}\n")
        time.sleep(0.3)
    equal(home.log().count("stack 'two': refused"), 1, "said once, not at every look")
    # Given up by the one, it is the other's at its next look.
    home.file("one/vms.yaml", spec("one", "one"))
    home.wait_gone("web", 20)
    home.file("two/vms.yaml", spec("two", "web", "two", extra=", state: stopped, labels: {a: b}"))
    wait_for("the other has it", 20, lambda: home.vms().get("web", {}).get("stack") == "two")


def scenario_a_stack_is_taken_over_or_renamed_while_watched(home):
    directory = os.path.dirname(home.file("fleet/vms.yaml", spec("fleet", "a", "b")))
    home.banger("watch", directory)
    wait_for("all are made", 20, lambda: sorted(home.vms()) == ["a", "b"])
    # Another name in the file takes no VM away.
    home.file("fleet/vms.yaml", spec("renamed", "a", "b"))
    home.wait_log("says stack 'renamed' now but is watched as 'fleet'", 10)
    equal([vm["stack"] for vm in home.vms().values()], ["fleet"] * 2, "stack")
    home.file("fleet/vms.yaml", spec("fleet", "a", "b"))
    # What would bring its VMs back is not deleted by its file.
    refused = home.banger("delete", "-f", directory, "--yes", code=3)
    check("unwatch" in refused.err + refused.out, f"the way out is named\n{refused}")
    # apply of the watched directory is as good as its next look, and leaves it watched.
    home.banger("apply", "-f", directory, "--yes")
    equal(sorted(watches(home)), ["fleet"], "watched")
    # Taken over: the watch ends and nothing is refused for ever.
    other = home.file("other/vms.yaml", spec("fleet", "a", "b", extra=", state: stopped, labels: {from: other}"))
    home.banger("apply", "-f", other, "--yes", code=3)
    home.banger("apply", "-f", other, "--yes", "--take-over")
    equal(watches(home), {}, "no longer watched")
    os.unlink(os.path.join(directory, "vms.yaml"))
    time.sleep(3)
    equal({n: vm["labels"] for n, vm in home.vms().items()}, {"a": {"from": "other"}, "b": {"from": "other"}}, "VMs")
    home.kill_daemon()
    equal((sorted(home.vms()), watches(home)), (["a", "b"], {}), "also after a restart")
    # A file is no directory, and neither is a name that no stack can have.
    home.banger("watch", other, code=2)
    bad = os.path.dirname(home.file("Bad_Name/vms.yaml", "version: 1\nvms: {}\n"))
    refused = home.banger("watch", bad, code=2)
    check("stack:" in refused.err, f"what to do\n{refused}")


def scenario_unwatch_while_a_deletion_waits(home):
    directory = os.path.dirname(home.file("fleet/a.yaml", spec("fleet", "a")))
    home.file("fleet/b.yaml", spec("fleet", "b"))
    home.banger("watch", directory)
    wait_for("all are made", 20, lambda: sorted(home.vms()) == ["a", "b"])
    os.unlink(os.path.join(directory, "a.yaml"))
    time.sleep(0.5)
    home.banger("unwatch", directory)
    time.sleep(3)
    equal({n: vm["stack"] for n, vm in home.vms().items()}, {"a": None, "b": None}, "both stay, nobody's")


def scenario_two_files_want_one_port(home):
    port = free_port()
    directory = os.path.dirname(home.file("fleet/a.yaml", spec("fleet", "a", extra=f", state: stopped, ports: ['{port}:80']")))
    home.file("fleet/b.yaml", spec("fleet", "b", extra=f", state: stopped, ports: ['{port}:81']"))
    home.file("fleet/c.yaml", spec("fleet", "c"))
    home.banger("watch", directory)
    home.wait_log(f"b.yaml:4:[0-9]+: .*port {port}/tcp is already taken by 'a' at .*a.yaml", 10)
    check(not watches(home)["fleet"]["complete"], "it is not complete")
    os.unlink(os.path.join(directory, "c.yaml"))
    time.sleep(3.5)
    check("c" in home.vms(), "nothing is deleted while files contradict each other")
    home.file("fleet/b.yaml", spec("fleet", "b"))
    home.wait_gone("c", 20)


def scenario_ten_thousand_vms_in_a_directory(home):
    """None of them can be made (no such image); bangerd stays answerable, and so is the guard."""
    def fleet(count):
        for part in range(10):
            names = [f"v{part}-{i}" for i in range(count // 10)]
            home.file(f"fleet/{part}.yaml", "version: 1\nstack: fleet\nvms:\n" +
                      "".join(f"  {n}: {{image: nosuch, state: stopped}}\n" for n in names))
    fleet(10000)
    home.banger("watch", os.path.join(home.work, "fleet"))
    wait_for("all have failed", 60, lambda: sum(vm["state"] in ("stopped", "failed") for vm in home.vms().values()) == 10000, 1)
    began = time.monotonic()
    vm = home.vm("v3-7")
    check("nosuch" in vm["reason"], f"why: {vm['reason']}")
    check(time.monotonic() - began < 5, "answers")
    equal(home.log().count("cannot pull image 'nosuch'"), 1, "pulled once for all")
    home.banger("delete", "v3-7", code=3)
    fleet(4000)
    home.wait_log("would delete 6000 of 10000", 30)
    equal(len(home.vms()), 10000, "the guard holds")
    home.kill_daemon()
    began = time.monotonic()
    equal(len(home.vms()), 10000, "after a restart")
    check(time.monotonic() - began < 30, "a restart is quick enough")

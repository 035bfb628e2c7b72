"""apply, diff, prune: from a file to running VMs and back."""

import os
import pty
import select
import socket
import subprocess
import time

from harness import BUILD, PATIENCE, check, equal, free_port, wait_for


def boot_id(home, vm):
    return home.ssh(vm, "cat", "/proc/sys/kernel/random/boot_id")


def scenario_apply_twice_change_and_prune(home):
    port = free_port()
    extra = f", ports: ['{port}:80'], labels: {{tier: front}}"
    spec = home.spec(web=extra, db="")
    result = home.banger("apply", "-f", spec, "--yes")
    check("Plan: 2 to create" in result.out, f"plan is shown\n{result}")
    equal(home.ssh("web", "hostname"), "web", "hostname")
    equal(home.ssh("db", "nproc"), "1", "vcpus")

    boots, pids = home.boots(), home.hypervisors()
    again = home.banger("apply", "-f", spec)
    check("Nothing to do" in again.out or "nothing to do" in again.out.lower(), f"second apply\n{again}")
    home.banger("diff", "-f", spec, code=0)
    equal((home.boots(), home.hypervisors()), (boots, pids), "second apply starts nothing")

    first, other = boot_id(home, "web"), boot_id(home, "db")
    home.ssh("web", "sh", "-c", "echo keep > /root/kept")
    home.spec(web=extra.replace("labels", "labels") + ", nat: false", db="")
    text = open(spec).read().replace("web: {image: tiny, memory: 128Mi, vcpus: 1",
                                     "web: {image: tiny, memory: 128Mi, vcpus: 2")
    home.file("vms.yaml", text)
    diff = home.banger("diff", "-f", spec, code=1)
    check("vcpus 1 -> 2 (restart)" in diff.out and "~ web" in diff.out, f"diff names the class\n{diff}")
    refused = home.banger("apply", "-f", spec, code=3)
    check("--yes" in refused.err, f"a restart wants --yes\n{refused}")
    equal(boot_id(home, "web"), first, "nothing was done without --yes")
    home.banger("apply", "-f", spec, "--yes")
    equal(home.ssh("web", "nproc"), "2", "vcpus after the restart")
    check(boot_id(home, "web") != first, "the boot_id changed")
    equal(home.ssh("web", "cat", "/root/kept"), "keep", "file in /root")
    equal(boot_id(home, "db"), other, "db was left alone")

    home.spec(web="")  # db left the file, and web changed back
    kept = home.banger("apply", "-f", spec, "--yes")
    check("db" in home.vms(), f"what left the file is kept without --prune\n{kept}")
    db = home.vm("db")
    home.banger("apply", "-f", spec, "--yes", "--prune")
    check("db" not in home.vms(), "db is gone")
    check(db["id"] not in home.vm_dirs(), "its directory is gone")
    check(db["pid"] not in home.hypervisors(), "its process is gone")
    # The port of web is free again too, as the file no longer has it.
    wait_for("port is free", 5, lambda: subprocess.run(
        ["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{port}"], capture_output=True).returncode != 0)


def scenario_ports_labels_and_keys_change_live(home):
    one, two = free_port(), free_port()
    spec = home.spec(web=f", ports: ['{one}:7']")
    home.banger("apply", "-f", spec, "--yes")
    first = boot_id(home, "web")
    key = os.path.join(home.work, "key")
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    home.spec(web=f", ports: ['{two}:7', '{two}:7/udp'], labels: {{a: b}}, restart: on-failure, ssh_keys: ['{key}.pub']")
    diff = home.banger("diff", "-f", spec, code=1)
    check("(live)" in diff.out and "(restart)" not in diff.out, f"all live\n{diff}")
    home.banger("apply", "-f", spec)
    equal(boot_id(home, "web"), first, "no restart for live fields")
    home.banger("diff", "-f", spec, code=0)
    home.ssh("web", "sh", "-c", "(echo hi | nc -l -p 7 >/dev/null) </dev/null >/dev/null 2>&1 &")

    def answers():
        got = subprocess.run(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{two}; timeout 2 head -c 2 <&3"],
                             capture_output=True, text=True)
        return got.stdout == "hi"
    wait_for("the new port reaches the guest", 20, answers)
    check(subprocess.run(["bash", "-c", f"exec 3<>/dev/tcp/127.0.0.1/{one}"], capture_output=True).returncode != 0,
          "the old port is closed")
    vm = home.vm("web")
    reached = subprocess.run(["ssh", "-F", "none", "-i", key, "-o", "IdentitiesOnly=yes", "-o", "BatchMode=yes",
                              "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
                              "-p", str(vm["ssh_port"]), "root@" + vm["address"], "true"], capture_output=True, text=True)
    equal(reached.returncode, 0, f"the added key opens the door ({reached.stderr})")


def scenario_a_moved_plan_is_refused(home):
    spec = home.spec(web="")
    home.banger("apply", "-f", spec, "--yes")
    home.spec(web=", vcpus: 2".replace(", vcpus: 2", ", restart: never"))
    text = open(spec).read().replace("vcpus: 1", "vcpus: 2")
    home.file("vms.yaml", text)
    leader, follower = pty.openpty()
    child = subprocess.Popen([os.path.join(BUILD, "banger"), "apply", "-f", spec], env=home.env, cwd=home.work,
                             stdin=follower, stdout=follower, stderr=follower, start_new_session=True)
    os.close(follower)
    seen = b""
    end = time.monotonic() + PATIENCE
    while b"[y/N]" not in seen and time.monotonic() < end:
        if select.select([leader], [], [], 0.2)[0]:
            seen += os.read(leader, 4096)
    check(b"[y/N]" in seen, f"a terminal is asked: {seen!r}")
    home.banger("stop", "web")
    os.write(leader, b"y\n")
    equal(child.wait(PATIENCE), 3, "exit of the moved plan")
    os.close(leader)
    equal(home.vm("web")["state"], "stopped", "nothing was started")
    equal(home.vm("web")["vcpus"], 1, "nothing was changed")


def scenario_ownership(home):
    """Stacks, adoption, conflicts: exit 3 and nothing changed."""
    stopped = ", state: stopped"
    one = home.spec("one/vms.yaml", stack="one", web=stopped)
    home.banger("apply", "-f", one, "--yes")
    two = home.spec("two/vms.yaml", stack="two", web=stopped)
    conflict = home.banger("apply", "-f", two, "--yes", code=3)
    check("one" in conflict.err + conflict.out, f"the owner is named\n{conflict}")
    elsewhere = home.spec("three/vms.yaml", stack="one", web=stopped)
    conflict = home.banger("apply", "-f", elsewhere, "--yes", code=3)
    check("--take-over" in conflict.err, f"the way out is named\n{conflict}")
    home.banger("apply", "-f", elsewhere, "--yes", "--take-over")

    home.banger("create", "loner", "--image", "tiny", "--no-start", "--memory", "128Mi", "--work-disk", "64Mi",
                "--system-disk", "512Mi")
    four = home.spec("four/vms.yaml", stack="four", loner=stopped)
    diff = home.banger("diff", "-f", four, code=None)
    check("adopt" in diff.out, f"adoption is shown\n{diff}")
    home.banger("apply", "-f", four, "--yes", code=3)
    equal(home.vm("loner")["stack"], None, "not adopted unasked")
    home.banger("apply", "-f", four, "--yes", "--adopt")
    equal(home.vm("loner")["stack"], "four", "adopted")
    refused = home.banger("set", "loner", "vcpus=2", code=3)
    check("vms.yaml" in refused.err, f"set names the file to edit\n{refused}")
    refused = home.banger("delete", "loner", code=3)
    check("vms.yaml" in refused.err, f"delete names the file to edit\n{refused}")
    equal(home.boots(), 0, "nothing of this needs a boot")


def scenario_data_loss_and_protection(home):
    spec = home.spec(web=", state: stopped, protect: true")
    home.banger("apply", "-f", spec, "--yes")
    text = open(spec).read()
    home.file("vms.yaml", text.replace("work_disk: 64Mi", "work_disk: 32Mi"))
    refused = home.banger("apply", "-f", spec, "--yes", code=3)
    check("work" in refused.err + refused.out and "--allow-data-loss" in refused.err + refused.out,
          f"shrinking is refused and the flag named\n{refused}")
    home.file("vms.yaml", "version: 1\nstack: t\nvms: {}\n")
    home.banger("apply", "-f", spec, "--yes", "--prune", code=3)
    check("web" in home.vms(), "protect wins")
    home.file("vms.yaml", text.replace("protect: true", "protect: false").replace("work_disk: 64Mi", "work_disk: 32Mi"))
    home.banger("apply", "-f", spec, "--yes", "--allow-data-loss")
    path = os.path.join(home.state, "vms", home.vm("web")["id"], "work.img")
    equal(os.stat(path).st_size, 32 << 20, "the work disk is smaller now")
    home.banger("delete", "-f", spec, "--yes")
    equal(home.vm_dirs(), [], "delete -f leaves nothing")


def scenario_reimage_keeps_the_work_disk(home):
    spec = home.spec(web="")
    home.banger("apply", "-f", spec, "--yes")
    home.ssh("web", "sh", "-c", "echo a > /root/kept; echo b > /etc/lost; sync")
    text = open(spec).read()
    home.file("vms.yaml", text.replace("system_disk: 512Mi", "system_disk: 448Mi"))
    diff = home.banger("diff", "-f", spec, code=1)
    check("reimage" in diff.out, f"a smaller system disk is a reimage\n{diff}")
    home.banger("apply", "-f", spec, "--yes")
    equal(home.ssh("web", "cat", "/root/kept"), "a", "work disk kept")
    home.ssh("web", "test", "-e", "/etc/lost", code=1)
    # Growing is kept too, and the guest's file systems grow with their disks.
    home.file("vms.yaml", text.replace("system_disk: 512Mi", "system_disk: 1Gi").replace("work_disk: 64Mi", "work_disk: 256Mi"))
    home.banger("apply", "-f", spec, "--yes")
    equal(home.ssh("web", "cat", "/root/kept"), "a", "work disk kept when it grows")
    sizes = home.ssh("web", "sh", "-c", "df -m / /root | awk 'NR > 1 { print $2 }'").split()
    check(int(sizes[0]) > 850 and int(sizes[1]) > 200, f"file systems grew: {sizes}")


def scenario_a_creation_that_fails_again_and_again_is_deleted(home):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        spec = home.spec(web=f', ports: ["{port}:80"]')
        for _ in range(3):
            result = home.banger("apply", "-f", spec, "--yes", code=4)
            check(f"port 127.0.0.1:{port}/tcp is taken" in result.err, result)
            # In the middle of the next try, whose failure is not the deletion's.
            wait_for("another try", PATIENCE, lambda: any(
                op["kind"] == "create" and not op["done"] for op in home.banger("op", "list", "-o", "json").json()), 0.01)
            home.banger("delete", "-f", spec, "--yes")
            equal(home.vms(), {}, "deleted")
            equal(home.vm_dirs(), [], "nothing is left")

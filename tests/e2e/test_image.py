"""Images: pulled once however many VMs wait, kept while used."""

import concurrent.futures
import os
import subprocess
import threading

from harness import PATIENCE, check, equal, wait_for


def scenario_one_pull_for_all(home):
    spec = home.spec(a="", b="", c=", state: stopped")
    home.banger("apply", "-f", spec, "--yes", timeout=600)
    pulls = home.log().count("pulled image 'tiny'")
    equal(pulls, 1, "pulls")
    for vm in "ab":
        equal(home.ssh(vm, "hostname"), vm, "hostname")
    listed = home.banger("image", "list", "-o", "json").json()
    tiny = next(image for image in listed if image["name"] == "tiny")
    equal(sorted(tiny["used_by"]), ["a", "b", "c"], "used by")
    refused = home.banger("image", "delete", "tiny", code=3)
    check("3 VMs" in refused.err, f"in use\n{refused}")
    home.banger("delete", "-f", spec, "--yes")
    digest = tiny["digest"]
    # The same inputs give the same image.
    home.banger("image", "pull", "tiny", "--force", timeout=600)
    equal(home.banger("image", "show", "tiny", "-o", "json").json()["digest"], digest, "built again")
    home.banger("image", "delete", "tiny")
    equal([d for d in os.listdir(os.path.join(home.state, "images")) if len(d) == 64], [], "files are gone")


scenario_one_pull_for_all.without_images = True
scenario_one_pull_for_all.session_only = "pulls an image, and the lab reaches no package archive"


def scenario_many_daemonless_clients_start_one_daemon(home):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: home.banger("ps", code=None), range(6)))
    equal([r.code for r in results], [0] * 6, "all answered")
    wait_for("one daemon", 5, lambda: home.daemon_pid())
    check(home.log().count("works on") >= 1, "it said so")


scenario_many_daemonless_clients_start_one_daemon.without_images = True


def scenario_a_client_waits_for_the_daemon_of_another(home):
    """One that a client had begun to start before it was killed has the lock, does not listen yet, and writes its log."""
    lock = os.path.join(home.state, "bangerd.lock")
    home.banger("ps")
    home.banger("daemon", "stop")
    other = subprocess.Popen(["flock", "-n", "-F", lock, "sleep", "3"])
    over = threading.Event()

    def write_log():
        while not over.wait(0.002):
            with open(os.path.join(home.state, "bangerd.log"), "a") as f:
                f.write("vm=orphan found running: pid 14888\n")
    writer = threading.Thread(target=write_log)
    writer.start()
    try:
        home.banger("ps")
        equal(other.wait(PATIENCE), 0, "it had ended before")
    finally:
        over.set()
        writer.join()
        other.kill()
        other.wait()


scenario_a_client_waits_for_the_daemon_of_another.without_images = True


def scenario_an_image_that_is_gone_is_said_once(home):
    """The name moved on and the old digest was lost: pulling by name would end at once, for ever."""
    home.banger("apply", "-f", home.spec(a=", state: stopped"), "--yes")
    home.banger("daemon", "stop")
    images = os.path.join(home.state, "images")
    digest = os.path.basename(os.readlink(os.path.join(images, "names", "tiny")))
    other = "f" * 64
    os.rename(os.path.join(images, digest), os.path.join(images, other))
    os.unlink(os.path.join(images, "names", "tiny"))
    os.symlink("../" + other, os.path.join(images, "names", "tiny"))
    refused = home.banger("apply", "-f", home.spec(a=""), "--yes", code=2)
    check(digest in refused.err, f"says which\n{refused}")
    equal(home.log().count("pulled image"), 0, "pulls")
    equal(home.boots(), 0, "boots")

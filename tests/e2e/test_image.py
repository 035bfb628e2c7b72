"""Images: pulled once however many VMs wait, kept while used."""

import concurrent.futures
import os

from harness import check, equal, wait_for


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


def scenario_many_daemonless_clients_start_one_daemon(home):
    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        results = list(pool.map(lambda _: home.banger("ps", code=None), range(6)))
    equal([r.code for r in results], [0] * 6, "all answered")
    wait_for("one daemon", 5, lambda: home.daemon_pid())
    check(home.log().count("works on") >= 1, "it said so")


scenario_many_daemonless_clients_start_one_daemon.without_images = True

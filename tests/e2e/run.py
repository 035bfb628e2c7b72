#!/usr/bin/env python3
"""Runs the scenarios, some at a time: tests/e2e/run.py [-j N] [NAME-PART …]"""

import argparse
import collections
import concurrent.futures
import fcntl
import glob
import importlib
import os
import re
import signal
import subprocess
import sys
import time
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
LAB = os.path.join(os.path.dirname(HERE), "lab")
sys.path[:0] = [HERE, LAB]
import harness  # noqa: E402

# Of one scenario, so that one that hangs costs nobody else's result.
LIMIT = int(os.environ.get("BANGER_TEST_LIMIT", "1200"))


def is_wanted(title, parts):
    """Any part of a title, or `=` and all of it."""
    return not parts or any(part == "=" + title or part in title for part in parts)


def scenarios(parts):
    """Those of this folder and, in the lab, its own: `lab/...`."""
    found = []
    folders = [HERE] + ([LAB] if os.environ.get("BANGER_LAB") else [])
    for path in sorted(path for folder in folders for path in glob.glob(os.path.join(folder, "test_*.py"))):
        module = os.path.basename(path)[:-3]
        prefix = "lab/" if os.path.dirname(path) == LAB else ""
        for name, fn in vars(importlib.import_module(module)).items():
            if name.startswith("scenario_") and callable(fn):
                title = f"{prefix}{module[5:]}/{name[9:]}"
                if is_wanted(title, parts):
                    found.append((module, name, title, not getattr(fn, "takes_minutes", False)))
    gone = {part[1:] for part in parts if part[0] == "="} - {title for _, _, title, _ in found}
    gone |= {part for part in parts if part[0] != "=" and not any(part in title for _, _, title, _ in found)}
    if gone:
        sys.exit(f"there is no scenario {', '.join(sorted(gone))}")
    # The long ones first, so that none is alone at the end.
    return [one[:3] for one in sorted(found, key=lambda one: one[3])]


def why_not(module, name):
    """Why a scenario is none for the way banger is run here; else None."""
    fn = getattr(importlib.import_module(module), name)
    return getattr(fn, "session_only", None) if os.environ.get("BANGER_TEST_MODE") == "system" else None


def without_skipped(todo):
    left = []
    for module, name, title in todo:
        why = why_not(module, name)
        if why:
            print(f"skip {title}: {why}", flush=True)
        else:
            left.append((module, name, title))
    return left


def took_too_long(seconds):
    raise harness.Failed(f"it did not end within {seconds} s")


def run_one(module, name, title):
    fn = getattr(importlib.import_module(module), name)
    limit = LIMIT * getattr(fn, "limits", 1)
    began = time.monotonic()
    home = harness.Home(name, images=not getattr(fn, "without_images", False))
    failure = None
    boots = 0
    signal.signal(signal.SIGALRM, lambda *_: took_too_long(limit))
    signal.alarm(limit)
    try:
        fn(home)
    except Exception:  # noqa: BLE001 - reported, then the next scenario goes on
        failure = traceback.format_exc()
    finally:
        signal.alarm(0)
        boots = home.boots()
        problems = home.close(failure is not None)
    if problems:
        failure = (failure or "") + "\n".join(problems)
    return title, failure, time.monotonic() - began, boots, home.tally


def attribute(one, name):
    """What a scenario says about itself; None when it does not."""
    return getattr(getattr(importlib.import_module(one[0]), one[1]), name, None)


def wanted_images(todo):
    """tiny, and what scenarios name in their `images`."""
    names = {"tiny"}
    for one in todo:
        names.update(attribute(one, "images") or ())
    return sorted(names)


def check_table():
    """What README.md says where to find is there."""
    with open(os.path.join(os.path.dirname(os.path.abspath(__file__)), "README.md")) as f:
        gone = set(re.findall(r"`(\w+/\w+)`", f.read())) - {title for _, _, title in scenarios([])}
    if gone:
        sys.exit(f"tests/e2e/README.md names scenarios that are not there: {', '.join(sorted(gone))}")


def prepare_images(names):
    """Pulls each image once for all scenarios, by banger itself; one run at a time."""
    os.makedirs(harness.IMAGES, exist_ok=True)
    with open(os.path.join(harness.IMAGES, "lock"), "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        pull_images(names)


def pull_images(names):
    env = dict(os.environ, XDG_STATE_HOME=os.path.join(harness.IMAGES, "state"),
               XDG_CACHE_HOME=os.path.join(harness.ROOT, "build", "test-cache"),
               XDG_RUNTIME_DIR=os.path.join(harness.IMAGES, "run"))
    os.makedirs(env["XDG_RUNTIME_DIR"], mode=0o700, exist_ok=True)
    banger = os.path.join(harness.BUILD, "banger")
    # Only the images are kept: the database may be of another version of the code.
    for path in glob.glob(os.path.join(env["XDG_STATE_HOME"], "banger", "banger.db*")):
        os.unlink(path)
    scripts = os.path.join(harness.ROOT, "scripts/images")
    for name in names:
        recipes = max(os.path.getmtime(os.path.join(scripts, p)) for p in ("lib.sh", "kernel.sh", f"{name}.sh"))
        link = os.path.join(env["XDG_STATE_HOME"], "banger", "images", "names", name)
        fresh = os.path.islink(link) and os.lstat(link).st_mtime > recipes
        command = [banger, "image", "pull", name] + ([] if fresh else ["--force"])
        subprocess.run(command, env=env, check=True, stdin=subprocess.DEVNULL, timeout=900)
    subprocess.run([banger, "daemon", "stop"], env=env, check=True, stdin=subprocess.DEVNULL, timeout=60)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("-j", type=int, default=min(3, (os.cpu_count() or 2) + 1))
    parser.add_argument("--limit-boots", type=int, default=120)
    parser.add_argument("--second-tries", type=int, default=2)
    parser.add_argument("--no-pull", action="store_true", help="the images are there")
    parser.add_argument("parts", nargs="*")
    options = parser.parse_args()
    check_table()
    todo = without_skipped(scenarios(options.parts))
    if not options.no_pull:
        prepare_images(wanted_images(todo))
    passed = failed = boots = 0
    again = []
    tallies = collections.Counter()
    began = time.monotonic()
    with concurrent.futures.ProcessPoolExecutor(options.j) as pool:
        futures = {pool.submit(run_one, *one): one for one in todo}
        for future in concurrent.futures.as_completed(futures):
            title, failure, seconds, count, tally = future.result()
            tallies.update(tally)
            boots += count
            passed += not failure
            failed += bool(failure)
            print(f"{'FAIL' if failure else 'ok  '} {title} ({seconds:.1f} s, {count} boots)", flush=True)
            if failure:
                again.append(futures[future])
                print(failure, flush=True)
    # Emulated guests on a busy machine meet deadlines: a few scenarios get a second try, alone and
    # said aloud. What fails twice, or all over, fails.
    if 0 < len(again) <= options.second_tries:
        for one in again:
            title, failure, seconds, count, _ = run_one(*one)
            boots += count
            print(f"{'FAIL twice' if failure else 'UNSTEADY, passed at its second try:'} {title} ({seconds:.1f} s)", flush=True)
            if failure:
                print(failure, flush=True)
            else:
                failed -= 1
                passed += 1
    print(f"end-to-end: {boots} real boots in {time.monotonic() - began:.0f} s")
    if tallies["points"]:
        print("crash matrix: {visited} of {points} points visited, {leaked} leaked, {lost} lost, {double_starts} double starts, "
              "{stuck} stuck".format_map(collections.defaultdict(int, tallies)))
    if tallies["soak_cycles"] or tallies["real_soak_cycles"]:
        print(f"soak: {tallies['soak_cycles']} cycles on the stand-in, {tallies['real_soak_cycles']} on real VMs")
    if boots > options.limit_boots:
        print(f"FAIL more than {options.limit_boots} boots")
        failed += 1
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

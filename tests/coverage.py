#!/usr/bin/env python3
"""How much of the host programs ran: tests/coverage.py [--files] [--add DIR] BUILD

Reads what every program of a build with COV=1 left beside its objects when it ended: unit tests, banger
and bangerd alike, added up by libgcov itself. A line counts when any of them ran it. A process that is
ended with SIGKILL leaves nothing, except at a failpoint, so the figures are a lower bound.
"""

import argparse
import collections
import json
import os
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
LAYERS = "schema base sys plan store rpc source driver guest image exec daemon cli".split()


def layer_of(path):
    """ "cli" of reconciler/cli/tar.c; None for what is no part of the host programs."""
    words = os.path.relpath(os.path.join(ROOT, path), ROOT).split(os.sep)
    layer = words[1] if words[0] == "reconciler" and len(words) == 3 else words[0]
    return layer if layer in LAYERS else None


def objects(build):
    """Of the host programs: every one of them, whether a program left counts for it or not."""
    for top in ("schema", "reconciler"):
        for folder, _, names in os.walk(os.path.join(build, top)):
            yield from (os.path.join(folder, name[:-5]) for name in names if name.endswith(".gcno"))


def measure(build):
    """path -> line -> times run."""
    counted = collections.defaultdict(collections.Counter)
    stems = sorted(objects(build))
    for at in range(0, len(stems), 16):
        # Where no program left counts the notes say which lines there are.
        files = [stem + (".gcda" if os.path.exists(stem + ".gcda") else ".gcno") for stem in stems[at:at + 16]]
        done = subprocess.run(["gcov", "--json-format", "--stdout", *files], cwd=ROOT, capture_output=True, text=True)
        for said in done.stderr.splitlines():
            if "no functions found" not in said and "cannot open data file" not in said:
                print(said, file=sys.stderr)
        for one in done.stdout.splitlines():
            for file in json.loads(one)["files"]:
                if layer_of(file["file"]):
                    for line in file["lines"]:
                        counted[os.path.normpath(file["file"])][line["line_number"]] += line["count"]
    return counted


def add(build, elsewhere):
    """The counts of programs that ran on another machine, the lab, into those of this one."""
    theirs = os.path.join(elsewhere, os.path.abspath(build).lstrip("/"))
    if not os.path.isdir(theirs):
        print(f"no counts in '{theirs}'", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(dir=build) as both:
        subprocess.run(["gcov-tool", "merge", "-o", both, build, theirs], check=True, stdout=subprocess.DEVNULL)
        for folder, _, names in os.walk(both):
            for name in names:
                os.replace(os.path.join(folder, name), os.path.join(build, os.path.relpath(folder, both), name))


def row(title, lines):
    ran = sum(count > 0 for count in lines)
    return f"{title:<34} {ran:>6} of {len(lines):>6} lines {100 * ran / len(lines):6.1f} %" if lines else f"{title}: nothing"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--files", action="store_true", help="a row a file, the least covered first")
    parser.add_argument("--add", metavar="DIR", help="first add what the same build's programs left below there (GCOV_PREFIX)")
    parser.add_argument("build")
    options = parser.parse_args()
    if options.add:
        add(options.build, options.add)
    counted = measure(options.build)
    if not counted:
        sys.exit(f"nothing in '{options.build}' was built with COV=1")
    by_layer = collections.defaultdict(list)
    for path, lines in counted.items():
        by_layer[layer_of(path)] += lines.values()
    if options.files:
        share = {path: sum(c > 0 for c in lines.values()) / len(lines) for path, lines in counted.items() if lines}
        for path in sorted(share, key=share.get):
            print(row(path, list(counted[path].values())))
    for layer in LAYERS:
        print(row(layer, by_layer[layer]))
    print(row("coverage of the host programs", [count for lines in by_layer.values() for count in lines]))


if __name__ == "__main__":
    main()

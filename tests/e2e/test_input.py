"""Bad input: named with line and column, exit 2, nothing changed."""

import glob
import os

from harness import ROOT, check, equal


def scenario_bad_specs_change_nothing(home):
    cases = sorted(glob.glob(os.path.join(ROOT, "tests", "spec", "bad", "*.yaml")))
    # These two need an image that is larger than the catalog's.
    cases = [c for c in cases if not c.endswith(("disk-below-image.yaml", "memory-below-image.yaml"))]
    check(len(cases) >= 20, f"{len(cases)} bad specs")
    for case in cases:
        name = os.path.basename(case)
        for verb in ("validate", "diff", "apply"):
            result = home.banger(verb, "-f", case, *(["--yes"] if verb == "apply" else []), code=2)
            check(f"{name}:" in result.err, f"{name}: {verb} names the file\n{result}")
            check(not result.out, f"{name}: nothing on stdout\n{result}")
    big = home.file("big.yaml", "version: 1\n# " + "x" * (8 << 20) + "\n")
    check("big.yaml" in home.banger("apply", "-f", big, "--yes", code=2).err, "8 MiB file")
    path = home.file("nul.yaml", "")
    with open(path, "wb") as f:
        f.write(b"version: 1\nvms:\n  a\0b: {}\n")
    check("nul.yaml" in home.banger("apply", "-f", path, "--yes", code=2).err, "NUL")
    home.banger("apply", "-f", os.path.join(home.work, "missing.yaml"), "--yes", code=2)
    home.banger("apply", "-f", "-", "--yes", code=2, input="version: 1\nvms: {}\n")
    equal((home.vms(), home.vm_dirs()), ({}, []), "nothing changed")


scenario_bad_specs_change_nothing.without_images = True


def scenario_unknown_words_are_answered(home):
    result = home.banger("aply", code=2)
    check("apply" in result.err, f"did you mean\n{result}")
    result = home.banger("ps", "--colour", code=2)
    check("--" in result.err, f"unknown flag\n{result}")
    result = home.banger("ssh", "nosuch", "--", "true", code=125)
    check("nosuch" in result.err, f"named\n{result}")
    home.banger("show", "nosuch", code=2)
    home.banger("version")
    home.banger("--help")


scenario_unknown_words_are_answered.without_images = True

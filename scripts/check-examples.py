#!/usr/bin/env python3
"""Validate YAML files against schema/vms.schema.json with a validator that is not banger's own.

usage: check-examples.py [FILE|DIR...]      default: examples/

Needs python3-yaml and python3-jsonschema. Exit status: 0 all valid, 1 some are not."""

import json
import pathlib
import sys

import jsonschema
import yaml

ROOT = pathlib.Path(__file__).resolve().parent.parent


def files(arguments):
    for argument in map(pathlib.Path, arguments):
        if argument.is_dir():
            yield from sorted(p for p in argument.rglob("*") if p.suffix in (".yaml", ".yml"))
        else:
            yield argument


def main():
    schema = json.loads((ROOT / "schema/vms.schema.json").read_text(encoding="utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)
    validator = jsonschema.Draft202012Validator(schema)
    checked = bad = 0
    for path in files(sys.argv[1:] or [ROOT / "examples"]):
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
        checked += 1
        for error in validator.iter_errors(document):
            bad += 1
            print(f"{path}: {'.'.join(map(str, error.absolute_path))}: {error.message}")
    print(f"{checked} files, {bad} faults")
    return 1 if bad or not checked else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Compare tests/fake/fc_schema.h with Firecracker's own API description.

The description is src/firecracker/swagger/firecracker.yaml of its repository; BANGER_FIRECRACKER_API
names one, or several with ':' between. Without one there is nothing to compare and that is no
failure. A description of an older release must lack what the table says came later.
"""
import glob
import json
import os
import subprocess
import sys

build = os.environ.get("BUILD", "build-san")
table = json.loads(subprocess.run([f"{build}/fake/firecracker", "--schema"], check=True,
                                  capture_output=True, text=True).stdout)
assert len(table) > 15, "the table is empty"
paths = os.environ.get("BANGER_FIRECRACKER_API", "").split(":")
paths = [path for path in paths if path] or sorted(glob.glob("../shared/facts/firecracker-openapi*.yaml"))
if not paths:
    print("no description to compare with: BANGER_FIRECRACKER_API names none")
    sys.exit(0)

import yaml  # noqa: E402

faults = []


def compare(name, row, operation, definitions, release):
    body = [p for p in operation.get("parameters", []) if p["in"] == "body"]
    schema = body[0]["schema"] if body else {}
    schema = definitions[schema["$ref"].split("/")[-1]] if "$ref" in schema else schema
    fields = {key: field for key, field in row["fields"].items() if field["since"] <= release}
    theirs = schema.get("properties", {})
    if set(fields) != set(theirs):
        faults.append(f"{name}: fields differ: {sorted(set(fields) ^ set(theirs))}")
    if {key for key, field in fields.items() if field["required"]} != set(schema.get("required", [])):
        faults.append(f"{name}: required are {schema.get('required')}")
    for key in set(fields) & set(theirs):
        their = theirs[key]
        if "$ref" in their:
            their = definitions[their["$ref"].split("/")[-1]]
        if fields[key]["type"] != their.get("type"):
            faults.append(f"{name}: {key} is {their.get('type')}")
        ours = set(filter(None, fields[key]["choices"].split("|")))
        newest = {str(c) for c in their.get("enum", [])}
        # Values that were added later are no harm: it is the newest description that decides.
        if ours and (newest - ours or (release == LATEST and ours - newest)):
            faults.append(f"{name}: {key} is one of {sorted(newest)}")


descriptions = [yaml.safe_load(open(path, encoding="utf-8")) for path in paths]


def release_of(description):
    major, minor = description["info"]["version"].split(".")[:2]
    return int(major) * 1000 + int(minor)


LATEST = max(map(release_of, descriptions))
for description in descriptions:
    release = release_of(description)
    theirs = {path.split("{")[0]: item for path, item in description["paths"].items()}
    for row in table:
        name = f"{description['info']['version']}: {row['method']} {row['path']}"
        operation = theirs.get(row["path"].split("{")[0], {}).get(row["method"].lower())
        if (operation is not None) != (row["since"] <= release):
            faults.append(f"{name}: {'is' if operation else 'is not'} in that release")
        elif operation:
            compare(name, row, operation, description["definitions"], release)
print("\n".join(faults) or f"{len(table)} calls agree with {len(paths)} descriptions")
sys.exit(bool(faults))

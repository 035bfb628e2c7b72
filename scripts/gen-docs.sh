#!/bin/sh
# scripts/gen-docs.sh [BUILD] - write again what is made from the tables in the code.
# The unit tests compare these files with what the programs say, so none can go stale.
set -eu
cd "$(dirname "$0")/.."
banger=${1:-build}/banger
write() { # write FILE COMMAND - replaced only when the command succeeds
	"$banger" "$2" > "$1.new"
	mv "$1.new" "$1"
}
mkdir -p packaging/man packaging/completion
write packaging/man/banger.1 __man
write packaging/man/banger-vms.5 __man-vms
write packaging/completion/banger.bash __complete-bash
write packaging/completion/_banger __complete-zsh
write schema/vms.schema.json __schema

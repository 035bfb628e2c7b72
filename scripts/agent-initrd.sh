#!/bin/sh
# scripts/agent-initrd.sh AGENT OUT - pack the agent as the second part of each VM's initrd: an
# uncompressed cpio with /init, and the shared libraries it needs at the paths where they lie here.
# The same inputs give the same bytes.
set -eu

[ $# -eq 2 ] || {
	echo "usage: $0 AGENT OUT" >&2
	exit 2
}
agent=$1
out=$2
: "${SOURCE_DATE_EPOCH:=1672531200}"
LC_ALL=C
export LC_ALL
umask 022

work=$(mktemp -d)
trap 'rm -rf "$work" "$out.new"' EXIT
trap 'exit 1' HUP INT TERM

mkdir "$work/root"
cp "$agent" "$work/root/init"
strip "$work/root/init"
chmod 755 "$work/root/init"

# "libcjson.so.1 => /lib/… (0x…)" and "/lib64/ld-linux-x86-64.so.2 (0x…)"; a static program has none.
ldd "$agent" > "$work/libraries" 2> /dev/null || :
if grep 'not found' "$work/libraries" >&2; then
	echo "agent-initrd: a library of '$agent' is missing" >&2
	exit 1
fi
# shellcheck disable=SC2013 # paths of libraries hold no blanks
for library in $(sed -n 's/.* => \(\/[^ ]*\) (.*/\1/p; s/^[[:space:]]*\(\/[^ ]*\) (.*/\1/p' \
	"$work/libraries"); do
	mkdir -p "$work/root$(dirname "$library")"
	cp -L "$library" "$work/root$library"
	chmod 755 "$work/root$library"
done

find "$work/root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$work/root" && find . -mindepth 1 | sort |
	cpio --quiet --reproducible -R 0:0 -H newc -o) > "$out.new"
mv -f "$out.new" "$out"

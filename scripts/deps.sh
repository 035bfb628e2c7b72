#!/bin/sh
# scripts/deps.sh [build] [run] [test] - install what a fresh Debian 12 lacks, and only that.
# sudo is used only when something is missing and only for apt-get.
set -eu

build='gcc make pkg-config libc6-dev libyaml-dev libsqlite3-dev libssh-dev libcjson-dev libarchive-dev cpio binutils'
run='qemu-system-x86 qemu-utils e2fsprogs openssh-client git ca-certificates cpio lz4 xz-utils coreutils util-linux apt'
tests='libcmocka-dev python3 python3-yaml python3-jsonschema clang clang-format clang-tidy cppcheck
	openssh-server procps man-db shellcheck'

wanted=
[ $# -gt 0 ] || set -- build run
for set in "$@"; do
	case "$set" in
	build) wanted="$wanted $build" ;;
	run) wanted="$wanted $run" ;;
	test) wanted="$wanted $tests" ;;
	*)
		echo "usage: $0 [build] [run] [test]" >&2
		exit 2
		;;
	esac
done

missing=
for package in $wanted; do
	status=$(dpkg-query -W -f '${Status}' "$package" 2> /dev/null || :)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "installing:$missing"
root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo > /dev/null || {
		echo "these packages are missing and there is no sudo:$missing" >&2
		exit 1
	}
	root=sudo
fi
export DEBIAN_FRONTEND=noninteractive
$root apt-get update -qq
# No recommendations: a sandbox needs no desktop. Services of a package are not started.
# shellcheck disable=SC2086 # a list of packages
$root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 apt-get install -y -qq --no-install-recommends $missing > /dev/null

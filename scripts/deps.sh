#!/bin/sh
# scripts/deps.sh [build] [run] [test] [deb] [lint] - install what a fresh Debian 12 lacks, and only that.
# sudo is used only when something is missing and only for apt-get.
set -eu

build='gcc make pkg-config libc6-dev libyaml-dev libsqlite3-dev libssh-dev libcjson-dev libarchive-dev libcurl4-openssl-dev libdevmapper-dev libnl-route-3-dev libnftables-dev cpio binutils'
run='qemu-system-x86 qemu-utils e2fsprogs openssh-client cpio lz4 xz-utils kmod libarchive13 libcurl4 libnftables1'
tests='libcmocka-dev python3 python3-yaml python3-jsonschema git procps mmdebstrap uidmap'
# dpkg-buildpackage asks for build-essential by name.
deb='debhelper dpkg-dev build-essential'
lint='clang clang-format clang-tidy cppcheck shellcheck git'

wanted=
[ $# -gt 0 ] || set -- build run
for set in "$@"; do
	case "$set" in
	build) wanted="$wanted $build" ;;
	run) wanted="$wanted $run" ;;
	test) wanted="$wanted $tests" ;;
	deb) wanted="$wanted $deb" ;;
	lint) wanted="$wanted $lint" ;;
	*)
		echo "usage: $0 [build] [run] [test] [deb] [lint]" >&2
		exit 2
		;;
	esac
done

command -v apt-get > /dev/null || {
	echo "no apt-get here: install the likes of$wanted, then say make NODEPS=1 …" >&2
	exit 1
}
missing=
for package in $wanted; do
	case " $missing " in *" $package "*) continue ;; esac
	status=$(dpkg-query -W -f '${Status}' "$package" 2> /dev/null || :)
	[ "$status" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

echo "Installing from the distribution:$missing" | fmt -w 100
root=
if [ "$(id -u)" != 0 ]; then
	command -v sudo > /dev/null || {
		echo "there is no sudo; as root: apt-get install --no-install-recommends$missing" >&2
		exit 1
	}
	root=sudo
fi
# Somebody else's upgrade, as on a machine's first minutes, is waited for.
apt="apt-get -qq -y --no-install-recommends -o DPkg::Lock::Timeout=300"
$root apt-get -qq update
# No recommendations: a sandbox needs no desktop.
# shellcheck disable=SC2086 # lists of words
$apt --print-uris install $missing | awk '{ size += $3 }
	END { printf "(%d packages with what they need, %.0f MB to download)\n", NR, size / 1e6 }'
# Services of a package are not started.
# shellcheck disable=SC2086
$root env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 $apt install $missing > /dev/null

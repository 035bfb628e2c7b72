#!/bin/sh
# scripts/images/debian.sh OUTDIR CACHEDIR - the image `debian`: the distribution with its own init,
# made by mmdebstrap in a user namespace: systemd, OpenSSH, git and the usual tools.
#
# makes	rootfs.ext4	as tiny's: shared, read-only, the same bytes from the same packages
#	image.json
set -eu

here=$(dirname "$0")
# shellcheck source=scripts/images/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/images/bootstrap.sh
. "$here/bootstrap.sh"

packages='systemd-sysv udev openssh-server git ca-certificates curl iproute2 procps less vim-tiny
	kmod netbase'

[ $# -eq 2 ] || {
	echo "usage: $0 OUTDIR CACHEDIR" >&2
	exit 2
}

configure() {
	stage configure debian
	rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/machine-id"
	# Empty, not missing: systemd then makes one and does not take this for a machine to set up.
	: > "$root/etc/machine-id"
	mask_units
	# The agent has set up the interface: its name stays.
	mkdir -p "$root/etc/systemd/network"
	ln -sf /dev/null "$root/etc/systemd/network/99-default.link"
	write_file 644 etc/fstab < /dev/null
	write_file 644 etc/systemd/system.conf.d/banger.conf <<-'END'
		# Less than the agent waits before it powers off by itself.
		[Manager]
		DefaultTimeoutStopSec=20s
	END
	write_file 644 etc/systemd/journald.conf.d/banger.conf <<-'END'
		[Journal]
		Storage=volatile
		RuntimeMaxUse=16M
	END
	write_file 644 etc/ssh/sshd_config.d/banger.conf <<-'END'
		# banger gives each VM its host key and pins it: no other is ever made or served.
		HostKey /etc/ssh/ssh_host_ed25519_key
		PermitRootLogin prohibit-password
		PasswordAuthentication no
		KbdInteractiveAuthentication no
		UseDNS no
		PrintMotd no
	END
	# sshd checks its configuration before it listens by itself; -t would do that twice.
	write_file 644 etc/systemd/system/ssh.service.d/banger.conf <<-'END'
		[Service]
		ExecStartPre=
	END
}

begin "image debian" "$1" "$2"
need_filesystem
need_mmdebstrap
root=$work/root
mkdir "$root"
lock_cache
bootstrap
unlock_cache
unpack
configure
make_filesystem 62616e67-6572-4000-8000-646562696100 32

versions=$(awk '/^Package: / { name = $2 } /^Version: / { print name "=" $2 }' \
	"$root/var/lib/dpkg/status" | sort)
cat > "$work/image.json" <<JSON
{
	"format": 1,
	"name": "debian",
	"kernel": "debian-cloud",
	"min_memory": 268435456,
	"size": $(stat -c %s "$work/rootfs.ext4"),
	"description": "Debian with systemd, OpenSSH, git and the usual tools",
	"packages": $(# shellcheck disable=SC2086
	json_list $versions)
}
JSON
publish image.json "$work/rootfs.ext4"
stage finished debian

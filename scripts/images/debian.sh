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

packages='systemd-sysv udev openssh-server git ca-certificates curl iproute2 procps less vim-tiny
	kmod netbase'
# What a VM has no use for, or what the agent does: each costs its part of a second of every boot.
masked='apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer e2scrub_all.timer
	e2scrub_reap.service fstrim.timer getty.target getty@tty1.service getty-static.service
	serial-getty@ttyS0.service console-getty.service systemd-firstboot.service
	systemd-networkd.service systemd-networkd.socket systemd-networkd-wait-online.service
	systemd-network-generator.service systemd-logind.service systemd-pstore.service
	systemd-update-utmp.service systemd-update-utmp-runlevel.service systemd-binfmt.service
	systemd-hwdb-update.service systemd-journal-catalog-update.service
	systemd-journal-flush.service systemd-machine-id-commit.service systemd-boot-update.service
	systemd-boot-system-token.service systemd-update-done.service systemd-sysusers.service
	systemd-random-seed.service systemd-remount-fs.service systemd-modules-load.service
	systemd-tmpfiles-setup-dev.service systemd-repart.service systemd-growfs-root.service systemd-fsck-root.service ldconfig.service
	proc-sys-fs-binfmt_misc.automount dev-hugepages.mount dev-mqueue.mount
	sys-kernel-debug.mount sys-kernel-tracing.mount sys-kernel-config.mount
	sys-fs-fuse-connections.mount modprobe@.service rescue-ssh.target
	systemd-ask-password-wall.path systemd-ask-password-console.path systemd-rfkill.socket'

[ $# -eq 2 ] || {
	echo "usage: $0 OUTDIR CACHEDIR" >&2
	exit 2
}

need_mmdebstrap() {
	command -v mmdebstrap > /dev/null ||
		die "program 'mmdebstrap' is not installed: apt-get install mmdebstrap uidmap"
	[ "$(id -u)" -ne 0 ] || return 0
	command -v newuidmap > /dev/null ||
		die "program 'newuidmap' is not installed: apt-get install uidmap"
	grep -q "^$(id -un):" /etc/subuid ||
		die "'$(id -un)' has no user ids of its own to give away: usermod --add-subuids" \
			"100000-165535 --add-subgids 100000-165535 $(id -un)"
}

# This machine's own sources, as the other recipes use them; mmdebstrap asks for their files.
sources() {
	for source in /etc/apt/sources.list /etc/apt/sources.list.d/debian.sources; do
		[ ! -s "$source" ] || printf '%s\n' "$source"
	done
}

# Only words of ours and paths without blanks are split here.
bootstrap() {
	stage packages "with mmdebstrap"
	mkdir -p "$cache/archives"
	codename=$(. /etc/os-release && [ "$ID" = debian ] && echo "$VERSION_CODENAME") ||
		codename=bookworm
	# shellcheck disable=SC2046,SC2086,SC2016 # lists of words; $1 is the hook's
	run mmdebstrap --quiet --mode=unshare --variant=minbase --format=tar \
		--include="$(echo $packages | tr ' ' ',')" \
		--aptopt='Acquire::Languages "none"' \
		--dpkgopt='force-unsafe-io' \
		--dpkgopt='path-exclude=/usr/share/man/*' \
		--dpkgopt='path-exclude=/usr/share/doc/*' \
		--dpkgopt='path-include=/usr/share/doc/*/copyright' \
		--dpkgopt='path-exclude=/usr/share/info/*' \
		--dpkgopt='path-exclude=/usr/share/locale/*' \
		--dpkgopt='path-exclude=/usr/share/lintian/*' \
		--dpkgopt='path-exclude=/usr/share/bug/*' \
		--dpkgopt='path-exclude=/usr/lib/udev/hwdb.d/*' \
		--skip=download/empty --skip=essential/unlink \
		--setup-hook='mkdir -p "$1/var/cache/apt/archives"' \
		--setup-hook="sync-in '$cache/archives' /var/cache/apt/archives" \
		--customize-hook="sync-out /var/cache/apt/archives '$cache/archives'" \
		"$codename" "$work/root.tar" $(sources) > "$work/mmdebstrap.log" 2>&1 || {
		tail_of "$work/mmdebstrap.log"
		die "mmdebstrap failed"
	}
}

# Without root the files become ours; whose they are is noted for the filesystem.
unpack() {
	stage unpack "$codename"
	tar --numeric-owner -tvf "$work/root.tar" |
		awk '$2 != "0/0" && $6 !~ /^\.\/dev\/./ {
			split($2, owner, "/"); path = substr($6, 2); sub(/\/$/, "", path)
			if (path != "") print owner[1], owner[2], path
		}' > "$work/owners.all"
	tar -x -p -C "$root" --no-same-owner --exclude='./dev/*' --exclude='./etc/ssh/ssh_host_*' \
		--exclude='./var/cache/ldconfig/*' --exclude='./var/cache/apt/*.bin' \
		--exclude='./var/lib/systemd/catalog/database' --exclude='./var/log/*.log' \
		--exclude='./var/log/apt/*' --exclude='./var/log/journal' -f "$work/root.tar"
	rm "$work/root.tar"
	: > "$work/owners"
	while read -r uid gid path; do
		[ ! -e "$root$path" ] || printf '%s %s %s\n' "$uid" "$gid" "$path" >> "$work/owners"
	done < "$work/owners.all"
}

configure() {
	stage configure debian
	rm -f "$root/etc/resolv.conf" "$root/etc/hostname" "$root/etc/machine-id"
	# Empty, not missing: systemd then makes one and does not take this for a machine to set up.
	: > "$root/etc/machine-id"
	for unit in $masked; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	ln -sf /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
	# The agent has set up the interface: its name stays.
	mkdir -p "$root/etc/systemd/network"
	ln -sf /dev/null "$root/etc/systemd/network/99-default.link"
	write_file 644 etc/fstab < /dev/null
	# As the distribution's, but nothing waits for it: the nodes of all devices are there.
	write_file 644 etc/systemd/system/systemd-udev-trigger.service <<-'END'
		[Unit]
		Description=Coldplug All udev Devices
		DefaultDependencies=no
		Wants=systemd-udevd.service
		After=systemd-udevd-kernel.socket systemd-udevd-control.socket systemd-udevd.service
		ConditionPathIsReadWrite=/sys
		[Service]
		Type=oneshot
		RemainAfterExit=yes
		ExecStart=-udevadm trigger --type=all --action=add
	END
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

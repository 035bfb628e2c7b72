# shellcheck shell=sh
# shellcheck disable=SC2154 # $cache, $work, $root are lib.sh's, $packages the recipe's
# scripts/images/bootstrap.sh - Debian with its own init, made by mmdebstrap; sourced after lib.sh.

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

# bootstrap [OPTION]...: $packages and what they need, as $work/root.tar; options are mmdebstrap's.
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
		"$@" "$codename" "$work/root.tar" $(sources) > "$work/mmdebstrap.log" 2>&1 || {
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

# The image's own init, without what costs a boot its seconds.
mask_units() {
	for unit in $masked; do
		ln -sf /dev/null "$root/etc/systemd/system/$unit"
	done
	ln -sf /usr/lib/systemd/system/multi-user.target "$root/etc/systemd/system/default.target"
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
}

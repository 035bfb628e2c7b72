#!/bin/sh
# tests/lab/image.sh OUTDIR CACHEDIR - the lab's machine: a Debian with its stock cloud kernel, QEMU and
# all that banger needs at run time; no banger. It lives here for a kernel with device-mapper, bridges,
# nftables, vsock and KVM, which a developer's machine need not have.
#
# makes	rootfs.ext4	shared, read-only: a run writes to a snapshot of it
#	vmlinuz, initrd	loads what the disk needs, then the distribution's own init
#	lab.json
set -eu

here=$(dirname "$0")/../../scripts/images
# shellcheck source=scripts/images/lib.sh
. "$here/lib.sh"
# shellcheck source=scripts/images/bootstrap.sh
. "$here/bootstrap.sh"

packages='systemd-sysv udev dbus systemd-resolved kmod netbase procps less iputils-ping
	qemu-system-x86 qemu-utils e2fsprogs xfsprogs openssh-client git lz4 xz-utils cpio
	dmsetup libdevmapper1.02.1 nftables libnftables1 iproute2 libnl-route-3-200 bind9-dnsutils
	libyaml-0-2 libsqlite3-0 libssh-4 libcjson1 libarchive13 libcurl4 libmicrohttpd12
	python3 python3-yaml python3-jsonschema libcmocka0 libasan8 libubsan1'
early='virtio_pci virtio_blk crc32c_generic ext4'
# Virtual machines without a screen, a radio or a loudspeaker.
left_out='drivers/gpu drivers/media drivers/net/wireless drivers/net/ethernet drivers/iio drivers/usb
	drivers/infiniband sound'

[ $# -eq 2 ] || {
	echo "usage: $0 OUTDIR CACHEDIR" >&2
	exit 2
}

# The kernel by its own package, without the initramfs builder that it would bring along.
unpack_kernel() {
	lock_cache
	lists_are_fresh "$lists" || update_lists
	kernel_package=$(apt_cache depends linux-image-cloud-amd64 2> /dev/null |
		awk '$1 == "Depends:" && $2 ~ /^linux-image/ { print $2; exit }')
	[ -n "$kernel_package" ] || die "the package archive has no 'linux-image-cloud-amd64'"
	fetch "$kernel_package" busybox-static
	stage unpack "$kernel_package"
	mkdir "$work/kernel" "$work/busybox"
	excludes=
	for folder in $left_out; do
		excludes="$excludes --exclude=*/kernel/$folder"
	done
	# shellcheck disable=SC2086 # a list of words
	dpkg-deb --fsys-tarfile "$(file_of "$kernel_package")" |
		tar -xf - -C "$work/kernel" $excludes ./boot ./lib/modules
	dpkg-deb -x "$(file_of busybox-static)" "$work/busybox"
	release=$(basename "$work"/kernel/lib/modules/*)
	mv "$work/kernel/boot/vmlinuz-$release" "$work/vmlinuz"
	mkdir -p "$work/modules/usr/lib"
	mv "$work/kernel/lib/modules" "$work/modules/usr/lib/"
	tar -cf "$work/modules.tar" --owner=0 --group=0 --numeric-owner -C "$work/modules" .
}

# What `early` needs, in the order of the list that depmod made.
initrd_modules() {
	for module in $early; do
		awk -v want="$module.ko" '{
			file = $1; sub(/:$/, "", file); name = file; sub(/.*\//, "", name)
			if (name == want) { for (i = NF; i > 1; i--) print $i; print file }
		}' "$root/usr/lib/modules/$release/modules.dep"
	done | awk '!seen[$0]++'
}

make_initrd() {
	stage initrd "$release"
	mkdir -p "$work/cpio/modules" "$work/cpio/bin" "$work/cpio/root" "$work/cpio/dev"
	cp "$work/busybox/bin/busybox" "$work/cpio/bin/"
	{
		cat <<-'END'
			#!/bin/busybox sh
			export PATH=/bin
			/bin/busybox --install -s /bin
			mount -t devtmpfs dev /dev
		END
		initrd_modules | while read -r module; do
			cp "$root/usr/lib/modules/$release/$module" "$work/cpio/modules/"
			echo "insmod /modules/${module##*/}"
		done
		cat <<-'END'
			while [ ! -b /dev/vda ]; do sleep 0.1; done
			mount -t ext4 -o noatime /dev/vda /root
			mount --move /dev /root/dev
			exec switch_root /root /sbin/init
		END
	} > "$work/cpio/init"
	chmod 755 "$work/cpio/init"
	(cd "$work/cpio" && find . -mindepth 1 | sort |
		cpio --quiet --reproducible -R 0:0 -H newc -o) | gzip -1n > "$work/initrd"
}

configure() {
	stage configure lab
	echo lab > "$root/etc/hostname"
	printf '127.0.0.1 localhost\n127.0.1.1 lab\n' > "$root/etc/hosts"
	: > "$root/etc/machine-id"
	mask_units
	rm -f "$root/etc/resolv.conf"
	ln -s ../run/systemd/resolve/stub-resolv.conf "$root/etc/resolv.conf"
	write_file 644 etc/fstab < /dev/null
	write_file 644 etc/modules-load.d/lab.conf < /dev/null
	write_file 644 etc/systemd/journald.conf.d/lab.conf <<-'END'
		[Journal]
		Storage=volatile
		RuntimeMaxUse=32M
	END
	write_file 644 etc/systemd/system.conf.d/lab.conf <<-'END'
		[Manager]
		DefaultTimeoutStopSec=20s
	END
	write_file 644 etc/security/limits.d/lab.conf <<-'END'
		root - core 0
	END
	# All it does comes with the tree under test, on the second disk.
	write_file 755 usr/local/sbin/lab <<-'END'
		#!/bin/sh
		mkdir -p /lab && mount -t ext4 -o noatime /dev/vdb /lab || poweroff -f
		exec /lab/tests/lab/inside.sh
	END
	write_file 644 etc/systemd/system/lab.service <<-'END'
		[Unit]
		Description=What the lab is for
		After=basic.target systemd-resolved.service
		[Service]
		ExecStart=/usr/local/sbin/lab
		StandardInput=null
		StandardOutput=journal
		LimitNOFILE=65536
		KillMode=mixed
		[Install]
		WantedBy=multi-user.target
	END
	mkdir -p "$root/etc/systemd/system/multi-user.target.wants"
	ln -sf ../lab.service "$root/etc/systemd/system/multi-user.target.wants/lab.service"
}

begin "lab" "$1" "$2"
need_filesystem
need_mmdebstrap
need cpio gzip
unpack_kernel
root=$work/root
mkdir "$root"
lock_cache
# shellcheck disable=SC2016 # $1 is the hook's
bootstrap --customize-hook="tar-in '$work/modules.tar' /" \
	--customize-hook="chroot \"\$1\" depmod '$release'"
unlock_cache
unpack
configure
make_initrd
make_filesystem 62616e67-6572-4000-8000-6c6162000000 16
# Room for packages that a scenario installs.
truncate -s +96M "$work/rootfs.ext4"
resize2fs -f "$work/rootfs.ext4" > "$work/resize.log" 2>&1 || die "$(cat "$work/resize.log")"

versions=$(awk '/^Package: / { name = $2 } /^Version: / { print name "=" $2 }' \
	"$root/var/lib/dpkg/status" | sort)
cat > "$work/lab.json" <<JSON
{
	"release": "$release",
	"packages": $(# shellcheck disable=SC2086
	json_list "$kernel_package=$(version_of "$kernel_package")" $versions)
}
JSON
publish lab.json "$work/rootfs.ext4" "$work/vmlinuz" "$work/initrd"
stage finished lab

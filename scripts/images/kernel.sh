#!/bin/sh
# scripts/images/kernel.sh NAME OUTDIR CACHEDIR - a kernel of the distribution, ready to boot a VM.
#
# NAME	debian-cloud (small, for virtual machines) or debian (everything)
# makes	vmlinuz		as packaged
#	vmlinux		its uncompressed payload, booted by its PVH entry: half a second less under TCG
#	modules.cpio	/lib/banger/modules/<release>/*.ko and `order`, the first part of each VM's initrd
#	modules.ext4	the kernel's /lib/modules/<release>, for all its VMs one read-only disk
#	kernel.json
set -eu

here=$(dirname "$0")
# shellcheck source=scripts/images/lib.sh
. "$here/lib.sh"

# What a guest needs before it has a root, in this order; what each depends on is read from the
# modules themselves. A kernel with one of them built in just has no such file. The random device
# is early because an SSH server that starts first would wait for the kernel to gather entropy.
early='virtio_pci virtio_mmio virtio_blk crc32c_generic crc32c_intel ext4 virtio_console
	virtio_net virtio-rng'
# What can wait until the guest is ready.
late='pvpanic-pci pvpanic-mmio virtio_balloon virtio_mem vmw_vsock_virtio_transport'

case "${1:-}" in
debian-cloud) meta=linux-image-cloud-amd64 ;;
debian) meta=linux-image-amd64 ;;
*)
	echo "usage: $0 debian-cloud|debian OUTDIR CACHEDIR" >&2
	exit 2
	;;
esac
[ $# -eq 3 ] || die "usage: $0 NAME OUTDIR CACHEDIR"

# The name of the package that really holds the kernel, which changes with each security update.
find_package() {
	apt_cache depends "$meta" > "$work/depends" 2> /dev/null || :
	package=$(awk '$1 == "Depends:" && $2 ~ /^linux-image/ { print $2; exit }' "$work/depends")
}

# A module by its name in the kernel's tree, or nothing when it is built in.
module_path() {
	pattern=$(printf '%s' "$1" | sed 's/[-_]/[-_]/g')
	find "$tree/lib/modules" -name "$pattern.ko" | sort | head -n 1
}

module_needs() {
	tr '\0' '\n' < "$1" | sed -n 's/^depends=//p' | tr ',' ' '
}

# List a module after all that it depends on.
order_module() {
	module_file=$(module_path "$1")
	[ -n "$module_file" ] || return 0
	grep -qxF "$module_file" "$work/order" && return 0
	for needed in $(module_needs "$module_file"); do
		order_module "$needed"
	done
	# The names above are shell globals: this one has been overwritten meanwhile.
	module_path "$1" >> "$work/order"
}

# The kernel is an ELF file in a compressed stream inside of vmlinuz; Debian uses LZ4 (its legacy
# frame) for one and XZ for the other. The boot image goes on after the stream, which the programs
# may call an error: the result decides.
extract_vmlinux() {
	extract_with '\x02\x21\x4c\x18' lz4 "$@" || extract_with '\xfd7zXZ\x00' xz "$@"
}

extract_with() {
	offset=$(grep -abo -m 1 -P "$1" "$3" | head -n 1 | cut -d : -f 1)
	[ -n "$offset" ] && command -v "$2" > /dev/null || return 1
	tail -c "+$((offset + 1))" "$3" | "$2" -dcq > "$4" 2> /dev/null || :
	[ "$(head -c 4 "$4" | tr -d '\177')" = ELF ] && [ "$(stat -c %s "$4")" -gt 8388608 ]
}

begin "kernel $1" "$2" "$3"
need awk cpio depmod grep lz4
need_filesystem
[ "$1" != debian ] || need xz
stage resolve "$meta"
lock_cache
find_package
if [ -z "$package" ]; then
	update_lists
	find_package
fi
[ -n "$package" ] || die "the package archive has no '$meta'"
fetch "$package"

stage unpack "$package"
tree=$work/tree
mkdir "$tree"
# Without what no virtual machine of ours loads: most of it, and slow to write.
dpkg-deb --fsys-tarfile "$(file_of "$package")" |
	tar -xf - -C "$tree" --exclude='*/kernel/sound' --exclude='*/kernel/drivers/gpu' \
		--exclude='*/kernel/drivers/media' --exclude='*/kernel/drivers/net/wireless' \
		--exclude='*/kernel/drivers/net/ethernet' --exclude='*/kernel/drivers/iio' \
		--exclude='*/kernel/drivers/usb' --exclude='*/kernel/drivers/scsi' \
		--exclude='*/kernel/drivers/infiniband' \
		./boot ./lib/modules
release=$(basename "$tree"/lib/modules/*)

stage modules "$release"
: > "$work/order"
for name in $early; do
	order_module "$name"
done
early_count=$(wc -l < "$work/order")
for name in $late; do
	order_module "$name"
done
folder=$work/cpio/lib/banger/modules/$release
mkdir -p "$folder"
while read -r module; do
	cp "$module" "$folder/"
done < "$work/order"
sed 's|.*/||' "$work/order" | sed "${early_count}a -" > "$folder/order"
find "$work/cpio" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
(cd "$work/cpio" && find . -mindepth 1 | sort |
	cpio --quiet --reproducible -R 0:0 -H newc -o) > "$work/modules.cpio"

stage modules.ext4 "$release"
depmod -b "$tree" "$release"
root=$tree/lib/modules/$release
make_filesystem 62616e67-6572-4d6f-8064-6d6f64756c60 4
mv "$work/rootfs.ext4" "$work/modules.ext4"

stage kernel "$release"
cp "$tree/boot/vmlinuz-$release" "$work/vmlinuz"
boot=vmlinuz
set -- "$work/vmlinuz" "$work/modules.cpio" "$work/modules.ext4"
if extract_vmlinux "$work/vmlinuz" "$work/vmlinux"; then
	boot=vmlinux
	set -- "$@" "$work/vmlinux"
fi

cat > "$work/kernel.json" <<JSON
{
	"format": 1,
	"name": "${recipe#kernel }",
	"release": "$release",
	"boot": "$boot",
	"packages": $(json_list "$package=$(version_of "$package")")
}
JSON
publish kernel.json "$@"
stage finished "$release"

#!/bin/sh
# scripts/images/tiny.sh OUTDIR CACHEDIR - the image `tiny`: a small guest made only from packages
# of the distribution: busybox, dropbear (SSH), sftp-server and git.
#
# makes	rootfs.ext4	a sparse ext4 image, shared and read-only: every VM writes to its own overlay
#	image.json
set -eu

here=$(dirname "$0")
# shellcheck source=scripts/images/lib.sh
. "$here/lib.sh"

packages='busybox dropbear-bin git openssh-sftp-server libc6 libcrypt1
	libgmp10 libpcre2-8-0 libtomcrypt1 libtommath1 zlib1g'
# What those depend on and tiny does without: git over http, git's Perl parts, the ssh client
# (sftp-server needs none of it), and what libc wants for its own upgrades.
left_out='libcurl3-gnutls libexpat1 perl liberror-perl git-man openssh-client libgcc-s1
	debconf debconf-2.0'

[ $# -eq 2 ] || {
	echo "usage: $0 OUTDIR CACHEDIR" >&2
	exit 2
}

# Every dependency of every package is either in the list above or left out on purpose.
check_dependencies() {
	for package in $packages; do
		deb=$(file_of "$package")
		dpkg-deb -f "$deb" Depends Pre-Depends |
			sed 's/^[A-Z][A-Za-z-]*: //; s/([^)]*)//g; s/:any//g' | tr ',' '\n' |
			while read -r clause; do
				dependency_known "$clause" || die "'$package' now depends on '$clause'"
			done || exit 1
	done
}

# "a | b": one of them is enough.
dependency_known() {
	for alternative in $(printf '%s' "$1" | tr '|' ' '); do
		for known in $packages $left_out; do
			[ "$known" != "$alternative" ] || return 0
		done
	done
	[ -z "$1" ]
}

unpack() {
	stage unpack "$(wc -l < "$work/debs") packages"
	mkdir -p "$root/usr/bin" "$root/usr/sbin" "$root/usr/lib" "$root/usr/lib64"
	for folder in bin sbin lib lib64; do
		ln -s "usr/$folder" "$root/$folder"
	done
	# Old paths in the packages (./lib/…) must go through these links, not replace them.
	while read -r deb; do
		dpkg-deb --fsys-tarfile "$deb" |
			tar -x -C "$root" --keep-directory-symlink --no-same-owner \
				--exclude='./usr/share/doc' --exclude='./usr/share/man' \
				--exclude='./usr/share/lintian' --exclude='./usr/share/locale' \
				--exclude='./usr/share/bash-completion' --exclude='./usr/share/bug' \
				--exclude='./usr/share/perl5' --exclude='./usr/share/gitweb' \
				--exclude='./usr/lib/x86_64-linux-gnu/gconv' \
				--exclude='./usr/lib/x86_64-linux-gnu/perl5' \
				--exclude='./usr/lib/git-core/mergetools' \
				--exclude='./usr/lib/git-core/git-http-*' \
				--exclude='./usr/lib/git-core/git-remote-http*' \
				--exclude='./usr/lib/git-core/git-remote-ftp*' \
				--exclude='./usr/lib/git-core/git-imap-send' \
				--exclude='./usr/lib/git-core/scalar' \
				--exclude='./usr/bin/scalar' --exclude='./etc/bash_completion.d'
	done < "$work/debs"
	[ -x "$root/usr/lib/sftp-server" ] || die "no sftp-server where dropbear looks for it"
}

# A name in /bin for everything busybox can do and no package brought.
link_busybox() {
	"$root/bin/busybox" --list-full | sort > "$work/applets"
	while read -r applet; do
		name=${applet##*/}
		for folder in usr/bin usr/sbin; do
			[ ! -e "$root/$folder/$name" ] || continue 2
		done
		case $applet in
		*sbin/* | linuxrc) link=$root/usr/sbin/$name ;;
		*) link=$root/usr/bin/$name ;;
		esac
		ln -s /bin/busybox "$link"
	done < "$work/applets"
	rm -f "$root/usr/sbin/linuxrc"
}

write_file() {
	mkdir -p "$(dirname "$root/$2")"
	cat > "$root/$2"
	chmod "$1" "$root/$2"
}

configure() {
	stage configure tiny
	link_busybox
	mkdir -p "$root/dev" "$root/proc" "$root/sys" "$root/run" "$root/mnt" "$root/root" \
		"$root/tmp" "$root/var/log" "$root/var/tmp" "$root/etc/ssh" "$root/home"
	chmod 1777 "$root/tmp" "$root/var/tmp"
	chmod 700 "$root/root"
	ln -s /run "$root/var/run"
	ln -s /proc/mounts "$root/etc/mtab"
	write_file 644 etc/passwd <<-'END'
		root:x:0:0:root:/root:/bin/sh
		nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
	END
	write_file 644 etc/group <<-'END'
		root:x:0:
		adm:x:4:
		tty:x:5:
		disk:x:6:
		staff:x:50:
		users:x:100:
		nogroup:x:65534:
	END
	write_file 640 etc/shadow <<-'END'
		root:*:19000:0:99999:7:::
		nobody:*:19000:0:99999:7:::
	END
	write_file 644 etc/shells <<-'END'
		/bin/sh
	END
	write_file 644 etc/nsswitch.conf <<-'END'
		passwd: files
		group: files
		shadow: files
		hosts: files dns
	END
	write_file 644 etc/os-release <<-'END'
		NAME="banger tiny"
		ID=banger-tiny
		ID_LIKE=debian
		PRETTY_NAME="banger tiny, made from Debian packages"
	END
	write_file 644 etc/profile <<-'END'
		export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin
		export PS1='\u@\h:\w\$ '
	END
	write_file 644 etc/inittab <<-'END'
		::sysinit:/etc/init.d/rcS
		::respawn:/etc/init.d/sshd
		::ctrlaltdel:/sbin/reboot
		::shutdown:/etc/init.d/rcK
	END
	write_file 755 etc/init.d/rcS <<-'END'
		#!/bin/sh
		# The agent has mounted /dev, /proc, /sys and the disks and set up the network.
		mount -t tmpfs -o mode=755,nosuid,nodev tmpfs /run
		mkdir -p /dev/pts /dev/shm
		mount -t devpts -o gid=5,mode=620 devpts /dev/pts
		mount -t tmpfs -o mode=1777,nosuid,nodev tmpfs /dev/shm
		# Your own start-up, if there is one; a failure of it does not hold up the boot.
		if [ -x /etc/rc.local ]; then
			/etc/rc.local &
		fi
	END
	write_file 755 etc/init.d/rcK <<-'END'
		#!/bin/sh
		[ ! -x /etc/rc.shutdown ] || /etc/rc.shutdown
		sync
	END
	write_file 755 etc/init.d/sshd <<-'END'
		#!/bin/sh
		# banger gives each VM its host key (OpenSSH's format) and pins it: no other is ever
		# made or served. Run again by init when dropbear ends.
		key=/etc/ssh/ssh_host_ed25519_key
		if ! [ -s $key ] || ! dropbearconvert openssh dropbear $key /run/host_key 2> /dev/null; then
			echo "sshd: no usable host key in $key" > /dev/console
			exec sleep 10
		fi
		exec dropbear -F -s -m -r /run/host_key
	END
}

# mke2fs takes owners and change times from the files as they lie here; a second pass says what
# they shall be. So the same image comes out whoever runs this, without root and without user
# namespaces.
settle_inodes() {
	(cd "$root" && find . -mindepth 1 | sort) > "$work/paths"
	awk -v t="@$SOURCE_DATE_EPOCH" '
		function settle(path, field) {
			for (field in fields)
				print "set_inode_field", "\"" path "\"", field, fields[field]
		}
		BEGIN {
			fields["uid"] = 0; fields["gid"] = 0
			fields["atime"] = t; fields["ctime"] = t; fields["mtime"] = t; fields["crtime"] = t
			fields["atime_extra"] = 0; fields["ctime_extra"] = 0
			fields["mtime_extra"] = 0; fields["crtime_extra"] = 0
			settle("/"); settle("/lost+found")
		}
		{ settle(substr($0, 2)) }' "$work/paths" > "$work/settle"
}

make_filesystem() {
	stage filesystem ext4
	# The journal is for the grown disk, the spare room for the first start before it has grown.
	used_kib=$(du -sk --apparent-size "$root" | cut -f 1)
	count=$(find "$root" | wc -l)
	size_mib=$(((used_kib + count * 3) / 1024 + 16 + 8))
	find "$root" -exec touch -h -d "@$SOURCE_DATE_EPOCH" {} +
	truncate -s "${size_mib}M" "$work/rootfs.ext4"
	# Said here and not left to the machine's mke2fs.conf, which differs.
	cat > "$work/mke2fs.conf" <<-'CONF'
		[defaults]
			base_features = has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,sparse_super,large_file,huge_file,dir_nlink,extra_isize,metadata_csum
			blocksize = 4096
			inode_size = 256
			inode_ratio = 16384
		[fs_types]
			ext4 = {
				default_mntopts = acl,user_xattr
			}
	CONF
	# resize= keeps room for growing to 2 TiB; inodes are one for each 16 KiB of the grown disk.
	MKE2FS_CONFIG=$work/mke2fs.conf E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH \
		mke2fs -q -t ext4 -d "$root" -L root -m 0 -J size=16 \
		-U 62616e67-6572-4000-8000-74696e790000 \
		-E "hash_seed=62616e67-6572-4000-8000-74696e790001,resize=536870912,lazy_itable_init=0,lazy_journal_init=0,nodiscard,assume_storage_prezeroed=1,root_owner=0:0" \
		"$work/rootfs.ext4" > "$work/mke2fs.log" 2>&1 || {
		tail_of "$work/mke2fs.log"
		die "mke2fs failed"
	}
	settle_inodes
	E2FSPROGS_FAKE_TIME=$SOURCE_DATE_EPOCH debugfs -w -f "$work/settle" "$work/rootfs.ext4" \
		> "$work/debugfs.log" 2>&1
	# debugfs echoes what it is told and exits 0 whatever happens.
	if grep -v '^debugfs' "$work/debugfs.log" > "$work/debugfs.bad"; then
		tail_of "$work/debugfs.bad"
		die "debugfs failed"
	fi
}

begin "image tiny" "$1" "$2"
need awk du mke2fs debugfs truncate
root=$work/root
mkdir "$root"
# shellcheck disable=SC2086 # a list of words
fetch $packages
check_dependencies
unpack
configure
make_filesystem

versions=
for package in $packages; do
	versions="$versions $package=$(version_of "$package")"
done
cat > "$work/image.json" <<JSON
{
	"format": 1,
	"name": "tiny",
	"kernel": "debian-cloud",
	"min_memory": 134217728,
	"size": $(stat -c %s "$work/rootfs.ext4"),
	"description": "busybox, dropbear, sftp and git from Debian packages",
	"packages": $(# shellcheck disable=SC2086
	json_list $versions)
}
JSON
publish image.json "$work/rootfs.ext4"
stage finished tiny

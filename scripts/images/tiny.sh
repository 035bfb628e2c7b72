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

begin "image tiny" "$1" "$2"
need_filesystem
root=$work/root
mkdir "$root"
# shellcheck disable=SC2086 # a list of words
fetch $packages
check_dependencies
unpack
configure
make_filesystem 62616e67-6572-4000-8000-74696e790000 16

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

# shellcheck shell=sh
# scripts/images/lib.sh - what the image and kernel recipes share; sourced, never run.
#
# Packages come from this machine's own package archive, by apt, with its own sources, keys and
# signature checks, but without root: apt's state lives in CACHEDIR. Everything a recipe makes is
# made in a work folder inside OUTDIR and moved into place at the end, the .json last: an OUTDIR
# without its .json is not finished.
#
# Said on stdout, for the program that runs the recipe:
#	stage WORD DETAIL
#	progress DONE TOTAL bytes

# One clock for every file we make, so that the same packages give the same bytes.
: "${SOURCE_DATE_EPOCH:=1672531200}"
export SOURCE_DATE_EPOCH
export LC_ALL=C TZ=UTC
umask 022
# mke2fs and debugfs live where an ordinary user's PATH does not look.
PATH=$PATH:/usr/sbin:/sbin

# Lists of packages older than this are asked for again.
lists_fresh_minutes=1440

recipe=recipe
work=
# The tree that becomes the filesystem.
root=
child=

die() {
	printf '%s: %s\n' "$recipe" "$*" >&2
	exit 1
}

stage() {
	printf 'stage %s\n' "$*"
}

progress() {
	printf 'progress %s %s bytes\n' "$1" "$2"
}

# The last lines of a program's own complaint, for the reader of ours.
tail_of() {
	grep -v '^W: Download is performed unsandboxed' "$1" | tail -n 5 >&2
}

need() {
	for program in "$@"; do
		command -v "$program" > /dev/null || die "program '$program' is not installed"
	done
}

# begin NAME OUTDIR CACHEDIR: make the work folder, absolute $out, $cache and $work.
begin() {
	recipe=$1
	need apt-get apt-cache dpkg dpkg-deb find flock sha256sum sort stat tar
	[ "$(dpkg --print-architecture)" = amd64 ] || die "only amd64 is known here"
	mkdir -p "$2" "$3/debs" "$3/lists/partial" "$3/apt/archives/partial" ||
		die "cannot make '$2' and '$3'"
	out=$(cd "$2" && pwd)
	cache=$(cd "$3" && pwd)
	work=$out/.work.$$
	trap finish EXIT
	trap 'exit 143' TERM
	trap 'exit 130' INT
	trap 'exit 129' HUP
	mkdir "$work" || die "cannot make '$work'"
	write_apt_conf
}

# Also runs when a signal ends us: nothing stays but the cache.
finish() {
	if [ -n "$child" ]; then
		kill "$child" 2> /dev/null || :
		wait "$child" 2> /dev/null || :
	fi
	rm -rf "$work"
	rmdir "$out" 2> /dev/null || :
}

# publish JSON FILE...: move the finished files out of the work folder, the JSON last.
publish() {
	json=$1
	shift
	rm -f "$out/$json"
	sync "$@" "$work/$json"
	for file in "$@"; do
		mv -f "$file" "$out/"
	done
	mv -f "$work/$json" "$out/$json"
}

# Run a command so that a signal to this script is acted on at once (a shell only looks at its
# traps between foreground commands).
run() {
	"$@" &
	child=$!
	status=0
	wait "$child" || status=$?
	child=
	return $status
}

# Hooks of the machine (cleaning of /var/cache, say) are not for an unprivileged run.
write_apt_conf() {
	cat > "$work/apt.conf" <<-CONF
		#clear APT::Update::Pre-Invoke;
		#clear APT::Update::Post-Invoke;
		#clear APT::Update::Post-Invoke-Success;
		#clear DPkg::Post-Invoke;
		Dir::State "$cache/apt";
		Dir::State::status "$work/status";
		Dir::Cache "$cache/apt";
		Dir::Cache::archives "archives";
		APT::Get::AllowUnauthenticated "false";
		Acquire::AllowInsecureRepositories "false";
		Acquire::Retries "3";
		Acquire::http::Timeout "30";
		Acquire::https::Timeout "30";
	CONF
	: > "$work/status"
	lists=/var/lib/apt/lists
	if lists_are_fresh "$cache/lists" || ! lists_are_fresh "$lists"; then
		lists=$cache/lists
	fi
}

lists_are_fresh() {
	[ -n "$(find "$1" -maxdepth 1 -name '*InRelease' -mmin "-$lists_fresh_minutes" 2> /dev/null)" ]
}

apt_get() {
	run apt-get -c "$work/apt.conf" -o Dir::State::lists="$lists" "$@"
}

apt_cache() {
	run apt-cache -c "$work/apt.conf" -o Dir::State::lists="$lists" "$@"
}

# Fetch the archive's lists into the cache; the time of the files says when that was.
update_lists() {
	stage update "package lists"
	lists=$cache/lists
	apt_get -qq update > "$work/apt.log" 2>&1 || {
		tail_of "$work/apt.log"
		die "cannot update the package lists"
	}
	find "$lists" -maxdepth 1 -name '*InRelease' -exec touch {} +
	lists_updated=yes
}

lists_updated=no

# uris_of PACKAGE...: lines "FILE SIZE SHA256" in $work/uris, or failure.
uris_of() {
	apt_get download --print-uris "$@" > "$work/uris.raw" 2> "$work/apt.log" || return 1
	sed -n "s/^'[^']*' \([^ ]*\) \([0-9]*\) SHA256:\([0-9a-f]*\)\$/\1 \2 \3/p" \
		"$work/uris.raw" | sort > "$work/uris"
	[ "$(wc -l < "$work/uris")" -eq $# ]
}

# One recipe at a time reads and fills the cache.
lock_cache() {
	[ "$cache_locked" = no ] || return 0
	exec 9> "$cache/lock"
	run flock 9
	cache_locked=yes
}

unlock_cache() {
	exec 9>&-
	cache_locked=no
}

cache_locked=no

# fetch PACKAGE...: have each package's newest version in $cache/debs; their files, sorted by
# name, in $work/debs. Several recipes may share one cache at the same time.
fetch() {
	stage resolve "$# packages"
	lock_cache
	lists_are_fresh "$lists" || update_lists
	if ! uris_of "$@"; then
		[ "$lists_updated" = no ] && update_lists
		uris_of "$@" || {
			tail_of "$work/apt.log"
			die "the package archive does not have all of: $*"
		}
	fi
	fetch_missing "$@"
	unlock_cache
}

fetch_missing() {
	: > "$work/debs"
	: > "$work/missing"
	total=0
	while read -r file size sha; do
		printf '%s\n' "$cache/debs/$file" >> "$work/debs"
		[ -f "$cache/debs/$file" ] &&
			echo "$sha  $cache/debs/$file" | sha256sum --status -c - && continue
		total=$((total + size))
		deb_identity "$file" >> "$work/missing"
	done < "$work/uris"
	[ -s "$work/missing" ] || return 0
	stage download "$(wc -l < "$work/missing") packages"
	download || {
		# The lists may name a version that the archive has replaced since.
		[ "$lists_updated" = no ] || download_failed
		update_lists
		uris_of "$@" || download_failed
		fetch_missing "$@"
	}
}

download_failed() {
	tail_of "$work/apt.log"
	die "cannot download the packages"
}

# "git_1%3a2.39.5-0_amd64.deb" -> "git=1:2.39.5-0"
deb_identity() {
	printf '%s\n' "$1" | sed 's/_[^_]*\.deb$//; s/_/=/; s/%3a/:/g; s/%7e/~/g; s/%2b/+/g'
}

# Fetch what $work/missing names; apt checks each file against the signed lists.
download() {
	mkdir -p "$work/fetch"
	# shellcheck disable=SC2046 # one word a package: names and versions hold no blanks
	(cd "$work/fetch" && exec apt-get -c "$work/apt.conf" -o Dir::State::lists="$lists" -qq \
		download $(cat "$work/missing")) > "$work/apt.log" 2>&1 &
	child=$!
	while kill -0 "$child" 2> /dev/null; do
		progress "$(fetched_bytes)" "$total"
		sleep 0.3
	done
	status=0
	wait "$child" || status=$?
	child=
	[ $status -eq 0 ] || return $status
	progress "$total" "$total"
	mv -f "$work/fetch/"*.deb "$cache/debs/"
}

fetched_bytes() {
	find "$work/fetch" -type f -printf '%s\n' | awk '{ sum += $1 } END { print sum + 0 }'
}

# file_of PACKAGE: its .deb.
file_of() {
	grep "/$1_[^/]*\.deb\$" "$work/debs" || die "package '$1' was not fetched"
}

version_of() {
	dpkg-deb -f "$(file_of "$1")" Version
}

# json_list WORD...: ["a", "b"]. Only for words that need no escape.
json_list() {
	separator=
	printf '['
	for word in "$@"; do
		printf '%s"%s"' "$separator" "$word"
		separator=', '
	done
	printf ']'
}

# write_file MODE PATH: standard input as a file of $root.
write_file() {
	mkdir -p "$(dirname "$root/$2")"
	cat > "$root/$2"
	chmod "$1" "$root/$2"
}

need_filesystem() {
	need awk du mke2fs debugfs truncate
}

# mke2fs takes owners and change times from the files as they lie here; a second pass says what
# they shall be. So the same image comes out whoever runs this, without root and without user
# namespaces. $work/owners may hold "UID GID /path" of what is not root's.
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
	[ ! -f "$work/owners" ] || awk '{
			uid = $1; gid = $2
			sub(/^[0-9]+ [0-9]+ /, "")
			print "set_inode_field", "\"" $0 "\"", "uid", uid
			print "set_inode_field", "\"" $0 "\"", "gid", gid
		}' "$work/owners" >> "$work/settle"
}

# make_filesystem UUID JOURNAL_MIB: $root as $work/rootfs.ext4, sparse, for growing in each VM.
make_filesystem() {
	stage filesystem ext4
	# The journal is for the grown disk, the spare room for the first start before it has grown.
	used_kib=$(du -sk --apparent-size "$root" | cut -f 1)
	count=$(find "$root" | wc -l)
	size_mib=$(((used_kib + count * 3) / 1024 + $2 + 8))
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
		mke2fs -q -t ext4 -d "$root" -L root -m 0 -J "size=$2" \
		-U "$1" \
		-E "hash_seed=${1%0}1,resize=536870912,lazy_itable_init=0,lazy_journal_init=0,nodiscard,assume_storage_prezeroed=1,root_owner=0:0" \
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

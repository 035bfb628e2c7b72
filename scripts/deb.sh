#!/bin/sh
# scripts/deb.sh VERSION COMMIT - build/deb/banger_VERSION_amd64.deb from a copy of this tree, which is
# kept in build/deb/tree so that the next build is short. No root is needed.
set -eu
cd "$(dirname "$0")/.."

[ $# -eq 2 ] || {
	echo "usage: $0 VERSION COMMIT" >&2
	exit 2
}
version=$1
commit=$2
command -v dh > /dev/null || {
	echo "$0: debhelper is missing, 'make deb-deps' installs it" >&2
	exit 1
}
tree=build/deb/tree
mkdir -p "$tree"
# One build at a time: the tree is shared.
exec 9> build/deb/lock
flock 9
# What left the tree leaves the copy, what was built stays.
find "$tree" -mindepth 1 -maxdepth 1 ! -name build -exec rm -rf {} +
tar -cf - --exclude=./build --exclude='./build-*' --exclude=./.git . | tar -xf - -C "$tree"
cp -r packaging/debian "$tree/debian"
cat > "$tree/debian/changelog" <<EOF
banger ($version) unstable; urgency=medium

  * Version $version, commit $commit. CHANGELOG.md tells what is new.

 -- The banger authors <banger@example.org>  $(date -R -u -d "@$(git log -1 --format=%ct 2> /dev/null || date +%s)")
EOF
mkdir -p "$tree/debian/source"
echo '3.0 (native)' > "$tree/debian/source/format"
log=build/deb/build.log
(cd "$tree" && VERSION=$version COMMIT=$commit JOBS=$(nproc) \
	dpkg-buildpackage --build=binary --no-sign > ../build.log 2>&1) || {
	tail -n 30 "$log" >&2
	echo "$0: no package was built, $log has it all" >&2
	exit 1
}
echo "build/deb/banger_${version}_amd64.deb"

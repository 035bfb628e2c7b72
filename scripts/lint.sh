#!/bin/sh
# scripts/lint.sh - what reads the code without running it. Every tool must be clean.
set -u
cd "$(dirname "$0")/.."
bad=0
step() {
	title=$1
	shift
	echo "== $title"
	"$@" || bad=1
}
flags="-std=c11 -D_GNU_SOURCE -I. -Ireconciler -DBANGER_VERSION=\"lint\" $(pkg-config --cflags yaml-0.1 sqlite3 libssh libcjson libarchive)"
sources=$(git ls-files -co --exclude-standard '*.c' | grep -v '^tests/')
all=$(git ls-files -co --exclude-standard '*.[ch]')

step layers scripts/check-layers.sh
step style scripts/check-style.sh
# shellcheck disable=SC2086 # lists of files and flags, here and below
step clang-format clang-format --dry-run --Werror $all
step shellcheck shellcheck -x scripts/*.sh scripts/images/*.sh tests/*.sh

tidy() { echo "$sources" | xargs -P "$(nproc)" -n 6 clang-tidy --quiet --warnings-as-errors='*' 2> /dev/null; }
tidy_flags() { clang-tidy --quiet --warnings-as-errors='*' "$1" -- $flags 2> /dev/null; }
if [ "${1:-}" = tidy-one ]; then
	tidy_flags "$2"
	exit
fi
step clang-tidy sh -c "echo '$sources' | tr ' ' '\n' | xargs -P $(nproc) -I{} $0 tidy-one {}"
# memleak: cppcheck 2.10 does not know the cleanup attribute; leaks are LeakSanitizer's business.
step cppcheck cppcheck --quiet --error-exitcode=1 --std=c11 --enable=warning,performance,portability \
	--suppress=missingIncludeSystem --suppress=memleak --suppress=resourceLeak --suppress=memleakOnRealloc \
	--inline-suppr -D_GNU_SOURCE -I. -Ireconciler -j "$(nproc)" $sources
analyze() {
	for file in $sources; do echo "$file"; done |
		xargs -P "$(nproc)" -I{} sh -c "gcc $(echo "$flags" | sed 's/"/\\\\\\"/g') -O1 -fanalyzer -Werror -fsyntax-only {} 2>&1"
}
step "gcc -fanalyzer" analyze
step "clang warnings" sh -c "for f in $(echo $sources); do clang $(echo "$flags" | sed 's/"/\\\\"/g') -Wall -Wextra -Wshadow -Wpedantic -Werror -fsyntax-only \$f || exit 1; done"
[ $bad = 0 ] && echo "lint is clean"
exit $bad

#!/bin/sh
# scripts/lint.sh - what reads the code without running it. Every tool must be clean.
#   scripts/lint.sh tidy|analyzer|clang FILE   is how it calls itself, for one file at a time
set -u
cd "$(dirname "$0")/.." || exit 1
# shellcheck disable=SC2089 # the quotes are part of the macros' text
flags="-std=c11 -D_GNU_SOURCE -I. -Ireconciler -DBANGER_VERSION=\"lint\" -DBANGER_SHARE_DIR=\"/x\"
	$(pkg-config --cflags yaml-0.1 sqlite3 libssh libcjson libarchive devmapper libnl-route-3.0)"

# shellcheck disable=SC2086,SC2090 # flags are words
if [ $# -gt 0 ]; then
	case $1 in
	tidy) out=$(clang-tidy --quiet --warnings-as-errors='*' "$2" -- $flags 2> /dev/null) ;;
	analyzer) out=$(gcc $flags -O1 -fanalyzer -Werror -c -o /dev/null "$2" 2>&1) ;;
	clang) out=$(clang $flags -Wall -Wextra -Wshadow -Wpedantic -Werror -fsyntax-only "$2" 2>&1) ;;
	*) out="lint: there is no tool '$1', only tidy, analyzer, clang"; false ;;
	esac || {
		printf '%s\n' "$out"
		exit 1
	}
	exit 0
fi

bad=0
step() {
	title=$1
	shift
	echo "== $title"
	"$@" || {
		echo "FAIL $title"
		bad=1
	}
}
each() { git ls-files -co --exclude-standard '*.c' | grep -v '^tests/' | xargs -P "$(nproc)" -I{} "$0" "$1" {}; }
format() { git ls-files -co --exclude-standard '*.[ch]' | xargs clang-format --dry-run --Werror; }
shells() { git ls-files -co --exclude-standard '*.sh' .ci/run | xargs shellcheck -x -S warning; }
# memleak, resourceLeak: cppcheck 2.10 does not know the cleanup attribute; leaks are LeakSanitizer's business.
# Two of its guesses about NULL come from not following aborting allocators.
cppcheck_all() {
	git ls-files -co --exclude-standard '*.c' | grep -v '^tests/' | xargs cppcheck --quiet --error-exitcode=1 \
		--std=c11 --enable=warning,performance,portability --inline-suppr --suppress=missingIncludeSystem \
		--suppress=memleak --suppress=resourceLeak --suppress=memleakOnRealloc --suppress=nullPointerOutOfMemory \
		-D_GNU_SOURCE -I. -Ireconciler -j "$(nproc)"
}

step layers scripts/check-layers.sh
step style scripts/check-style.sh
step clang-format format
step shellcheck shells
step "clang warnings" each clang
step cppcheck cppcheck_all
step "gcc -fanalyzer" each analyzer
step clang-tidy each tidy
[ $bad = 0 ] && echo "lint is clean"
exit $bad

#!/bin/sh
# The planner is pure: no I/O, clock, log or environment. Whatever its objects need must come from
# the lists below, or from schema objects for which, in turn, the same holds.
#   usage: scripts/check-plan-pure.sh [BUILD_DIR]
set -eu
build=${1:-${BUILD:-build}}
todo=$(ls "$build"/reconciler/plan/*.o 2>/dev/null) || {
	echo "check-plan-pure: no objects in $build/reconciler/plan, run make first" >&2
	exit 1
}

# C library: memory, text, sorting, printing into memory; what compilers and sanitizers add.
libc='mem(cpy|move|set|cmp|chr|rchr|mem)|str(len|nlen|cmp|ncmp|chr|rchr|spn|cspn|str|dup|ndup)'
libc="$libc|strn?casecmp|strtou?ll?|qsort|bsearch|v?snprintf|free|malloc|calloc|realloc(array)?"
libc="$libc|abort|__(v?snprintf|mem[a-z]*|str[a-z]*)_chk|__ctype_[a-z]*_loc|__errno_location"
libc="$libc|__isoc(99|23)_strtou?ll?|__stack_chk_fail|_GLOBAL_OFFSET_TABLE_|__tls_get_addr"
libc="$libc|inet_pton|inet_ntop"
libc="$libc|__(asan|ubsan|lsan|gcov|llvm)_.*"
# Ours and cJSON: values and memory only.
base='x(malloc|calloc|reallocarray|strdup|strndup|asprintf)|bug_at|str_copy|buf_.*|json_.*'
base="$base|cJSON_.*|units_.*|error_(set|wrap|append|code_.*)"
# The field table names parsers beside comparisons; the one of ssh_keys reads the files it is given
# while parsing, which the planner never does.
parser='kind_keys.o:(open|close|error_sys|fs_read_fd)'

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
nm -A --defined-only -g "$build"/schema/*.o 2>/dev/null |
	awk '{ sub(/:.*/, "", $1); print $NF, $1 }' >"$work/schema"
# shellcheck disable=SC2086 # a list of objects
nm --defined-only -g $todo | awk 'NF == 3 { print $3 }' >"$work/known"

seen=" " bad=0
while [ -n "$todo" ]; do
	next=""
	for o in $todo; do
		case $seen in *" $o "*) continue ;; esac
		seen="$seen$o "
		nm -u "$o" | awk '{ sub(/@.*/, "", $2); print $2 }' |
			grep -Evx "$libc|$base" | grep -Fvxf "$work/known" >"$work/need" || :
		while read -r symbol; do
			from=$(awk -v s="$symbol" '$1 == s { print $2; exit }' "$work/schema")
			[ -z "$from" ] || { next="$next $from"; continue; }
			! echo "${o##*/}:$symbol" | grep -Eqx "$parser" || continue
			echo "check-plan-pure: $o uses '$symbol'" >&2
			bad=1
		done <"$work/need"
	done
	todo=$next
done
[ $bad = 1 ] || echo "plan is pure ($(echo "$seen" | wc -w) objects)"
exit $bad

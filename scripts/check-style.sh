#!/bin/sh
# scripts/check-style.sh - rules that a compiler does not know (CONTRIBUTING.md has the reasons).
set -eu
cd "$(dirname "$0")/.."
bad=0
sources=$(git ls-files -co --exclude-standard '*.c' '*.h' | grep -v '^tests/')

deny() { # deny PATTERN WHY [ALLOWED-FILES-PATTERN]
	# shellcheck disable=SC2086 # a list of files
	found=$(grep -nE "$1" $sources | grep -vE "${3:-^$}" || :)
	[ -z "$found" ] || {
		echo "$found" >&2
		echo "  ^ $2" >&2
		bad=1
	}
}

word='(^|[^a-zA-Z0-9_>.])'
deny "$word(system|popen) *\(" "no shell: proc_run() takes an argument vector"
deny "$word(strcpy|strcat|sprintf|vsprintf|strncpy|strtok|atoi|atol|gets) *\(" "unbounded or unchecked: use buf, str_copy, units"
deny "$word(goto) " "no goto: early return, resources with cleanup attributes"
deny "$word(malloc|calloc|realloc|strdup|asprintf) *\(" "x-allocators only (base/mem.h)" '^(reconciler/base/mem\.c|schema/arena\.c)'
deny 'typedef struct' "structs are called structs"
deny "$word(exit|_exit|abort) *\(" "a library returns an error" '^(reconciler/(base/(mem|failpoint)|sys/|cli/|daemon/main|driver/accel)|agent/)'

# Descriptors do not leak into hypervisors.
fds=$(mktemp)
trap 'rm -f "$fds"' EXIT
# shellcheck disable=SC2086
grep -nE "$word(open|openat|socket|accept4|pipe2|dup3|epoll_create1|inotify_init1|eventfd|signalfd|timerfd_create|memfd_create) *\(" $sources |
	grep -vE 'CLOEXEC|^[^:]*:[0-9]+: *(\*|/\*)|#define|close-on-exec-not' > "$fds" || :
while IFS=: read -r file line rest; do
	# The flag may stand on the next lines of the call.
	sed -n "$line,$((line + 3))p" "$file" | grep -qE 'CLOEXEC|outlives exec|after the fork' || {
		echo "$file:$line:$rest" >&2
		echo "  ^ without CLOEXEC" >&2
		bad=1
	}
done < "$fds"

for file in $sources; do
	lines=$(wc -l < "$file")
	[ "$lines" -le 500 ] || {
		echo "$file: $lines lines, split it by what it is about (500)" >&2
		bad=1
	}
done
# shellcheck disable=SC2086
awk 'FNR == 1 { start = 0 }
	/^[a-z].*\)$/ || /^[a-z].*,$/ { name = $0 }
	/^\{$/ { start = FNR }
	/^\}$/ && start { if (FNR - start > 70) { printf "%s:%d: function of %d lines, split it (60)\n", FILENAME, start, FNR - start; bad = 1 } start = 0 }
	END { exit bad }' $sources >&2 || bad=1
[ $bad = 1 ] || echo "style holds"
exit $bad

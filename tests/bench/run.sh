#!/bin/sh
# tests/bench/run.sh [NAME…] - the budgets of make bench, all or some of: schema save boot idle restart.
# Each is measured beside a peer in the same run; the table says the ratio, $BUILD/bench.json keeps
# it. Exit 0 also over budget (people judge that), 1 when something could not be measured.
set -eu
cd "$(dirname "$0")/../.."
BUILD=${BUILD:-build}
export BUILD
for program in schema store stand_in inotify; do
	[ -x "$BUILD/bench/bench_$program" ] || {
		echo "bench: '$BUILD/bench/bench_$program' is not built: make bench" >&2
		exit 1
	}
done
exec python3 tests/bench/bench.py "$@"

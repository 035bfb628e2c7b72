#!/bin/sh
# tests/run.sh unit|e2e|all - run what was built into $BUILD; the last line counts. Of a build with COV=1
# the lines before it say how much of each layer ran. all: with the five scenarios of $in_lab as root, in the
# lab, beside the others.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build-san}
export BUILD
what=${1:-all}
in_lab='=lab/dm/drivers_conform =lab/smoke/a_snapshot_over_two_loops =lab/smoke/bridge_tap_and_nftables
	=lab/smoke/vsock =lab/smoke/kvm_runs_a_guest'
lab_results=build/lab/five
passed=0 failed=0
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
log=$(mktemp)
lab=
trap '[ -z "$lab" ] || kill "$lab" 2> /dev/null; rm -f "$log"*' EXIT
trap 'exit 130' INT TERM
find "$BUILD" -name '*.gcda' -delete
if [ "$what" = all ]; then
	# shellcheck disable=SC2086 # a list of titles
	tests/lab/run.py --results "${lab_results##*/}" $in_lab > "$log.lab" 2>&1 &
	lab=$!
fi

run() { # run TITLE COMMAND… - quiet unless it fails; no test may take longer than two minutes
	title=$1
	shift
	if timeout -k 5 180 "$@" > "$log" 2>&1; then
		passed=$((passed + 1))
		echo "ok   $title"
	else
		failed=$((failed + 1))
		echo "FAIL $title"
		cat "$log"
	fi
}

if [ "$what" != e2e ]; then
	run "layers" scripts/check-layers.sh
	run "style" scripts/check-style.sh
	run "plan is pure" scripts/check-plan-pure.sh "$BUILD"
	for test in "$BUILD"/tests/test_*; do
		case $test in *.d | *.gc??) continue ;; esac
		run "$(basename "$test")" "$test"
	done
	for fuzz in "$BUILD"/fuzz/fuzz_*; do
		case $fuzz in *.d | *.gc??) continue ;; esac
		name=$(basename "$fuzz")
		run "$name corpus" "$fuzz" "tests/fuzz/corpus/${name#fuzz_}"
	done
	run "examples against the JSON Schema" python3 scripts/check-examples.py
	run "Firecracker's API as its stand-in knows it" python3 tests/fake/check_fc_schema.py
fi
add_sum() { # add_sum FILE - whose last line is "N passed, N failed", or it failed
	# shellcheck disable=SC2046 # four words
	set -- $(grep -E '^[0-9]+ passed, [0-9]+ failed' "$1" | tail -n 1)
	passed=$((passed + ${1:-0}))
	failed=$((failed + ${3:-1}))
}

if [ "$what" != unit ]; then
	tests/e2e/run.py | tee "$log.e2e" || :
	add_sum "$log.e2e"
	if [ "$lab" ]; then
		wait "$lab" || :
		lab=
		echo "in the lab, as root:"
		cat "$log.lab"
		add_sum "$log.lab"
	fi
fi
if [ -n "$(find "$BUILD/schema" -name '*.gcda' -print -quit)" ]; then
	theirs=
	[ "$what" != all ] || [ ! -d "$lab_results/gcov" ] || theirs="--add $lab_results/gcov"
	# shellcheck disable=SC2086 # two words
	tests/coverage.py $theirs "$BUILD"
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

#!/bin/sh
# tests/run.sh unit|e2e|all - run what was built into $BUILD; the last line counts. Of a build with COV=1
# the lines before it say how much of each layer ran.
set -u
cd "$(dirname "$0")/.." || exit 1
BUILD=${BUILD:-build-san}
export BUILD
what=${1:-all}
passed=0 failed=0
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1}
export UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
find "$BUILD" -name '*.gcda' -delete

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
if [ "$what" != unit ]; then
	tests/e2e/run.py | tee "$log.e2e" || :
	# shellcheck disable=SC2046 # "N passed, N failed" is four words
	set -- $(tail -n 1 "$log.e2e")
	rm -f "$log.e2e"
	passed=$((passed + ${1:-0}))
	failed=$((failed + ${3:-1}))
fi
[ -z "$(find "$BUILD/schema" -name '*.gcda' -print -quit)" ] || tests/coverage.py "$BUILD"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]

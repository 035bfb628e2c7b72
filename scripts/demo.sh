#!/bin/sh
# scripts/demo.sh up|down - install what is missing, build, boot the VMs of examples/vms.yaml, let each
# answer over SSH and say how long it all took; or take them away.
set -eu
cd "$(dirname "$0")/.."
build=$PWD/${BUILD:-build}
banger=$build/banger
spec=examples/vms.yaml

lap() { # lap - seconds since the last call, in $took
	now=$(date +%s)
	took=$((now - last))
	last=$now
}

# Other VMs of the user are none of the demo's business.
vms() {
	sed -n '/^vms:/,$ s/^  \([a-z][a-z0-9-]*\):.*/\1/p' "$spec"
}

up() {
	began=$(date +%s)
	last=$began
	jobs=-j$(nproc)
	case ${MAKEFLAGS:-} in *jobserver*) jobs= ;; esac # make -j4 demo
	${MAKE:-make} --no-print-directory -s deps
	lap
	packages=$took
	${MAKE:-make} --no-print-directory -s -q all 2> /dev/null || echo "Building banger"
	# shellcheck disable=SC2086 # none or one word
	${MAKE:-make} --no-print-directory -s $jobs all
	lap
	building=$took
	echo "Starting the VMs of $spec (their image is made the first time)"
	"$banger" apply -f "$spec" --yes
	echo
	# shellcheck disable=SC2046 # names
	"$banger" ps $(vms)
	echo
	for vm in $(vms); do
		printf '%s says: ' "$vm"
		# shellcheck disable=SC2016 # for the guest's shell
		"$banger" ssh "$vm" -- sh -c \
			'echo "hello from $(hostname), Linux $(uname -r), up $(cut -d. -f1 /proc/uptime) s"'
	done
	lap
	cat <<-END

		The VMs of $spec run and answer, after $((last - began)) s:
		packages $packages s, build $building s, image and VMs $took s.

		Go in:           $banger ssh $(vms | head -n 1)
		Change them:     edit $spec, then $banger apply -f $spec
		Take them away:  make demo-down
	END
}

down() {
	[ -x "$banger" ] || {
		echo "there is no $banger: make it with 'make' first" >&2
		exit 1
	}
	"$banger" delete -f "$spec" --yes
	# The daemon goes as well when nothing is left for it to look after.
	[ -n "$("$banger" ps -q)$("$banger" watch --list -q)" ] || "$banger" daemon stop
}

case "${1:-up}" in
up | down) "$1" ;;
*)
	echo "usage: $0 up|down" >&2
	exit 2
	;;
esac

#!/bin/sh
# scripts/demo.sh up|down - boot the VMs of examples/vms.yaml with what was just built and let each
# answer over SSH; or take them away.
set -eu
cd "$(dirname "$0")/.."
PATH=$PWD/${BUILD:-build}:$PATH
spec=examples/vms.yaml

case "${1:-up}" in
up)
	began=$(date +%s)
	banger apply -f "$spec" --yes
	echo
	banger ps
	echo
	names=$(banger ps -o name)
	# Only the names of this file: other VMs of the user are none of the demo's business.
	for vm in $names; do
		grep -q "^  $vm:" "$spec" || continue
		printf '%s says: ' "$vm"
		banger ssh "$vm" -- sh -c 'echo "hello from $(hostname), Linux $(uname -r), up $(cut -d. -f1 /proc/uptime) s"'
	done
	echo
	echo "The VMs of $spec run and answer, after $(($(date +%s) - began)) s."
	echo "Go in with:      $PWD/${BUILD:-build}/banger ssh $(echo "$names" | head -n 1)"
	echo "Change them:     edit $spec, then banger apply -f $spec"
	echo "Take them away:  make demo-down"
	;;
down)
	banger delete -f "$spec" --yes
	;;
*)
	echo "usage: $0 up|down" >&2
	exit 2
	;;
esac

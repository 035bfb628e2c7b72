#!/bin/sh
# tests/lab/inside.sh - run as root by the lab's machine once it is up, from the disk with the tree under
# test, mounted at /lab. /lab/run/ says what for: `parts`, `options`, or `shell`. What it writes goes to
# ttyS1, which is tests/lab/run.py's; the console is ttyS0. Results are left in /lab/out.
cd /lab || exit 1
exec < /dev/null > /dev/ttyS1 2>&1
stty -F /dev/ttyS1 raw -echo

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH TMPDIR=/lab/tmp HOME=/root LANG=C.UTF-8
mkdir -p /lab/tmp /lab/out

end() {
	dmesg > /lab/out/dmesg.txt
	journalctl --no-pager -b > /lab/out/journal.txt 2> /dev/null
	systemd-analyze blame > /lab/out/boot.txt 2>&1; systemd-analyze critical-chain lab.service >> /lab/out/boot.txt 2>&1
	rmdir /lab/out/gcov 2> /dev/null
	sync
	poweroff -ff
}
trap end EXIT

for module in kvm_amd kvm_intel dm_snapshot loop tun vhost_vsock; do
	modprobe -q "$module" || [ "${module#kvm_}" != "$module" ] || echo "no module '$module' here"
done
read -r up _ < /proc/uptime
echo "lab: up after $up s, $(uname -r), $(nproc) processors"

# A guest in the lab's KVM works or dies early on (nested, emulated): a second try is in order, and every
# deadline is generous. Coverage of a build with COV=1 is written here, not where it was built.
export BANGER_LAB=1 BANGER_ACCEL=kvm BANGER_TEST_PATIENCE=400 BANGER_TEST_LOGS=/lab/out/logs
export BANGER_START_TIMEOUT_MS=90000 BANGER_TEST_MODE=${BANGER_TEST_MODE:-system}
export GCOV_PREFIX=/lab/out/gcov
export BANGER_TEST_LIMIT=1800
BUILD=$(cat run/build)
export BUILD
if [ -x run/bin/firecracker ]; then # then the guests are Firecracker's
	export BANGER_TEST_HYPERVISOR=firecracker BANGER_FIRECRACKER=/lab/run/bin/firecracker
fi
# shellcheck source=/dev/null # of run.py
. run/env

if [ -e run/shell ]; then
	cd /root || exit 1
	cat > /etc/profile.d/lab.sh <<-END
		export BANGER_LAB=1 BANGER_ACCEL=kvm BUILD=$BUILD TMPDIR=/lab/tmp PATH=/lab/$BUILD:\$PATH
		cd /lab; PS1='lab:\w# '; stty $(cat run/shell)
		echo "The tree is in /lab: tests/e2e/run.py --no-pull NAME-PART runs scenarios. The machine ends with this shell."
	END
	setsid -c -w bash -l < /dev/ttyS0 > /dev/ttyS0 2>&1
	exit
fi
# shellcheck disable=SC2046 # lists of words
tests/e2e/run.py --no-pull -j 1 --second-tries 4 --limit-boots 1000 $(cat run/parts)

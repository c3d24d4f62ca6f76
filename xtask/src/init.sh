#!/bin/busybox sh
# Process 1 of a test VM. The kernel's messages are on the first serial line, what the command says is on the
# second, the files that were asked for go through the third.

/bin/busybox --install -s /bin
export PATH=/bin HOME=/ TERM=dumb
# Nobody else suffers from what the lab does to this host.
export OBSERVER_LAB_OWN_MACHINE=1

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
mkdir -p /dev/pts /dev/shm
mount -t devpts devpts /dev/pts
for folder in /dev/shm /tmp /run; do mount -t tmpfs tmpfs $folder; done
mount -t cgroup2 cgroup2 /sys/fs/cgroup
for controller in cpu io memory pids; do echo "+$controller" >/sys/fs/cgroup/cgroup.subtree_control; done
mount -t tracefs tracefs /sys/kernel/tracing
mount -t bpf bpf /sys/fs/bpf
ip link set lo up

# RLIMIT_MEMLOCK stays as it is, 64 KiB on old kernels: raising it is up to the programs under test.

stty -F /dev/ttyS1 raw -echo
stty -F /dev/ttyS2 raw -echo

while read -r module; do
    insmod "/lib/modules/$module.ko" 2>/dev/ttyS1 || echo "the module $module does not load" >/dev/ttyS1
done </etc/vm/modules

# Should nobody be left to end this machine, it ends itself.
(sleep "$(cat /etc/vm/limit)" && poweroff -f) &

/etc/vm/command </dev/null >/dev/ttyS1 2>&1
status=$?

if [ -s /etc/vm/fetch ]; then xargs tar -cf /dev/ttyS2 -C / </etc/vm/fetch 2>/dev/ttyS1; fi
echo "OBSERVER-VM-EXIT:$status" >/dev/ttyS1

# The last characters leave the line before the power goes.
sleep 1
poweroff -f

#!/bin/sh
# Runs a learner's server so that the kernel holds it; JupyterHub calls it, as root. The server's process and all that it
# starts die with the first process in here, which belongs to root, and that one dies with the hub.
#   confine.sh outside UID HOME IMAGE MEGABYTES PROCESSES CGROUPS COMMAND...
# `inside` is its own second half, in the new namespaces; `open` starts the command without limits.
set -eu
umask 077
mode=$1; shift
if [ "$mode" = outside ]; then
    for group in $6; do echo 0 > "$group/cgroup.procs"; done
    exec unshare --mount --ipc --pid --fork --kill-child --mount-proc sh "$0" inside "$@"
fi
uid=$1 home=$2 image=$3 megabytes=$4 processes=$5; shift 6
if [ "$mode" = inside ]; then
    images=${image%/*}
    mount --bind "$images" "$images"
    mount -o loop,nosuid,nodev "$image" "$home"
    awk '{ gsub(/\\040/, " ", $2); print $2 }' /proc/self/mounts | while IFS= read -r place; do
        case $place in /proc | /proc/* | /dev/pts | "$home" | "$images") continue ;; esac
        [ ! -e "$place" ] || mount -o remount,bind,ro "$place" || ! mountpoint -q "$place"
    done
    for place in /tmp /var/tmp /dev/shm; do
        mount -t tmpfs -o "size=${megabytes}m,mode=1777,nosuid,nodev" learner "$place"
    done
fi
cd "$home"
setpriv --reuid "$uid" --regid "$uid" --clear-groups --no-new-privs --inh-caps=-all --bounding-set=-all --pdeathsig KILL \
    prlimit --nproc="$processes" --core=0 "$@" < /dev/null > /dev/null 2>&1 || exit

#!/bin/sh
# Runs a command inside a root folder, in namespaces of its own: without network, the root read-only, /home/device
# writable. Foreign programs are run by an emulator, children too.
#
#   unshare -Urmn sh enter.sh ROOT HOME MACHINE EMULATOR PROCESSOR COMMAND...
#
# EMULATOR is the path of a static QEMU, or - for none. From Linux 6.7 on each user namespace has its own table of
# foreign formats; on older kernels the system's table must have QEMU, which Debian's package registers.
set -eu
root=$1 home=$2 machine=$3 emulator=$4 processor=$5
shift 5

if [ "$emulator" != - ]; then
    if mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc 2>/dev/null; then
        magic='\x7fELF\x02\x01\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x02\x00\xb7\x00' # ELF, 64 bits, aarch64
        mask='\xff\xff\xff\xff\xff\xff\xff\x00\xff\xff\xff\xff\xff\xff\xff\xff\xfe\xff\xff\xff'
        printf '%s' ":device-asr:M::$magic:$mask:$emulator:F" >/proc/sys/fs/binfmt_misc/register
    elif ! grep -qx enabled "/proc/sys/fs/binfmt_misc/qemu-$machine" 2>/dev/null; then
        echo "this kernel registers no emulator for a user (Linux 6.7 does), and the system has none registered" >&2
        exit 125
    fi
fi
[ "$root" != - ] || exit 0 # only tried

mount --bind "$root" "$root"
mount --rbind /proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
mount -t tmpfs tmpfs "$root/tmp"
mount --bind "$home" "$root/home/device"
mount -o remount,bind,ro "$root"
cd "$root/home/device"
set -- /usr/bin/env -i HOME=/home/device PATH=/usr/bin:/bin LANG=C.UTF-8 QEMU_CPU="$processor" "$@"
exec chroot "$root" /usr/bin/env -C /home/device "$@"

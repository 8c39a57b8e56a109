#!/bin/sh
# Removes what install.sh installed and nothing else: your dictations, settings and own models stay.
# install.sh calls it with --unfinished PREFIX when a first installation failed.
set -eu
LC_ALL=C
export LC_ALL

prefix=${DEVICE_ASR_PREFIX:-$HOME/.local/lib/device-asr}
if [ "${1:-}" = --unfinished ]; then
    prefix=$2
elif [ ! -L "$prefix/current" ] || [ ! -f "$prefix/folders" ]; then
    echo "uninstall.sh: nothing is installed in $prefix; DEVICE_ASR_PREFIX names another folder." >&2
    exit 1
fi

unit="${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user/device-asr-listen.service"
if [ -f "$unit" ] && grep -qxF "# of $prefix" "$unit"; then
    if command -v systemctl >/dev/null; then
        systemctl --user disable --now device-asr-listen.service 2>/dev/null || :
    fi
    rm -f "$unit"
fi
for link in "$HOME/.local/bin/device-asr" "${XDG_DATA_HOME:-$HOME/.local/share}/device_asr/models"/*; do
    case "$(readlink "$link" || :)" in
    "$prefix"/*) rm -f "$link" ;;
    esac
done
# folders that install.sh made, the inner ones first; those that hold something else stay
folders=$(sort -r "$prefix/folders" 2>/dev/null || :)
rm -rf "$prefix/releases" "$prefix/current" "$prefix/uninstall.sh" "$prefix/folders" "$prefix/lock"
echo "$folders" | while IFS= read -r folder; do
    [ -z "$folder" ] || rmdir "$folder" 2>/dev/null || :
done
[ "${1:-}" = --unfinished ] || echo "device_asr is removed. Your dictations and settings stay."

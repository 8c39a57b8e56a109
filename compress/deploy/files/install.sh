#!/bin/sh
# Installs device_asr from this folder into the home of the person who runs it. No network is used.
#
#   ./install.sh      install, update or repair; a second run changes nothing
#
# DEVICE_ASR_PREFIX names another folder for the program than ~/.local/lib/device-asr. A new version is made beside
# the old one, and the link `current` is moved to it at the end. A run that fails leaves the old version in use.
set -eu
LC_ALL=C
export LC_ALL
unset PYTHONPATH PYTHONHOME

fail() {
    echo "install.sh: $*" >&2
    exit 1
}

# a link may be replaced where nothing is there, or where it leads into the folder of this program
ours() {
    case "$(readlink "$1" || :)" in
    "$prefix"/*) return 0 ;;
    esac
    [ ! -e "$1" ] && [ ! -L "$1" ]
}

# makes a folder and notes every folder above it that was not there, for uninstall.sh
folder() {
    [ -d "$1" ] && return
    folder "$(dirname "$1")"
    mkdir "$1"
    echo "$1" >>"$prefix/folders"
}

link() {
    folder "$(dirname "$2")"
    rm -f "$2.new"
    ln -s "$1" "$2.new"
    mv -fT "$2.new" "$2"
}

here=$(cd "$(dirname "$0")" && pwd)
cd "$here"
[ -z "${SUDO_USER:-}" ] || fail "it installs for one person; run it as that person, without sudo."
[ -d "${HOME:-}" ] || fail "wanted a home folder in HOME, found '${HOME:-}'; set HOME."
prefix=${DEVICE_ASR_PREFIX:-$HOME/.local/lib/device-asr}
case "$prefix" in
*[!A-Za-z0-9._/+@-]*) fail "wanted a folder whose path has letters, digits and ._/+@- only, found '$prefix'; set DEVICE_ASR_PREFIX." ;;
/?*) ;;
*) fail "wanted a path that begins with /, found '$prefix'; set DEVICE_ASR_PREFIX." ;;
esac

[ -f SHA256SUMS ] || fail "SHA256SUMS is missing in $here; unpack the archive again."
damaged=$(sha256sum -c SHA256SUMS 2>/dev/null | grep -v ': OK$' | head -n 1 || :)
[ -z "$damaged" ] || fail "${damaged%%:*} is missing or damaged; copy and unpack the archive again."
# shellcheck source=/dev/null
. ./contents
: "${version:?}" "${machine:?}" "${pythons:?}" "${model:?}" "${threads:?}" "${megabytes:?}"

machine_here=$(uname -m)
[ "$machine_here" = "$machine" ] || fail "this bundle is for $machine, found $machine_here; make one with device-asr-compress deploy."
python='' seen=''
for name in python3 $(echo "$pythons" | sed "s/[^ ]*/python&/g"); do
    found=$("$name" -c 'import struct, sys; print("%d.%d" % sys.version_info[:2] + ("" if struct.calcsize("P") == 8 else " of 32 bits"))' 2>/dev/null) || continue
    seen="$seen${seen:+, }$found"
    case " $pythons " in *" $found "*) python=$name version_found=$found && break ;; esac
done
wanted=$(echo "$pythons" | sed 's/ / or /g')
[ -n "$python" ] || fail "wanted Python $wanted of a 64-bit system, found ${seen:-none}; run: sudo apt install python3, or make a bundle with --python."
"$python" -c 'import venv' 2>/dev/null || fail "Python lacks the module venv; run: sudo apt install python3-venv"

program="$HOME/.local/bin/device-asr"
models="${XDG_DATA_HOME:-$HOME/.local/share}/device_asr/models"
units="${XDG_CONFIG_HOME:-$HOME/.config}/systemd/user"
unit=device-asr-listen.service
ours "$program" || fail "$program is there and is not of this program; move it away."
if [ -e "$units/$unit" ] && ! grep -qxF "# of $prefix" "$units/$unit"; then
    fail "$units/$unit is there and is not of this program; move it away."
fi
parent=$prefix
while [ ! -d "$parent" ]; do parent=$(dirname "$parent"); done
[ -w "$parent" ] || fail "$parent cannot be written; set DEVICE_ASR_PREFIX to a folder of yours."

if [ -d "$prefix" ] && [ ! -f "$prefix/folders" ] && [ -n "$(ls -A "$prefix")" ]; then
    fail "$prefix holds other files; set DEVICE_ASR_PREFIX to a folder for this program alone."
fi
release="$prefix/releases/$version-$(sha256sum SHA256SUMS | cut -c 1-12)"
if [ ! -d "$release" ]; then
    free=$(($(df -Pk "$parent" | tail -n 1 | tr -s " " | cut -d " " -f 4) / 1024))
    [ "$free" -ge "$megabytes" ] || fail "wanted $megabytes MB of free disk in $parent, found $free MB; make room."
fi

new='' missing=$prefix
while [ ! -d "$missing" ]; do
    new="$missing
$new"
    missing=$(dirname "$missing")
done
mkdir -p "$prefix"
[ -f "$prefix/folders" ] || printf '%s' "$new" >"$prefix/folders"
exec 9>"$prefix/lock"
! command -v flock >/dev/null || flock -n 9 || fail "another run is installing into $prefix; wait for it."

ready=no told=''
finish() {
    code=$?
    trap - EXIT
    if [ "$code" != 0 ]; then
        [ "$ready" = yes ] || rm -rf "$release"
        [ -L "$prefix/current" ] || sh "$here/uninstall.sh" --unfinished "$prefix"
        [ -n "$told" ] || echo "install.sh: it stopped; what was installed before is unchanged. Run it again." >&2
    fi
    exit "$code"
}
stop() {
    told=yes
    fail "$*"
}
trap finish EXIT
trap 'exit 130' INT TERM HUP

if [ -f "$release/complete" ] && "$release/bin/device-asr" --help >/dev/null 2>&1; then
    ready=yes
    echo "device_asr $version is installed; its links are checked."
else
    echo "Making an environment with Python $version_found in $release ..."
    rm -rf "$release"
    mkdir -p "$prefix/releases"
    "$python" -m venv --without-pip "$release" || stop "the environment could not be made; see the message above."
    echo "Installing $(grep -c . "wheels/python-$version_found.txt") packages ..."
    set -- wheels/pip-*.whl
    "$release/bin/python" -I "$1/pip" --isolated --disable-pip-version-check install -q --no-index \
        --no-deps --no-cache-dir --no-compile --root-user-action=ignore -r "wheels/python-$version_found.txt" ||
        stop "a package could not be installed; see the message above."
    # without tests and lexers, which the program does not import; files of packages that are templates do not compile
    "$release/bin/python" -I -m compileall -q -j 0 -x '/tests?/|/f2py/|/pygments/(lexers|styles)/' "$release/lib" >/dev/null 2>&1 || :
    mkdir "$release/models"
    cp -R "models/$model" "$release/models/" || stop "the model could not be copied; make room."
    cp uninstall.sh README.txt "$release/"
    echo "Checking the model ..."
    DEVICE_ASR_MODELS="$release/models" "$release/bin/device-asr" models verify "$model" ||
        stop "the model does not run on this machine; see the message above."
    touch "$release/complete"
    ready=yes
fi

link "$release" "$prefix/current"
link current/uninstall.sh "$prefix/uninstall.sh"
link "$prefix/current/bin/device-asr" "$program"
if ours "$models/$model"; then
    link "$prefix/current/models/$model" "$models/$model"
else
    echo "$models/$model is your own and stays; the model of this bundle is $prefix/current/models/$model."
fi
folder "$units"
sed -e "s|@PROGRAM@|$prefix/current/bin/device-asr|; s|@PREFIX@|$prefix|; s|@MODEL@|$model|; s|@THREADS@|$threads|" \
    "$unit" >"$units/$unit.new"
mv -f "$units/$unit.new" "$units/$unit"
for old in "$prefix"/releases/*; do
    [ "$old" = "$release" ] || rm -rf "$old"
done
if command -v systemctl >/dev/null; then
    systemctl --user daemon-reload 2>/dev/null || :
    systemctl --user try-restart "$unit" 2>/dev/null || :
fi

echo "Installed. Start it with: $program"
case ":$PATH:" in
*":$HOME/.local/bin:"*) ;;
*) echo "  $HOME/.local/bin is not in PATH; it is after the next login where the system is Debian's." ;;
esac
"$release/bin/python" -I -c 'import ctypes.util, sys; sys.exit(ctypes.util.find_library("portaudio") is None)' ||
    echo "The microphone needs PortAudio; run: sudo apt install libportaudio2"
echo "Dictation as a service is off; to start it now and at each login: systemctl --user enable --now $unit"
echo "To remove all of it: $prefix/uninstall.sh"

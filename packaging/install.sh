#!/bin/sh
# Installs Corral for the user who runs it: curl -LsSf ADDRESS/install.sh | sh
#
# It takes uv, else pipx, else Python's venv, whichever is there, and never needs root. `sh install.sh --help` has the options.
# Everything is in functions, and the last line calls them: half a download does nothing.
set -eu

APP=corral
OLDEST="3.11"

usage() {
    cat <<'USAGE'
Install Corral, a server that runs language models on your own machine, for this user.

usage: install.sh [options]

  --version VERSION   this version, not the newest
  --with TOOL         uv, pipx or venv (default: the first one that is there)
  --index URL         take packages from this index, and from no other
  --find-links DIR    take packages from this folder, and from nowhere else: no network is needed
  --uninstall         remove Corral; models and keys in your home folder stay
  --dry-run           print what would be done, and do nothing
  --help              this text

Files: uv and pipx have their own places; with venv it is ~/.local/share/corral, and ~/.local/bin/corral in any case.
USAGE
}

say() { printf '%s\n' "install: $*"; }

fail() {
    printf '%s\n' "install: $1" >&2
    shift
    for line in "$@"; do printf '%s\n' "         $line" >&2; done
    exit 1
}

has() { command -v "$1" >/dev/null 2>&1; }

# step COMMAND...: show it, and run it unless this is a dry run.
step() {
    say "+ $*"
    [ -n "$dry_run" ] || "$@"
}

check_system() {
    system=$(uname -s)
    processor=$(uname -m)
    case "$system" in
    Linux)
        case "$processor" in
        x86_64 | amd64 | aarch64 | arm64) ;;
        *) fail "Corral does not run on Linux with a $processor processor, only with x86-64 or ARM64 ones" ;;
        esac
        if has ldd && ldd --version 2>&1 | grep -qi musl; then
            fail "this Linux has musl as its C library (Alpine, for example); the engine needs glibc 2.28 or newer" \
                "Use the container image, or a distribution with glibc."
        fi
        ;;
    Darwin)
        [ "$processor" = arm64 ] ||
            fail "on Macs with an Intel processor there are no ready-made packages of all that Corral needs" \
                "docs/packages.md says what works there."
        ;;
    *) fail "Corral runs on Linux and macOS, this is $system" "On Windows, use WSL 2." ;;
    esac
    [ -d "${HOME:-}" ] || fail "HOME is not a folder: ${HOME:-it is not set}"
}

# A folder that is not there counts as writable if it can be made.
is_writable() {
    place=$1
    while [ ! -e "$place" ] && [ "$place" != / ]; do place=$(dirname "$place"); done
    [ -d "$place" ] && [ -w "$place" ]
}

warn_root() {
    if [ "$(id -u)" = 0 ] && [ -z "${CORRAL_INSTALL_ROOT_OK:-}" ]; then
        say "you are root: this installs Corral for root alone. For a service of the machine use the Debian package,"
        say "the container image or deploy/systemd; for yourself, run this without sudo."
    fi
}

find_python() {
    older=""
    for candidate in "${PYTHON:-}" python3 python3.14 python3.13 python3.12 python3.11; do
        if [ -n "$candidate" ] && has "$candidate"; then
            if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
                python=$candidate
                return 0
            fi
            older=$("$candidate" -c 'import platform; print(platform.python_version())' 2>/dev/null) || older=""
        fi
    done
    return 1
}

no_python() {
    found="there is no Python"
    [ -z "$older" ] || found="the newest Python here is $older"
    fail "Corral needs Python $OLDEST or newer; $found" \
        "Debian 12, Ubuntu 24.04: sudo apt install python3-venv" \
        "Fedora: sudo dnf install python3    macOS: brew install python" \
        "Or install uv, which brings a Python: https://docs.astral.sh/uv/"
}

has_venv() { "$python" -c 'import venv, ensurepip' 2>/dev/null; }

no_venv() {
    version=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
    fail "$python ($version) does not have the venv module" \
        "Debian, Ubuntu: sudo apt install python3-venv" \
        "Or install pipx or uv, and run this again."
}

choose_tool() {
    case "$tool" in
    "")
        if has uv; then
            tool=uv
        elif has pipx && find_python; then
            tool=pipx
        else
            tool=venv
        fi
        ;;
    uv | pipx) has "$tool" || fail "$tool is not installed" ;;
    venv) ;;
    *) fail "--with takes uv, pipx or venv, not $tool" ;;
    esac
}

data_folder() { printf '%s\n' "${XDG_DATA_HOME:-$HOME/.local/share}/$APP"; }

install_with_uv() {
    set -- tool install --force --python ">=$OLDEST"
    [ -z "$index" ] || set -- "$@" --default-index "$index"
    [ -z "$links" ] || set -- "$@" --no-index --find-links "$links"
    step uv "$@" "$wanted"
}

install_with_pipx() {
    find_python || no_python
    options=""
    [ -z "$index" ] || options="--index-url '$index'"
    [ -z "$links" ] || options="--no-index --find-links '$links'"
    set -- install --force --python "$python"
    [ -z "$options" ] || set -- "$@" --pip-args "$options"
    step pipx "$@" "$wanted"
}

# Programs in an environment name its folder, so each installation has one that is never moved, and the link in
# ~/.local/bin changes to it when it is whole. Until then the old one is as it was.
install_with_venv() {
    find_python || no_python
    has_venv || no_venv
    folder=$(data_folder)
    is_writable "$folder" || fail "$folder cannot be written to"
    is_writable "$bin" || fail "$bin cannot be written to"
    if [ -e "$bin/$APP" ] && ! is_ours "$bin/$APP"; then
        fail "$bin/$APP exists and was not made by this script; it stays as it is" \
            "If uv or pipx installed it, use: sh install.sh --with uv, or --with pipx"
    fi
    environment=$folder/env-$(date +%Y%m%d%H%M%S)-$$
    step mkdir -p "$bin" "$folder"
    step "$python" -m venv "$environment"
    set -- install --quiet --disable-pip-version-check
    [ -z "$index" ] || set -- "$@" --index-url "$index"
    [ -z "$links" ] || set -- "$@" --no-index --find-links "$links"
    if ! step "$environment/bin/python" -m pip "$@" "$wanted"; then
        rm -rf "$environment"
        fail "the packages could not be installed; what was there before is as it was"
    fi
    step ln -sf "$environment/bin/$APP" "$bin/$APP"
    for old in "$folder"/env-*; do
        if [ -e "$old/pyvenv.cfg" ] && [ "$old" != "$environment" ]; then step rm -rf "$old"; fi
    done
}

# Whether a file is the link that this script makes.
is_ours() {
    case "$(readlink "$1" 2>/dev/null)" in
    "$(data_folder)"/env-*) return 0 ;;
    *) return 1 ;;
    esac
}

uninstall() {
    removed=""
    if has uv && uv tool list 2>/dev/null | grep -q "^$APP "; then
        step uv tool uninstall "$APP"
        removed=1
    fi
    if has pipx && pipx list --short 2>/dev/null | grep -q "^$APP "; then
        step pipx uninstall "$APP"
        removed=1
    fi
    folder=$(data_folder)
    if is_ours "$bin/$APP"; then
        step rm "$bin/$APP"
        removed=1
    fi
    for old in "$folder"/env-*; do
        if [ -e "$old/pyvenv.cfg" ]; then
            step rm -rf "$old"
            removed=1
        fi
    done
    # Not empty if somebody else has files there.
    [ -n "$dry_run" ] || rmdir "$folder" 2>/dev/null || true
    [ -n "$removed" ] || fail "Corral is not installed for this user by uv, pipx or this script"
    say "removed. Models (~/.ollama) and keys (~/.corral) are still there."
}

check_result() {
    [ -z "$dry_run" ] || return 0
    program=$bin/$APP
    [ -x "$program" ] || program=$(command -v "$APP") || fail "$APP was installed but is not in $bin"
    version=$("$program" --version 2>&1 | tail -n 1) || fail "$program does not start: $version"
    say "installed: $program ($version)"
    case ":$PATH:" in
    *":$(dirname "$program"):"*) ;;
    *) say "$(dirname "$program") is not in PATH; add it: export PATH=\"$(dirname "$program"):\$PATH\"" ;;
    esac
    say "next: $APP serve    and in another terminal: $APP run corral-tiny hello"
}

need_value() { [ "$2" -ge 2 ] || fail "$1 needs a value"; }

read_options() {
    while [ $# -gt 0 ]; do
        case "$1" in
        --version) need_value "$1" $# && version=$2 && shift ;;
        --with) need_value "$1" $# && tool=$2 && shift ;;
        --index) need_value "$1" $# && index=$2 && shift ;;
        --find-links) need_value "$1" $# && links=$2 && shift ;;
        --uninstall) action=uninstall ;;
        --dry-run) dry_run=1 ;;
        --help | -h)
            usage
            exit 0
            ;;
        *) fail "unknown option: $1" "sh install.sh --help lists them" ;;
        esac
        shift
    done
}

check_options() {
    case "$version" in *[!0-9A-Za-z.]*) fail "$version is not a version like 0.2.0" ;; esac
    [ -z "$links" ] || [ -d "$links" ] || fail "$links is not a folder"
    [ -z "$links" ] || [ -z "$index" ] || fail "--index and --find-links exclude each other"
    case "$index$links" in *\'*) fail "addresses and folders with a quote in them are not possible" ;; esac
    wanted=$APP
    [ -z "$version" ] || wanted="$APP==$version"
}

main() {
    version="" tool="" index="" links="" dry_run="" action=install python="" older=""
    read_options "$@"
    check_system
    bin=${XDG_BIN_HOME:-$HOME/.local/bin}
    if [ "$action" = uninstall ]; then
        uninstall
        return
    fi
    check_options
    warn_root
    choose_tool
    say "installing $wanted with $tool, for $(id -un)"
    "install_with_$tool"
    check_result
}

main "$@"

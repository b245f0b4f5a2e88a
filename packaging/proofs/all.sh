#!/bin/sh
# `./dev packages`: builds what a release has, installs it in clean places, and uses it there. What the machine cannot do is
# named and left out; what fails ends it with 1. Needs root for the .deb and the image.
# usage: all.sh PYTHON [tests] [python] [deb] [image]; PYTHON is that of an environment with the extras dev and packages
set -eu
cd "$(dirname "$0")/../.."
# One of the parts is called in another folder.
python=$(cd "$(dirname "$1")" && pwd)/$(basename "$1")
shift
tools=$(dirname "$(dirname "$python")")
folder=${CORRAL_PROOFS:-$(mktemp -d /var/tmp/corral-proofs-XXXXXX)}
mkdir -p "$folder"
[ -n "${CORRAL_PROOFS:-}" ] || trap 'rm -rf "$folder"' EXIT
[ $# -gt 0 ] || set -- tests python deb image
failed=""

run() {
    echo "== $1"
    shift
    begin=$(date +%s)
    "$@" || failed=1
    echo "== $(($(date +%s) - begin)) s"
}
missing() {
    for program in "$@"; do command -v "$program" >/dev/null 2>&1 || echo "$program"; done
    [ "$(id -u)" = 0 ] || echo root
}
# wheel VERSION: the working copy, as that version.
wheel() {
    rm -rf "$folder/source"
    mkdir -p "$folder/source"
    git ls-files -z src docs pyproject.toml README.md LICENSE | xargs -0 cp --parents -t "$folder/source"
    sed -i "s/^__version__ = .*/__version__ = \"$1\"/" "$folder/source/src/corral/__init__.py"
    (cd "$folder/source" && SOURCE_DATE_EPOCH=1764547200 "$python" -m hatchling build -t wheel -d "$folder/wheels" >/dev/null)
}

wheel 0.98.0
wheel 0.99.0
for part in "$@"; do
    case "$part" in
    tests)
        CORRAL_TEST_PACKAGES=required run "tests" "$python" -m pytest tests/packages -q -p no:cacheprovider
        ;;
    python)
        run "pip, pipx, uv, install.sh" packaging/proofs/python.sh "$folder/wheels/corral-0.99.0-py3-none-any.whl" "$tools" "$folder/python"
        ;;
    deb)
        lacks=$(missing debootstrap systemd-nspawn dpkg-deb)
        if [ -n "$lacks" ]; then
            echo "== deb: left out, this machine does not have: $lacks"
            continue
        fi
        target=3.11/$(dpkg --print-architecture)
        for version in 0.98.0 0.99.0; do
            SOURCE_DATE_EPOCH=1764547200 "$python" -m scripts.packages.deb \
                "$folder/wheels/corral-$version-py3-none-any.whl" "$folder" --target "$target"
        done
        run ".deb in a Debian" packaging/proofs/deb.sh "$folder"/corral_0.98.0*.deb "$folder"/corral_0.99.0*.deb "$folder/deb"
        if command -v lintian >/dev/null; then
            run "lintian" lintian --fail-on error,warning "$folder"/corral_0.99.0*.deb
        fi
        ;;
    image)
        lacks=$(missing debootstrap buildah)$(command -v runc crun >/dev/null || echo " runc")
        if [ -n "$lacks" ]; then
            echo "== image: left out, this machine does not have: $lacks"
            continue
        fi
        run "image" packaging/proofs/image.sh "$folder/image"
        ;;
    *)
        echo "dev: the parts are tests, python, deb and image, not $part" >&2
        exit 2
        ;;
    esac
done
[ -z "$failed" ]

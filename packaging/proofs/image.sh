#!/bin/sh
# Builds the image from deploy/container/Dockerfile on a Debian that debootstrap made, and runs it: read-only, without a name,
# without capabilities. Needs root, buildah, runc or crun, and Debian's mirror; no daemon and no registry of images.
# usage: image.sh FOLDER
set -eu
folder=$1
cd "$(dirname "$0")/../.."
mkdir -p "$folder"
export STORAGE_DRIVER="${STORAGE_DRIVER:-overlay}" BUILDAH_ISOLATION=chroot
store="--root $folder/storage --runroot $folder/run"

check() {
    shown=$1
    shift
    if "$@"; then echo "ok: $shown"; else
        echo "FAILED: $shown"
        failed=1
    fi
}
failed=""
# runc also runs where control groups are of both versions, which crun refuses.
runtime=$(command -v runc || command -v crun)

if [ ! -e "$folder/base/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=ca-certificates "${SUITE:-bookworm}" "$folder/base" \
        "${MIRROR:-http://deb.debian.org/debian}" >"$folder/debootstrap.log" 2>&1
    # apt and pip as they are set up on this machine.
    cp -r /etc/apt/apt.conf.d/. "$folder/base/etc/apt/apt.conf.d/"
    cp -r /etc/apt/auth.conf.d/. "$folder/base/etc/apt/auth.conf.d/" 2>/dev/null || true
fi
# The certificates that this machine trusts, also after the image has installed its own.
cp /etc/ssl/certs/ca-certificates.crt "$folder/base/etc/ssl/machine.crt"
echo "clock: base $(date +%s)"
# shellcheck disable=SC2086
build() {
    container=$(buildah $store from scratch)
    buildah $store add -q "$container" "$folder/base" / >/dev/null
    buildah $store config --env SSL_CERT_FILE=/etc/ssl/machine.crt --env PIP_CERT=/etc/ssl/machine.crt "$container"
    buildah $store commit -q "$container" localhost/base >/dev/null
    buildah $store rm "$container" >/dev/null
    buildah $store build --pull-never --network host --build-arg BASE=localhost/base --format docker \
        -f deploy/container/Dockerfile -t localhost/corral . >"$folder/build.log" 2>&1 ||
        {
            tail -n 30 "$folder/build.log"
            exit 1
        }
    echo "clock: built $(date +%s)"
}
# REUSE=1 runs the image that is there again.
[ -n "${REUSE:-}" ] || build
# shellcheck disable=SC2086
{
    buildah $store images --format '{{.Name}} {{.Size}}'
    buildah $store inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Healthcheck}}' localhost/corral
    mounted=$(buildah $store from --pull-never localhost/corral)
    root=$(buildah $store mount "$mounted")
}
# A container without a daemon: runc or crun, with the image as a read-only root.
mkdir -p "$folder/bundle" "$folder/data"
chown 10001:10001 "$folder/data"
python3 packaging/proofs/bundle.py "$root" "$folder/data" >"$folder/bundle/config.json"
run() { "$runtime" --root "$folder/runtime" "$@"; }
inside() { run exec corral-proof "$@"; }
run run --bundle "$folder/bundle" corral-proof >"$folder/server.log" 2>&1 &
server=$!
for _ in $(seq 120); do
    if ! kill -0 $server 2>/dev/null; then break; fi
    if inside /opt/corral/bin/python /opt/corral/healthcheck.py >/dev/null 2>&1; then break; fi
    sleep 0.5
done
if ! inside /opt/corral/bin/python /opt/corral/healthcheck.py >/dev/null 2>&1; then
    echo "FAILED: the container does not run"
    tail -n 5 "$folder/server.log"
    exit 1
fi
echo "clock: ready $(date +%s)"
check "the health check says yes" inside /opt/corral/bin/python /opt/corral/healthcheck.py
check "is nobody" [ "$(inside /usr/bin/id -u)" = 10001 ]
is_read_only() { ! inside /bin/sh -c 'echo x >/opt/x' 2>/dev/null; }
check "the root is read-only" is_read_only
check "has no capabilities" inside /bin/grep -q '^CapEff:.0000000000000000' /proc/1/status
pulls() { inside /opt/corral/bin/corral pull corral-tiny >"$folder/pull.log" 2>&1; }
check "pulls the model that it ships" pulls
inside /opt/corral/bin/corral run corral-tiny "What is 7 + 5?" >"$folder/answer" 2>/dev/null || true
check "a chat is answered" grep -q 12 "$folder/answer"
echo "answer: $(head -c 200 "$folder/answer")"
has_pip() { inside /opt/corral/bin/python -m pip --version >/dev/null; }
check "engines can be installed" has_pip
check "models are in the volume" [ -d "$folder/data/models/blobs" ]
run kill corral-proof TERM
status=0
wait $server || status=$?
check "SIGTERM ends it with 0" [ "$status" = 0 ]
tail -n 3 "$folder/server.log"
# shellcheck disable=SC2086
buildah $store umount "$mounted" >/dev/null
[ -z "$failed" ] && echo "all is well"

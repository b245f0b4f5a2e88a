#!/bin/sh
# Builds the image from deploy/container/Dockerfile on a Debian that debootstrap made, and runs it: read-only, without a name,
# without capabilities. Needs root, buildah, podman and Debian's mirror; no daemon and no registry of images.
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
{
    container=$(buildah $store from scratch)
    buildah $store add -q "$container" "$folder/base" / >/dev/null
    buildah $store config --env SSL_CERT_FILE=/etc/ssl/machine.crt --env PIP_CERT=/etc/ssl/machine.crt "$container"
    buildah $store commit -q "$container" localhost/base >/dev/null
    buildah $store rm "$container" >/dev/null
    buildah $store build --pull-never --network host --build-arg BASE=localhost/base --format docker \
        -f deploy/container/Dockerfile -t localhost/corral . >"$folder/build.log" 2>&1 ||
        { tail -n 30 "$folder/build.log"; exit 1; }
    echo "clock: built $(date +%s)"
    buildah $store images --format '{{.Name}} {{.Size}}'
    buildah $store inspect --type image --format '{{.Docker.Config.User}} {{.Docker.Config.Healthcheck}}' localhost/corral
    mounted=$(buildah $store from --pull-never localhost/corral)
    root=$(buildah $store mount "$mounted")
}
# A container without a daemon: crun, with the image as a read-only root.
mkdir -p "$folder/bundle" "$folder/data"
chown 10001:10001 "$folder/data"
python3 packaging/proofs/bundle.py "$root" "$folder/data" >"$folder/bundle/config.json"
crun --root "$folder/crun" run --bundle "$folder/bundle" corral-proof >"$folder/server.log" 2>&1 &
server=$!
inside() { crun --root "$folder/crun" exec corral-proof "$@"; }
for _ in $(seq 300); do
    if inside /opt/corral/bin/python /opt/corral/healthcheck.py >/dev/null 2>&1; then break; fi
    sleep 0.5
done
echo "clock: ready $(date +%s)"
check "the health check says yes" inside /opt/corral/bin/python /opt/corral/healthcheck.py
check "is nobody" [ "$(inside /usr/bin/id -u)" = 10001 ]
check "the root is read-only" sh -c "! crun --root '$folder/crun' exec corral-proof /bin/sh -c 'echo x >/opt/x' 2>/dev/null"
check "has no capabilities" sh -c "crun --root '$folder/crun' exec corral-proof /bin/grep -q '^CapEff:.0000000000000000' /proc/self/status"
check "pulls the model that it ships" inside /opt/corral/bin/corral pull corral-tiny
inside /opt/corral/bin/corral run corral-tiny "What is 7 + 5?" >"$folder/answer" 2>&1 || true
check "a chat is answered" [ -s "$folder/answer" ]
echo "answer: $(head -c 200 "$folder/answer")"
check "engines can be installed" inside /opt/corral/bin/python -m pip --version
check "models are in the volume" [ -d "$folder/data/models/blobs" ]
crun --root "$folder/crun" kill corral-proof TERM
status=0
wait $server || status=$?
check "SIGTERM ends it with 0" [ "$status" = 0 ]
tail -n 3 "$folder/server.log"
# shellcheck disable=SC2086
buildah $store umount "$mounted" >/dev/null
[ -z "$failed" ] && echo "all is well"

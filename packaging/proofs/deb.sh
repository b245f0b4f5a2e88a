#!/bin/sh
# Installs a .deb in a clean Debian that systemd boots, uses it, upgrades, downgrades, removes and purges it.
# Needs root, debootstrap, systemd-nspawn and Debian's mirror. usage: deb.sh OLD.deb NEW.deb FOLDER
set -eu
old=$1 new=$2 folder=$3
here=$(cd "$(dirname "$0")" && pwd)
root=$folder/debian
version() { dpkg-deb -f "$1" Version | sed 's/-1+.*//; s/~//'; }

if [ ! -e "$folder/base/etc/debian_version" ]; then
    debootstrap --variant=minbase --include=systemd,systemd-sysv,dbus,ca-certificates,python3 \
        "${SUITE:-bookworm}" "$folder/base" "${MIRROR:-http://deb.debian.org/debian}" >"$folder/debootstrap.log" 2>&1
fi
rm -rf "$root"
cp -a --reflink=auto "$folder/base" "$root"
# apt as it is set up on this machine: a mirror, a proxy, certificates.
cp -r /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
cp -r /etc/apt/auth.conf.d/. "$root/etc/apt/auth.conf.d/" 2>/dev/null || true
cp /etc/ssl/certs/ca-certificates.crt "$root/etc/ssl/certs/ca-certificates.crt"
rm -f "$root/etc/resolv.conf"
cp /etc/resolv.conf "$root/etc/resolv.conf"
mkdir -p "$root/root/debs/old" "$root/root/debs/new"
cp "$old" "$root/root/debs/old/"
cp "$new" "$root/root/debs/new/"
cp "$here/in-debian.sh" "$root/root/"
# What the package depends on, while there is a network; then it is installed without one, by a running system.
depends=$(dpkg-deb -f "$old" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/,/ /g')
systemd-nspawn -q -D "$root" --register=no --keep-unit --pipe /bin/sh -c \
    "apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q --no-install-recommends $depends" \
    >"$folder/depends.log" 2>&1
cat >"$root/etc/systemd/system/proof.service" <<UNIT
[Unit]
After=basic.target dbus.socket
[Service]
Type=oneshot
Environment=HOME=/root OLD_VERSION=$(version "$old") NEW_VERSION=$(version "$new")
ExecStart=/bin/sh -c 'sh /root/in-debian.sh >/root/output 2>&1'
ExecStopPost=/bin/systemctl poweroff --no-block
UNIT
cat >"$root/etc/systemd/system/proof.target" <<UNIT
[Unit]
Requires=basic.target dbus.socket
Wants=proof.service
UNIT
timeout 1500 systemd-nspawn -q -D "$root" --register=no --keep-unit --private-network --console=pipe --boot \
    systemd.unit=proof.target </dev/null >"$folder/boot.log" 2>&1 || true
cat "$root/root/output"
grep -q '^all is well$' "$root/root/output"

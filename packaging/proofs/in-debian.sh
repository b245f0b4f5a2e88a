#!/bin/sh
# Runs as root in a Debian that systemd has booted, without a network. Packages are in /root/debs: corral_OLD and corral_NEW.
# Prints a line for each thing that was looked at; `check` fails the whole run.
set -u
export DEBIAN_FRONTEND=noninteractive LC_ALL=C.UTF-8
old=$(echo /root/debs/old/*.deb) new=$(echo /root/debs/new/*.deb)

check() {
    shown=$1
    shift
    if "$@"; then echo "ok: $shown"; else echo "FAILED: $shown"; touch /root/failed; fi
}
ready() {
    for _ in $(seq 600); do
        if corral list >/dev/null 2>&1; then return 0; fi
        sleep 0.2
    done
    return 1
}
version_is() { [ "$(corral --version 2>/dev/null | tail -n 1 | grep -o '[0-9][0-9.]*[0-9]' | tail -n 1)" = "$1" ]; }
answers() { corral run "$1" "What is 7 + 5?" >/tmp/answer 2>/dev/null && grep -q 12 /tmp/answer; }
is_kept() {
    corral list | grep -q '^mine' && corral key list | grep -q '^kept\|kept' &&
        grep -q '^keep_alive = "7m"' /etc/corral/config.toml && answers mine
}

echo "clock: install $(date +%s)"
check "installs" sh -c "apt-get install -y -q --no-download '$old' >/root/install.log 2>&1 || dpkg -i '$old' >>/root/install.log 2>&1"
check "is started by the installation" ready
echo "clock: ready $(date +%s)"
check "listens on 127.0.0.1 alone" sh -c "ss -ltn 2>/dev/null | grep -q 127.0.0.1:11434 || grep -q 0100007F:2CAA /proc/net/tcp"
check "pulls the model that it ships" sh -c 'corral pull corral-tiny >/dev/null 2>&1'
check "a chat is answered" answers corral-tiny
echo "answer: $(head -c 200 /tmp/answer)"
echo "clock: answered $(date +%s)"
check "runs as corral" [ "$(systemctl show corral -p User --value)" = corral ]
main=$(systemctl show corral -p MainPID --value)
check "has no capabilities" grep -q '^CapEff:.0000000000000000$' "/proc/$main/status"
check "the folder is the user's alone" [ "$(stat -c '%a %U' /var/lib/corral)" = "700 corral" ]
check "modules are compiled" sh -c 'ls /usr/lib/corral/lib/python3*/site-packages/corral/__pycache__/*.pyc >/dev/null'
check "manual page" sh -c 'zcat /usr/share/man/man1/corral.1.gz | grep -q "^.SH"'
check "completion" bash -c '. /usr/share/bash-completion/completions/corral && complete -p corral >/dev/null'
check "pip is there for engines" sh -c '/usr/lib/corral/bin/python3 -m pip --version >/dev/null'
check "an ordinary user can use it" sh -c "su nobody -s /bin/sh -c 'HOME=/tmp corral list' >/dev/null"

echo 'keep_alive = "7m"' >/tmp/keep
printf '[scheduler]\nkeep_alive = "7m"\n' >/etc/corral/config.toml
corral cp corral-tiny mine
check "a key is made as the user" sh -c "su corral -s /bin/sh -c 'HOME=/var/lib/corral corral key create kept' >/dev/null"
check "reloads" systemctl reload corral

check "upgrades" sh -c "dpkg -i '$new' >/root/upgrade.log 2>&1"
check "runs again" ready
check "is the new version" version_is "$NEW_VERSION"
check "models, keys and configuration are kept" is_kept
check "downgrades" sh -c "dpkg -i '$old' >/root/downgrade.log 2>&1"
check "runs again" ready
check "is the old version" version_is "$OLD_VERSION"
check "models, keys and configuration are kept" is_kept
check "the service did not fail" [ "$(systemctl show corral -p Result --value)" = success ]

check "is removed" sh -c "dpkg -r corral >/dev/null 2>&1"
check "nothing runs" sh -c '! systemctl is-active -q corral'
check "no file of the program stays" sh -c '! [ -e /usr/lib/corral ] && ! [ -e /usr/bin/corral ]'
check "models stay" [ -d /var/lib/corral/.ollama/models/blobs ]
check "installed again, all is there" sh -c "dpkg -i '$new' >/dev/null 2>&1"
ready && check "models, keys and configuration are kept" is_kept
check "purges without a question" sh -c "dpkg -P corral >/root/purge.log 2>&1"
tail -n 3 /root/purge.log
check "the configuration is gone" sh -c '! [ -e /etc/corral/config.toml ]'
check "models stay after a purge" [ -d /var/lib/corral/.ollama/models/blobs ]
check "so does their owner" sh -c 'getent passwd corral >/dev/null'
dpkg -i "$old" >/dev/null 2>&1 && ready
check "and are there for the next installation" sh -c 'corral list | grep -q ^mine'
echo 'corral corral/delete-data boolean true' | debconf-set-selections
check "purges with the answer yes" sh -c "dpkg -P corral >/dev/null 2>&1"
check "then models are deleted" sh -c '! [ -e /var/lib/corral ]'
check "and so is the user" sh -c '! getent passwd corral >/dev/null'
[ ! -e /root/failed ] && echo "all is well"

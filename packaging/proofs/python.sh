#!/bin/sh
# Installs a wheel with pip, pipx, uv and the install script, each into a home of its own, from an index on loopback that has
# nothing but what uv.lock names; starts the server of each, and chats. usage: python.sh WHEEL TOOLS FOLDER
# TOOLS is an environment with pip, pipx and uv.
set -eu
wheel=$1 tools=$(cd "$2" && pwd) folder=$3
cd "$(dirname "$0")/../.."
repository=$(pwd)
mkdir -p "$folder/files" "$folder/simple"
"$tools/bin/uv" export --frozen --offline --no-dev --no-emit-project --no-header --quiet >"$folder/requirements.txt"
"$tools/bin/python" -m pip download -q --disable-pip-version-check --no-deps --require-hashes --only-binary :all: \
    -r "$folder/requirements.txt" -d "$folder/files" 2>/dev/null
cp "$wheel" "$folder/files/"
for file in "$folder"/files/*.whl; do
    name=$(basename "$file" | sed 's/-.*//' | tr 'A-Z_.' 'a-z--')
    mkdir -p "$folder/simple/$name"
    ln -f "$file" "$folder/simple/$name/"
done
"$tools/bin/python" -m http.server --bind 127.0.0.1 --directory "$folder/simple" 0 >"$folder/index.log" 2>&1 &
index=$!
trap 'kill $index 2>/dev/null || true' EXIT
address=""
while [ -z "$address" ]; do
    sleep 0.2
    address=$(sed -n 's/.*(\(http[^)]*\)).*/\1/p' "$folder/index.log")
done
failed=""

# chat NAME PROGRAM: a server on a free port, the model that it ships, an answer.
chat() {
    home=$folder/$1
    port=$("$tools/bin/python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
    HOME=$home OLLAMA_HOST=127.0.0.1:$port "$2" serve >"$home/server.log" 2>&1 &
    server=$!
    for _ in $(seq 300); do
        if HOME=$home OLLAMA_HOST=127.0.0.1:$port "$2" list >/dev/null 2>&1; then break; fi
        sleep 0.2
    done
    HOME=$home OLLAMA_HOST=127.0.0.1:$port "$2" pull corral-tiny >/dev/null 2>&1 || true
    HOME=$home OLLAMA_HOST=127.0.0.1:$port "$2" run corral-tiny "What is 7 + 5?" >"$home/answer" 2>/dev/null || true
    kill -TERM $server
    wait $server || true
    grep -q 12 "$home/answer"
}
# way NAME PROGRAM COMMAND...: install, then chat.
way() {
    name=$1 program=$folder/$1/$2
    shift 2
    rm -rf "${folder:?}/$name"
    mkdir -p "$folder/$name"
    begin=$(date +%s)
    if env -i HOME="$folder/$name" PATH="$tools/bin:/usr/bin:/bin" PIP_CONFIG_FILE=/dev/null LC_ALL=C.UTF-8 "$@" \
        >"$folder/$name/install.log" 2>&1 && chat "$name" "$program"; then
        echo "ok: $name, $(($(date +%s) - begin)) s to the first answer"
    else
        echo "FAILED: $name"
        tail -n 5 "$folder/$name/install.log"
        failed=1
    fi
}

way pip venv/bin/corral sh -c "python3 -m venv \$HOME/venv && \$HOME/venv/bin/pip install -q --index-url $address corral"
way pipx .local/bin/corral pipx install --index-url "$address" corral
way uv .local/bin/corral uv tool install --default-index "$address" corral
way script-uv .local/bin/corral sh "$repository/packaging/install.sh" --index "$address"
way script-pipx .local/bin/corral sh "$repository/packaging/install.sh" --with pipx --index "$address"
way script-venv .local/bin/corral sh "$repository/packaging/install.sh" --with venv --index "$address"
way script-offline .local/bin/corral sh "$repository/packaging/install.sh" --with venv --find-links "$folder/files"
for name in script-uv script-pipx script-venv; do
    if env -i HOME="$folder/$name" PATH="$tools/bin:/usr/bin:/bin" sh packaging/install.sh --uninstall >/dev/null &&
        [ ! -e "$folder/$name/.local/bin/corral" ] && [ -d "$folder/$name/.ollama/models" ]; then
        echo "ok: $name is removed, models stay"
    else
        echo "FAILED: $name is not removed"
        failed=1
    fi
done
[ -z "$failed" ] && echo "all is well"

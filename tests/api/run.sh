#!/usr/bin/env bash
# Throws made-up requests at the API of a real node with simulated mining programs: nothing may break it, and no answer
# may be one that `openapi.json` does not describe.
#
#   tests/api/run.sh SCHEMATHESIS MINER_CTRL [SECONDS [SEED]]
#
# The seed is the same each time unless another is given (`random` for any): a change is then held to what the last one
# was held to, and new requests are thought up by hand.
set -euo pipefail
schemathesis="$1" program="$(realpath "$2")" seconds="${3:-60}" seed="${4:-1}"
[ "$seed" != random ] || seed="$RANDOM$RANDOM"
here="$(cd "$(dirname "$0")" && pwd)"
work="$(mktemp -d /tmp/mc-api-XXXXXX)"
nodes=()

end() {
    for node in "${nodes[@]}"; do kill "$node" 2>/dev/null || true; done
    for node in "${nodes[@]}"; do wait "$node" 2>/dev/null || true; done
    rm -rf "$work"
}
trap end EXIT

mapfile -t ports < <(python3 -c '
import socket
open_ = [socket.socket() for _ in range(4)]
for one in open_: one.bind(("127.0.0.1", 0))
for one in open_: print(one.getsockname()[1])')

ctl() { env -i PATH="$PATH" HOME="$work/$1" "$program" --home "$work/$1" "${@:2}"; }

# Starts a node and waits until it has said what it is: its version comes last.
serve() {
    local name="$1"
    shift
    env -i PATH="$PATH" HOME="$work/$name" "$program" --home "$work/$name" node serve --simulate "$@" \
        >"$work/$name.out" 2>"$work/$name.log" &
    nodes+=($!)
    for _ in $(seq 300); do
        grep -q '^version:' "$work/$name.out" && return
        kill -0 "${nodes[-1]}" 2>/dev/null || break
        sleep 0.1
    done
    echo "$name does not serve:" >&2
    cat "$work/$name.log" >&2
    exit 1
}

ctl desk node init --name control-center --role controller >/dev/null
for rig in rig-alpha rig-spare; do ctl "$rig" node init --name "$rig" --role worker >/dev/null; done
serve desk --listen "127.0.0.1:${ports[0]}" --dashboard "127.0.0.1:${ports[1]}"
serve rig-alpha --listen "127.0.0.1:${ports[2]}"
serve rig-spare --listen "127.0.0.1:${ports[3]}"
while read -r rig port; do
    code="$(sed -n 's/^pairing code: *//p' "$work/$rig.out")"
    ctl desk peer add --address "127.0.0.1:$port" --name "$rig" --code "$code" >/dev/null
done <<<"rig-alpha ${ports[2]}
rig-spare ${ports[3]}"
for profile in monero spare; do
    ctl desk profile add "$profile" --program xmrig --algorithm rx/0 --pool pool.example:3333 --wallet WALLET >/dev/null
done
ctl desk remote deploy rig-alpha --profile monero >/dev/null
ctl desk remote start rig-alpha --profile monero >/dev/null
MINER_CTRL_TOKEN="$(ctl desk token add schemathesis --scope admin -o json | python3 -c 'import json, sys; print(json.load(sys.stdin)["token"])')"
export MINER_CTRL_TOKEN

api="http://127.0.0.1:${ports[1]}/api/v1/mining"
cd "$work"
curl -sSf -H "Authorization: Bearer $MINER_CTRL_TOKEN" -o openapi.json "$api/openapi.json"
# Not asked: what would end its own token, and what only the local socket has.
timeout --kill-after 5 "$((seconds + 30))" "$schemathesis" --config-file "$here/schemathesis.toml" run openapi.json \
    --url "$api" --checks all --max-time "$seconds" --max-response-time 65 --no-color --seed "$seed" \
    --exclude-operation-id removeToken --exclude-operation-id makeLink

#!/bin/sh
# usage: sh benchmarks/recipes/polls.sh [URL [SECONDS]]
#
# Let wrk send short polls of a room without news over one connection, one at a time, and print the
# CPU time that the server needs for each.  Compare with `poll`, `end_to_end`, of
# benchmarks.cost_breakdown.  The server's /metrics have its CPU time, to 10 ms.
set -eu
url=${1:-http://127.0.0.1:8000}
seconds=${2:-10}

cpu() {
    curl -sS --fail "$url/metrics" | sed -n 's/^process_cpu_seconds_total //p'
}

# A client that polls sends its cursor, and the server does not parse the same request again.
room=$url/rooms/lobby/short_polling
cursor=$(curl -sS --fail "$room?after=now" | sed 's/.*"cursor": *"\([^"]*\)".*/\1/')
before=$(cpu)
requests=$(
    wrk --threads 1 --connections 1 --duration "${seconds}s" \
        "$room?after=$cursor" | sed -n 's/^ *\([0-9]*\) requests in.*/\1/p'
)
after=$(cpu)
awk "BEGIN {
    printf \"%d polls per second\n\", $requests / $seconds
    printf \"%.1f us of CPU per poll\n\", 1e6 * ($after - $before) / $requests
}"

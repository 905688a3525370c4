#!/bin/sh
# usage: sh benchmarks/recipes/bytes.sh [URL]
#
# Print the bytes of one message of 100 bytes, down to its reader, by each of our transports, as curl
# counts them: response headers, chunk sizes and frame headers included.  Compare with `bytes_down`
# of benchmarks.overhead.
set -eu
url=${1:-http://127.0.0.1:8000}
text='the quick brown fox jumps over the lazy dog the quick brown fox jumps over the lazy dog the quick br'
received=$(mktemp)
trap 'rm -f "$received"' EXIT

# Publish a message, and print its cursor.
publish() {
    curl -sS --fail "$room/messages" -H 'Content-Type: application/json' \
        -d '{"client":"benchmark","name":"Ada","text":"'"$text"'","via":"post"}' |
        sed 's/.*"cursor": *"\([^"]*\)".*/\1/'
}

# Print the bytes of a poll that returns one message.
poll() {
    before=$(publish)
    publish >/dev/null
    curl -sS -o /dev/null -w '%{size_header} %{size_download}\n' "$room/$1?after=$before" |
        { read -r header body && echo $((header + body)); }
}

# Print the bytes that a message adds to an open stream.  --raw keeps the chunk sizes; WebSocket
# frames are never decoded, since this curl does not know them.
stream() {
    transport=$1 start=$(publish)
    set --
    [ "$transport" != websocket ] ||
        set -- -H 'Connection: Upgrade' -H 'Upgrade: websocket' -H 'Sec-WebSocket-Version: 13' \
            -H 'Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA=='
    curl -s -N --raw -i "$@" "$room/$transport?after=$start" >"$received" &
    reader=$!
    deliver # the first one can arrive together with the start of the stream
    before=$(wc -c <"$received")
    deliver
    echo $(($(wc -c <"$received") - before))
    kill $reader
}

# Publish a message, and return when the stream has it.
deliver() {
    cursor=$(publish)
    until grep -q -- "$cursor" "$received"; do
        kill -0 "$reader" # the stream has ended: stop
        sleep 0.02
    done
}

for transport in short_polling long_polling; do
    room=$url/rooms/curl-$$-$transport # a new one: a cursor grows by a digit at the tenth message
    echo "$transport $(poll $transport)"
done
for transport in iframe_streaming sse fetch_streaming websocket; do
    room=$url/rooms/curl-$$-$transport
    echo "$transport $(stream $transport)"
done

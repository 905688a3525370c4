"""The UDP side: WebTransport over HTTP/3 and QUIC, which the optional package aioquic speaks.

    UDP socket ─▶ listener ─▶ connection ─▶ limited ─▶ connection ─▶ transports.webtransport
                  which one?  bytes, time   aioquic    its session

Only `start` is imported elsewhere: it knows whether aioquic is installed.
"""

"""What is worth counting, for whoever watches the server from afar (``GET /metrics``).

Names and units are those of Prometheus: seconds, and `_total` for what only grows.  Nothing here is
per room or per client, since each value of a label is a row that is kept for ever.
"""

from prometheus_client import Counter, Histogram, disable_created_metrics

# When each row was begun is of no use to anybody here, and would be half of the answer.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it is left untyped

# A message is fast below a frame of the screen and slow above a second.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

PUBLISH = Histogram(
    "realtime_publish_seconds",
    "From a message that was taken in to the hub's receipt",
    buckets=_SECONDS,
)
DELIVERY = Histogram(
    "realtime_delivery_seconds",
    "From `published`, by the hub's clock, to the write to all streams here",
    buckets=_SECONDS,
)
SYNCS = Counter("realtime_syncs", "Readings of the hub's memory", ["cause"])
RESETS = Counter("realtime_resets", "Copies of a room that had to begin anew")
GAPS = Counter("realtime_gaps", "Readers that were told of a gap", ["reason"])
for _reason in ("trimmed", "rewound", "unknown"):
    GAPS.labels(_reason)  # a row that appears only with its first value looks like no change
LAGGED = Counter("realtime_slow_followers", "Streams that could not take a push")
STALLED = Counter("realtime_stalled_connections", "Connections that took nothing", ["transport"])
REFUSED = Counter("realtime_refused", "Requests and messages that were refused", ["code"])
TASK_FAILURES = Counter("realtime_task_failures", "Tasks that failed", ["task"])

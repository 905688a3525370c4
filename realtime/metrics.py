"""The metrics of the server, in the format of Prometheus (``GET /metrics``).

Names and units follow its conventions: seconds, and `_total` for counters.  No label is a room or a
client, since each label value is a time series that is kept forever.
"""

from prometheus_client import Counter, Histogram, disable_created_metrics

# The `_created` series (when each counter started) would double the size of the response.
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations

# Fast means less than one screen frame (1/60 s), slow means more than a second.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

PUBLISH = Histogram(
    "realtime_publish_seconds",
    "From an accepted message to the hub's receipt",
    buckets=_SECONDS,
)
DELIVERY = Histogram(
    "realtime_delivery_seconds",
    "From `published`, by the hub's clock, to the write to all streams of this process",
    buckets=_SECONDS,
)
SYNCS = Counter("realtime_syncs", "Reads of the hub's history to bring a room in sync", ["cause"])
RESETS = Counter("realtime_resets", "Copies of a room that were reset")
GAPS = Counter("realtime_gaps", "Readers that received a gap", ["reason"])
for _reason in ("trimmed", "rewound", "unknown"):
    GAPS.labels(_reason)  # without it the series would start at 1, and rate() would miss it
LAGGED = Counter("realtime_slow_followers", "Streams that could not accept a push")
STALLED = Counter(
    "realtime_stalled_connections", "Connections that accepted no data", ["transport"]
)
REFUSED = Counter("realtime_refused", "Requests and messages that were refused", ["code"])
TASK_FAILURES = Counter("realtime_task_failures", "Tasks that failed", ["task"])

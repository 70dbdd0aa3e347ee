"""The bounds of histograms, in seconds."""

# Finest around the default budget of 50 ms.
LATENCY_BUCKETS_S = (
    0.001,
    0.002,
    0.003,
    0.005,
    0.0075,
    0.01,
    0.015,
    0.02,
    0.03,
    0.04,
    0.05,
    0.075,
    0.1,
    0.25,
    0.5,
    1.0,
)
# A part may be far shorter than the whole request.
PART_BUCKETS_S = (0.0001, 0.00025, 0.0005, *LATENCY_BUCKETS_S)
# The default budget is 0.05; the bucket 0 counts requests that had nothing left.
BUDGET_LEFT_BUCKETS_S = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.045, 0.05, 0.1, 0.5, 1.0)

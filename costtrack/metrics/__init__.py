"""`/metrics` for Prometheus.

`instruments` counts what the processes do, `exposition` adds the gauges of the health checks. In
`costtrack.metrics_folder` the processes of a host share their counters.
"""

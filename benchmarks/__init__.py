"""Speed and size, as ratios to baselines measured in the same run (docs/performance.md): `python -m benchmarks all`."""

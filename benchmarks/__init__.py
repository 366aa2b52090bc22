"""Speed and size as ratios to yardsticks of the same run (docs/performance.md): `python -m benchmarks all`."""

"""Speed and size, as ratios to yardsticks measured in the same run (docs/performance.md): `python -m benchmarks all`."""

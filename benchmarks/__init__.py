"""Speed and size, as ratios to yardsticks measured in the same run (design section 8): `python -m benchmarks all`."""

"""The product's settings, with the baselines' views added: the same workers serve both."""

from costtrack.settings import *  # noqa: F403 - the very same settings

ROOT_URLCONF = "benchmarks.baseline_urls"

"""The product's settings with the views of the baselines, so that the same workers serve both."""

from costtrack.settings import *  # noqa: F403 - the very same settings

ROOT_URLCONF = "benchmarks.baseline_urls"

"""Packages for programs that send usage. The installation builds them (`hatch_build.py`); they are static files."""

from importlib.metadata import version

LITELLM_PACKAGE = f"costtrack/packages/costtrack_litellm-{version('costtrack')}-py3-none-any.whl"
CLI_PACKAGE = f"costtrack/packages/costtrack_cli-{version('costtrack')}-py3-none-any.whl"

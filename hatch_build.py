"""Builds the wheels of `packages/` into this package, so that every web server offers them."""

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.builders.wheel import WheelBuilder

FOLDER = "costtrack/static/costtrack/packages"


class ClientPackages(BuildHookInterface[Any]):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        root = Path(self.root)
        for old in (root / FOLDER).glob("*.whl"):
            old.unlink()
        for project in sorted((root / "packages").iterdir()):
            builder = WheelBuilder(str(project))
            for path in builder.build(directory=str(root / FOLDER), versions=["standard"]):
                build_data["force_include"][path] = f"{FOLDER}/{Path(path).name}"

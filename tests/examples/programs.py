"""Programs that use LiteLLM and costtrack-litellm, run in its environment. LiteLLM takes seconds to load, so one
process runs them one after the other."""

import json
import subprocess
from collections.abc import Mapping
from pathlib import Path
from textwrap import dedent, indent
from typing import Any

PRELUDE = """
import asyncio, gc, json, os, time
import litellm
from costtrack_litellm import CallRefusedError, CosttrackCallback

litellm.suppress_debug_info = True
MESSAGES = [{"role": "user", "content": "What is neutral?"}]

async def call(model="fine", **options):
    options = {"messages": MESSAGES, "max_tokens": 500, "max_retries": 0, **options}
    return await litellm.acompletion("openai/" + model, **where(), **options)

def where():
    return {"api_base": os.environ["PROVIDER"], "api_key": "none"}
"""
_LOOP = """
import sys, traceback
BASE = dict(os.environ)
for line in sys.stdin:
    given = json.loads(line)
    os.environ.clear()
    os.environ.update({**BASE, **given["environment"]})
    litellm.logging_callback_manager._reset_all_callbacks()
    names, results = dict(globals()), []
    names["results"], names["callback"] = results, CosttrackCallback()
    litellm.callbacks = [names["callback"]]
    try:
        exec(given["program"], names)
        asyncio.run(names["main"]())
        answer = {"results": results}
    except BaseException:
        answer = {"error": traceback.format_exc()}
    print("ANSWER", json.dumps(answer), flush=True)
"""


def main_of(program: str) -> str:
    """As a coroutine, which sends all that there is to tell before it ends."""
    return "async def main():\n" + indent(dedent(program), "    ") + "\n    await callback.aclose()\n"


class Interpreter:
    """The process. `run` gives what a program `results`; what it raises fails the test."""

    def __init__(self, python: Path, environment: Mapping[str, str], log: Path) -> None:
        with log.open("w") as errors:
            self._process = subprocess.Popen(
                [python, "-c", PRELUDE + _LOOP],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )

    def run(self, program: str, environment: Mapping[str, str]) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"program": main_of(program), "environment": dict(environment)}) + "\n")
        self._process.stdin.flush()
        for line in self._process.stdout:
            if line.startswith("ANSWER "):
                answer = json.loads(line.removeprefix("ANSWER "))
                assert "error" not in answer, answer["error"]
                return answer["results"]
        raise AssertionError("The program's process has ended.")

    def end(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

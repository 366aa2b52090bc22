"""Traceloop's SDK (OpenLLMetry), which instruments OpenAI and Anthropic: a workflow with a task."""

import anthropic
import openai
from calls import CONTENT, PROVIDER, call_anthropic, call_openai
from traceloop.sdk import Traceloop
from traceloop.sdk.decorators import task, workflow

Traceloop.init(app_name="program", disable_batch=False)


@task(name="ask")
def ask(text: str) -> str:
    call_openai(openai.OpenAI(api_key="none", base_url=f"{PROVIDER}/v1", max_retries=0))
    call_anthropic(anthropic.Anthropic(api_key="none", base_url=PROVIDER, max_retries=0))
    return text


@workflow(name="answers")
def answer(text: str) -> str:
    Traceloop.set_association_properties({"user_id": "ada", "session_id": "s-1", "note": CONTENT})
    return ask(text)


if __name__ == "__main__":
    answer(CONTENT)

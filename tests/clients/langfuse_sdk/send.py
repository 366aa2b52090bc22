"""Langfuse's SDK, version 3 or later: its OpenAI client, and a generation that a program writes by hand."""

import anthropic
from calls import CONTENT, MESSAGE, MESSAGES, PROVIDER, call_openai
from langfuse import get_client, propagate_attributes
from langfuse.openai import OpenAI


def main() -> None:
    langfuse = get_client()
    assert langfuse.auth_check()
    with (
        langfuse.start_as_current_observation(as_type="span", name="work", input=CONTENT, metadata={"note": CONTENT}),
        propagate_attributes(user_id="ada", session_id="s-1", tags=["team:search"]),
    ):
        call_openai(OpenAI(api_key="none", base_url=f"{PROVIDER}/v1", max_retries=0))
        client = anthropic.Anthropic(api_key="none", base_url=PROVIDER, max_retries=0)
        with langfuse.start_as_current_observation(
            as_type="generation", name=CONTENT, model=MESSAGE["model"], input=MESSAGES
        ) as generation:
            message = client.messages.create(**MESSAGE)
            usage = message.usage
            generation.update(
                output=message.content[0].text,
                usage_details={
                    "input": usage.input_tokens,
                    "output": usage.output_tokens,
                    "cache_read_input_tokens": usage.cache_read_input_tokens,
                    "cache_creation_input_tokens": usage.cache_creation_input_tokens,
                },
            )
    langfuse.flush()
    langfuse.shutdown()


if __name__ == "__main__":
    main()

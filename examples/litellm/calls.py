"""Fifty calls of a small research job, as a table: the run, the model, and the number and kind of calls.

Nothing leaves this machine: LiteLLM generates each response (`mock_response`) with the usage given here.
"""

from dataclasses import dataclass, field

from litellm import ModelResponse, Usage

# The parent of each run. Names are prefixed with the id of the job.
RUNS = {"job": None, "research": "job", "search": "research", "read": "research", "write": "job"}

PROMPT = "What is a neutral question?"
ANSWER = "This is a neutral answer."


def _usage(prompt: int, completion: int, **details: object) -> Usage:
    return Usage(prompt_tokens=prompt, completion_tokens=completion, total_tokens=prompt + completion, **details)


@dataclass(frozen=True)
class Call:
    """`times` equal calls. LiteLLM counts the tokens of a stream; `fails_with` is an error that LiteLLM can
    simulate."""

    run: str
    model: str
    times: int
    usage: Usage = field(default_factory=lambda: _usage(10, 20))
    stream: bool = False
    fails_with: str | None = None

    def answer(self) -> ModelResponse | str:
        """Return the `mock_response` for LiteLLM."""
        if self.fails_with or self.stream:
            return self.fails_with or ANSWER
        return ModelResponse(
            model=self.model.partition("/")[2],
            choices=[{"message": {"role": "assistant", "content": ANSWER}}],
            usage=self.usage,
        )


CALLS = (
    Call("job", "openai/gpt-4o-mini", 6, _usage(1_200, 80)),
    Call("research", "openai/gpt-4o", 4, stream=True),
    Call("research", "openai/o3-mini", 3, _usage(900, 2_400, completion_tokens_details={"reasoning_tokens": 2_112})),
    Call("search", "gemini/gemini-2.5-flash", 6, _usage(2_000, 150)),
    Call("search", "mistral/mistral-large-latest", 4, _usage(700, 210)),
    Call("search", "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo", 4, _usage(800, 120)),
    Call("search", "perplexity/sonar", 2, _usage(300, 400)),
    Call("read", "openai/gpt-4.1", 4, _usage(9_000, 300, prompt_tokens_details={"cached_tokens": 8_192})),
    Call("read", "deepseek/deepseek-chat", 5, _usage(4_000, 500, prompt_cache_hit_tokens=3_840)),
    Call(
        "write",
        "anthropic/claude-sonnet-4-5",
        4,
        _usage(
            6_120,
            800,
            cache_read_input_tokens=5_000,
            cache_creation_input_tokens=1_000,
            prompt_tokens_details={
                "cache_creation_tokens": 1_000,
                "cache_creation_token_details": {
                    "ephemeral_5m_input_tokens": 400,
                    "ephemeral_1h_input_tokens": 600,
                },
            },
        ),
    ),
    Call("write", "anthropic/claude-haiku-4-5", 4, stream=True),
    Call("write", "openai/house-model", 3, _usage(500, 50)),
    Call("write", "openai/gpt-4o", 1, fails_with="litellm.RateLimitError"),
)

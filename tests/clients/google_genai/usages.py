"""Google's own client: Gemini by the API and by Vertex AI, streams, embeddings and Live."""

from typing import Any

from canned import Provider, provider, report
from google import genai
from google.genai import types

CACHED_USAGE = {
    "promptTokenCount": 5000,
    "cachedContentTokenCount": 4000,
    "candidatesTokenCount": 300,
    "thoughtsTokenCount": 700,
    "totalTokenCount": 6000,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 5000}],
    "cacheTokensDetails": [{"modality": "TEXT", "tokenCount": 4000}],
}
AUDIO_USAGE = {
    "promptTokenCount": 1000,
    "cachedContentTokenCount": 500,
    "candidatesTokenCount": 200,
    "totalTokenCount": 1200,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 100}, {"modality": "AUDIO", "tokenCount": 900}],
    "cacheTokensDetails": [{"modality": "AUDIO", "tokenCount": 500}],
}
IMAGE_USAGE = {
    "promptTokenCount": 20,
    "candidatesTokenCount": 1290,
    "totalTokenCount": 1310,
    "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 20}],
    "candidatesTokensDetails": [{"modality": "IMAGE", "tokenCount": 1290}],
}
TOOL_USAGE = {
    "promptTokenCount": 1000,
    "candidatesTokenCount": 200,
    "toolUsePromptTokenCount": 5000,
    "totalTokenCount": 6200,
    "toolUsePromptTokensDetails": [{"modality": "TEXT", "tokenCount": 5000}],
}
FLEX_USAGE = {
    "promptTokenCount": 1000,
    "candidatesTokenCount": 200,
    "totalTokenCount": 1200,
    "trafficType": "ON_DEMAND_FLEX",
}
LIVE_USAGE = {
    "promptTokenCount": 1000,
    "responseTokenCount": 200,
    "totalTokenCount": 1200,
    "promptTokensDetails": [{"modality": "AUDIO", "tokenCount": 900}, {"modality": "TEXT", "tokenCount": 100}],
    "responseTokensDetails": [{"modality": "AUDIO", "tokenCount": 200}],
}


def answer_of(usage: dict[str, Any], model: str) -> dict[str, Any]:
    content = {"role": "model", "parts": [{"text": "This."}]}
    return {
        "candidates": [{"content": content, "finishReason": "STOP", "index": 0}],
        "modelVersion": model,
        "responseId": "r",
        "usageMetadata": usage,
    }


def generate(client: genai.Client, server: Provider) -> None:
    for name, model, usage in (
        ("cached, with thoughts", "gemini-2.5-flash", CACHED_USAGE),
        ("cached audio", "gemini-2.5-flash", AUDIO_USAGE),
        ("image", "gemini-2.5-flash-image", IMAGE_USAGE),
        ("prompts of tools", "gemini-2.5-flash", TOOL_USAGE),
    ):
        server.will_answer(answer_of(usage, model))
        response = client.models.generate_content(model=model, contents="What is neutral?")
        report(name, "google", model, response.usage_metadata.model_dump())

    server.will_answer(answer_of(CACHED_USAGE, "gemini-2.5-flash"))
    response = client.models.generate_content(model="gemini-2.5-flash", contents="What is neutral?")
    report("whole response", "google", "gemini-2.5-flash", response.model_dump(mode="json", exclude_none=True))

    early = {"promptTokenCount": 5000, "cachedContentTokenCount": 4000, "totalTokenCount": 5000}
    server.will_answer([answer_of(usage, "gemini-2.5-flash") for usage in (early, CACHED_USAGE)])
    *_, last = client.models.generate_content_stream(model="gemini-2.5-flash", contents="What is neutral?")
    report("last chunk of a stream", "google", "gemini-2.5-flash", last.usage_metadata.model_dump(by_alias=True))


def parsed() -> None:
    """Answers of what needs an account or a socket."""
    vertex = types.GenerateContentResponse.model_validate(answer_of(FLEX_USAGE, "gemini-2.5-flash"))
    report("Vertex AI, flex", "vertex_ai", "gemini-2.5-flash", vertex.usage_metadata.to_json_dict())

    live = types.LiveServerMessage.model_validate({"usageMetadata": LIVE_USAGE})
    report("Live", "google", "gemini-live-2.5-flash", live.usage_metadata.model_dump())


def main() -> None:
    with provider() as server:
        options = types.HttpOptions(base_url=server.url)
        generate(genai.Client(api_key="none", http_options=options), server)
    parsed()


if __name__ == "__main__":
    main()

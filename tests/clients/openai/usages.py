"""OpenAI's own client: Chat Completions, Responses, embeddings, images, transcriptions and Realtime."""

from typing import Any

import openai
from canned import Provider, provider, report
from openai.types.realtime import ResponseDoneEvent

MESSAGES: Any = [{"role": "user", "content": "What is neutral?"}]
CHAT = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1764400000}
CHOICES = [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "This."}}]
RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1764400000,
    "status": "completed",
    "output": [],
    "parallel_tool_calls": True,
    "tool_choice": "auto",
    "tools": [],
}
CHAT_USAGE = {
    "prompt_tokens": 10000,
    "completion_tokens": 500,
    "total_tokens": 10500,
    "prompt_tokens_details": {"cached_tokens": 8000, "audio_tokens": 0},
    "completion_tokens_details": {
        "reasoning_tokens": 300,
        "audio_tokens": 0,
        "accepted_prediction_tokens": 0,
        "rejected_prediction_tokens": 0,
    },
}
AUDIO_USAGE = {
    "prompt_tokens": 1000,
    "completion_tokens": 600,
    "total_tokens": 1600,
    "prompt_tokens_details": {"cached_tokens": 0, "text_tokens": 200, "audio_tokens": 800},
    "completion_tokens_details": {"reasoning_tokens": 0, "text_tokens": 100, "audio_tokens": 500},
}
RESPONSES_USAGE = {
    "input_tokens": 10000,
    "input_tokens_details": {"cached_tokens": 8000, "cache_write_tokens": 0},
    "output_tokens": 500,
    "output_tokens_details": {"reasoning_tokens": 300},
    "total_tokens": 10500,
}
WRITES_USAGE = {
    "input_tokens": 10000,
    "input_tokens_details": {
        "cached_tokens": 4000,
        "cache_write_tokens": 5000,
        "cache_write_tokens_details": {"ttl_30m_tokens": 2000, "ttl_12h_tokens": 3000},
    },
    "output_tokens": 500,
    "output_tokens_details": {"reasoning_tokens": 0},
    "total_tokens": 10500,
}
NO_IMAGES = {
    "input_tokens": 0,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 0},
    "output_tokens": 0,
    "total_tokens": 0,
}
IMAGE_USAGE = {
    "total_tokens": 5210,
    "input_tokens": 1050,
    "output_tokens": 4160,
    "input_tokens_details": {"text_tokens": 50, "image_tokens": 1000},
    "output_tokens_details": {"text_tokens": 160, "image_tokens": 4000},
}
TRANSCRIPTION_USAGE = {
    "type": "tokens",
    "total_tokens": 1100,
    "input_tokens": 1000,
    "input_token_details": {"text_tokens": 10, "audio_tokens": 990},
    "output_tokens": 100,
}
REALTIME_USAGE = {
    "total_tokens": 2600,
    "input_tokens": 2000,
    "output_tokens": 600,
    "input_token_details": {
        "text_tokens": 500,
        "audio_tokens": 1500,
        "image_tokens": 0,
        "cached_tokens": 600,
        "cached_tokens_details": {"text_tokens": 200, "audio_tokens": 400, "image_tokens": 0},
    },
    "output_token_details": {"text_tokens": 100, "audio_tokens": 500},
}


def chat(client: openai.OpenAI, server: Provider) -> None:
    server.will_answer({**CHAT, "model": "gpt-5.4", "choices": CHOICES, "usage": CHAT_USAGE})
    completion = client.chat.completions.create(model="gpt-5.4", messages=MESSAGES)
    report("chat", "openai", "gpt-5.4", completion.usage.model_dump())

    server.will_answer({**CHAT, "model": "gpt-4o-audio-preview", "choices": CHOICES, "usage": AUDIO_USAGE})
    completion = client.chat.completions.create(model="gpt-4o-audio-preview", messages=MESSAGES)
    report("chat with audio", "openai", "gpt-4o-audio-preview", completion.usage.model_dump())

    piece = {**CHAT, "object": "chat.completion.chunk", "model": "gpt-5.4", "service_tier": "flex"}
    delta = [{"index": 0, "delta": {"content": "This."}, "finish_reason": None}]
    server.will_answer(
        [{**piece, "choices": delta, "usage": None}, {**piece, "choices": [], "usage": CHAT_USAGE}, "[DONE]"]
    )
    stream = client.chat.completions.create(
        model="gpt-5.4", messages=MESSAGES, stream=True, stream_options={"include_usage": True}
    )
    *_, last = stream
    report("last chunk of a stream, flex", "openai", "gpt-5.4", last.model_dump())


def responses(client: openai.OpenAI, server: Provider) -> None:
    server.will_answer({**RESPONSE, "model": "gpt-5.4", "service_tier": "priority", "usage": RESPONSES_USAGE})
    response = client.responses.create(model="gpt-5.4", input="What is neutral?")
    report("response, priority", "openai", "gpt-5.4", response.model_dump())

    searches = {"web_search": {"num_requests": 2}, "image_gen": NO_IMAGES}
    server.will_answer({**RESPONSE, "model": "gpt-5.4", "usage": RESPONSES_USAGE, "tool_usage": searches})
    response = client.responses.create(model="gpt-5.4", input="What is neutral?")
    report("response with searches", "openai", "gpt-5.4", response.model_dump())

    server.will_answer({**RESPONSE, "model": "gpt-5.6-sol", "usage": WRITES_USAGE})
    response = client.responses.create(model="gpt-5.6-sol", input="What is neutral?")
    report("response with cache writes", "openai", "gpt-5.6-sol", response.usage.model_dump())

    created = {**RESPONSE, "model": "gpt-5.4", "status": "in_progress"}
    completed = {**RESPONSE, "model": "gpt-5.4", "service_tier": "default", "usage": RESPONSES_USAGE}
    server.will_answer(
        [
            {"type": "response.created", "sequence_number": 0, "response": created},
            {"type": "response.completed", "sequence_number": 1, "response": completed},
        ]
    )
    *_, last = client.responses.create(model="gpt-5.4", input="What is neutral?", stream=True)
    report("last event of a stream", "openai", "gpt-5.4", last.model_dump())


def others(client: openai.OpenAI, server: Provider) -> None:
    vector = {"object": "embedding", "index": 0, "embedding": [0.1]}
    usage = {"prompt_tokens": 800, "total_tokens": 800}
    server.will_answer({"object": "list", "model": "text-embedding-3-small", "data": [vector], "usage": usage})
    embedding = client.embeddings.create(model="text-embedding-3-small", input="neutral", encoding_format="float")
    report("embedding", "openai", "text-embedding-3-small", embedding.usage.model_dump())

    server.will_answer({"created": 1764400000, "data": [{"b64_json": ""}], "quality": "high", "usage": IMAGE_USAGE})
    images = client.images.generate(model="gpt-image-1.5", prompt="A neutral picture")
    report("image", "openai", "gpt-image-1.5", images.usage.model_dump())

    server.will_answer({"text": "This.", "usage": TRANSCRIPTION_USAGE})
    transcription = client.audio.transcriptions.create(model="gpt-4o-transcribe", file=("a.wav", b"RIFF"))
    report("transcription", "openai", "gpt-4o-transcribe", transcription.usage.model_dump())

    event = {"type": "response.done", "event_id": "event_1", "response": {"usage": REALTIME_USAGE}}
    done = ResponseDoneEvent.model_validate(event)
    report("realtime", "openai", "gpt-realtime", done.response.usage.model_dump())


def main() -> None:
    with provider() as server:
        client = openai.OpenAI(api_key="none", base_url=server.url, max_retries=0)
        chat(client, server)
        responses(client, server)
        others(client, server)


if __name__ == "__main__":
    main()

// Vercel's AI SDK with its OpenTelemetry integration: texts, streams and an embedding, of OpenAI and Anthropic.

import { createAnthropic } from "@ai-sdk/anthropic";
import { createOpenAI } from "@ai-sdk/openai";
import { OpenTelemetry } from "@ai-sdk/otel";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-proto";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import { embed, generateText, registerTelemetry, streamText, tool } from "ai";
import { z } from "zod";

const { CONTENT, PROVIDER } = process.env;
const provider = new NodeTracerProvider({ spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())] });
provider.register();
registerTelemetry(new OpenTelemetry());

const openai = createOpenAI({ apiKey: "none", baseURL: `${PROVIDER}/v1` });
const anthropic = createAnthropic({ apiKey: "none", baseURL: `${PROVIDER}/v1` });
const options = {
  system: `Be neutral. ${CONTENT}`,
  prompt: `What is neutral? ${CONTENT}`,
  maxRetries: 0,
  tools: {
    look_up: tool({ description: CONTENT, inputSchema: z.object({ word: z.string() }), execute: async () => CONTENT }),
  },
};

for (const model of [openai.chat("gpt-5.4"), openai.responses("gpt-5.4"), anthropic("claude-sonnet-4-5")]) {
  await generateText({ model, ...options });
  await streamText({ model, ...options }).consumeStream();
}
await embed({ model: openai.embedding("text-embedding-3-small"), value: CONTENT, maxRetries: 0 });
await provider.shutdown();

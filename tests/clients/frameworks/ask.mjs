// One case of the AI SDK against a server: URL WAY MODEL CASE; its result as JSON on standard output.
import { createOpenAI } from '@ai-sdk/openai';
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { APICallError, embedMany, generateText, Output, stepCountIs, streamText, tool } from 'ai';
import { z } from 'zod';

const [url, way, name, which] = process.argv.slice(-4);
const options = { baseURL: `${url}/v1`, apiKey: 'none', name: 'openllm' };
const openai = createOpenAI(options);
const compatible = createOpenAICompatible({ ...options, includeUsage: true, supportsStructuredOutputs: true });
const model = { responses: openai.responses, chat: openai.chat, compatible }[way](name);

const weather = tool({
  description: 'The weather of a city.',
  inputSchema: z.object({ city: z.enum(['Rome', 'Oslo']) }),
  execute: async ({ city }) => ({ city, weather: 'sunny' }),
});
const asked = { model, prompt: 'What is a Bento?', maxOutputTokens: 200, maxRetries: 0, temperature: 0 };
const forced = { ...asked, tools: { weather } };

async function streamed(more) {
  const kinds = [];
  const result = streamText({ ...asked, ...more, onError: ({ error }) => { throw error; } });
  for await (const part of result.fullStream) kinds.push(part.type);
  const [text, reasoning, steps, usage, finish] = await Promise.all(
    [result.text, result.reasoningText, result.steps, result.totalUsage, result.finishReason]);
  return { kinds, text, reasoning, ...told(steps), usage, finish };
}

function told(steps) {
  return {
    calls: steps.flatMap((step) => step.toolCalls.map((call) => [call.toolName, call.input])),
    results: steps.flatMap((step) => step.toolResults.map((result) => result.output)),
    steps: steps.length,
  };
}

async function generated(more) {
  const result = await generateText({ ...asked, ...more });
  const { text, reasoningText: reasoning, totalUsage: usage, finishReason: finish } = result;
  return { text, reasoning, ...told(result.steps), usage, finish };
}

const cases = {
  text: () => generated({}),
  stream: () => streamed({}),
  required: () => generated({ ...forced, toolChoice: 'required' }),
  named: () => streamed({ ...forced, toolChoice: { type: 'tool', toolName: 'weather' } }),
  loop: () => generated({ ...forced, stopWhen: stepCountIs(20) }),
  streamedLoop: () => streamed({ ...forced, stopWhen: stepCountIs(20) }),
  object: async () => {
    const output = Output.object({ schema: z.object({ mood: z.enum(['good', 'bad']) }) });
    return (await generateText({ ...asked, output })).output;
  },
  vectors: async () => {
    const embedder = way === 'compatible' ? compatible.embeddingModel(name) : openai.embedding(name);
    const { embeddings } = await embedMany({ model: embedder, values: ['a', 'b'], maxRetries: 0 });
    return embeddings.map((vector) => vector.length);
  },
};

try {
  console.log(JSON.stringify(await cases[which]()));
} catch (error) {
  if (!APICallError.isInstance(error)) throw error;
  console.log(JSON.stringify({ status: error.statusCode, message: error.message, retry: error.isRetryable }));
}

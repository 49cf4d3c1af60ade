// Vercel's AI SDK: a whole answer, one as it is written, and one of a given form.
//
// npm install ai @ai-sdk/openai-compatible zod
import { createOpenAICompatible } from '@ai-sdk/openai-compatible';
import { generateText, Output, streamText } from 'ai';
import { z } from 'zod';

const url = process.env.OPENLLM_ENDPOINT ?? 'http://localhost:3000';
const openllm = createOpenAICompatible({
  name: 'openllm',
  baseURL: `${url}/v1`,
  apiKey: process.env.OPENLLM_API_KEY ?? 'none',
  supportsStructuredOutputs: true,
});
const asked = { model: openllm('demo'), prompt: 'How do I build a Bento?' };

const { text } = await generateText(asked);
console.log(text);

for await (const part of streamText(asked).textStream) process.stdout.write(part);
console.log();

const schema = z.object({ mood: z.enum(['good', 'bad']) });
const { output } = await generateText({ ...asked, output: Output.object({ schema }) });
console.log(output);

// OpenAI's client for JavaScript: a whole answer, and one as it is written.
//
// npm install openai
import OpenAI from 'openai';

const url = process.env.OPENLLM_ENDPOINT ?? 'http://localhost:3000';
const client = new OpenAI({
  baseURL: `${url}/v1`,
  apiKey: process.env.OPENLLM_API_KEY ?? 'none',
});
const asked = {
  model: 'demo',
  messages: [{ role: 'user', content: 'How do I build a Bento?' }],
};

const answer = await client.chat.completions.create(asked);
console.log(answer.choices[0].message.content);

for await (const chunk of await client.chat.completions.create({ ...asked, stream: true })) {
  process.stdout.write(chunk.choices[0].delta.content ?? '');
}
console.log();

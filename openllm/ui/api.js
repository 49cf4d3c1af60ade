// The server behind the page: its address, the key, and what goes wrong with a request, in words.

const ROOT = new URL(".", location.origin + location.pathname); // not relative: the page's own URL may hold a key
export const API = new URL("v1/", ROOT);
const KEY = "openllm-api-key"; // in session storage: gone with the tab

export class Failure extends Error {
  constructor(message, kind) {
    super(message);
    this.kind = kind; // "key", "loading", "down" or "refused"
  }
}

export const key = {
  get: () => sessionStorage.getItem(KEY) ?? "",
  set: (value) => sessionStorage.setItem(KEY, value.trim()),
};

function headers() {
  const said = key.get();
  return { "Content-Type": "application/json", ...(said ? { Authorization: `Bearer ${said}` } : {}) };
}

async function failure(response) {
  let message = `The server answered with status ${response.status}.`;
  try {
    message = (await response.json()).error.message ?? message;
  } catch { /* a proxy's page, say */ }
  if (response.status === 401) return new Failure(message, "key");
  return new Failure(message, response.status === 503 ? "loading" : "refused");
}

// A response with a good status. Errors: Failure; AbortError when `signal` stops it.
async function call(url, options = {}) {
  let response;
  try {
    response = await fetch(url, { ...options, headers: headers() });
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Failure("The server does not answer. Is it still running? What you wrote is kept.", "down");
  }
  if (!response.ok) throw await failure(response);
  return response;
}

export const models = async () => (await (await call(new URL("models", API))).json()).data;
export const metadata = async () => (await call(new URL("metadata", API))).json();
export const metrics = async () => (await call(new URL("metrics", ROOT))).text();

// What the server says of itself: "ready", "loading", "draining", "dead", or "down".
export async function state() {
  try {
    return (await (await fetch(new URL("readyz", ROOT))).json()).status;
  } catch {
    return "down";
  }
}

// The data of server-sent events as they come, whatever pieces the network makes of them.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split(/\r?\n\r?\n/);
    rest = parts.pop();
    for (const part of parts) {
      const lines = part.split(/\r?\n/).filter((line) => line.startsWith("data:"));
      if (lines.length) yield lines.map((line) => line.slice(5).trimStart()).join("\n");
    }
  }
}

// The chunks of a streamed answer. Errors: Failure, also for a stream that is cut off.
export async function* chat(body, signal) {
  const response = await call(new URL("chat/completions", API), { method: "POST", body: JSON.stringify(body), signal });
  try {
    for await (const data of events(response)) {
      if (data === "[DONE]") return;
      const chunk = JSON.parse(data);
      if (chunk.error) throw new Failure(chunk.error.message, "refused");
      yield chunk;
    }
  } catch (error) {
    if (error.name === "AbortError" || error instanceof Failure) throw error;
    throw new Failure("The connection was lost in the middle of the answer.", "down");
  }
  throw new Failure("The answer was cut off: the server ended the connection.", "down");
}

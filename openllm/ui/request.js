// A question as a request: its body, and the same as curl and Python to copy.

import { API, key } from "./api.js";
import { byId, copy, icon, make } from "./dom.js";
import { highlight } from "./highlight.js";

// What OpenAI's Python client has parameters for; the rest goes into extra_body.
const OPENAI = new Set(["model", "messages", "temperature", "top_p", "presence_penalty", "frequency_penalty", "max_tokens",
  "seed", "stop", "n", "logit_bias", "response_format", "tools"]);

export function body(model, system, messages, fields) {
  const first = system.trim() ? [{ role: "system", content: system.trim() }] : [];
  return { model, messages: [...first, ...messages], ...fields };
}

export function curl(request) {
  const quoted = JSON.stringify(request, null, 2).replaceAll("'", "'\\''");
  const secret = key.get() ? " \\\n  -H \"Authorization: Bearer $OPENLLM_API_KEY\"" : "";
  const head = `curl ${new URL("chat/completions", API).href} \\\n  -H "Content-Type: application/json"${secret} \\\n  -d`;
  if (!hasImages(request)) return `${head} '${quoted}'`;
  return `${head} @- <<'END'\n${JSON.stringify(request, null, 2)}\nEND`; // an argument may have 128 KiB; none of the lines is END
}

const hasImages = (request) => request.messages.some((message) => Array.isArray(message.content));

export function python(request) {
  const known = Object.entries(request).filter(([name]) => OPENAI.has(name));
  const others = Object.fromEntries(Object.entries(request).filter(([name]) => !OPENAI.has(name)));
  if (Object.keys(others).length) known.push(["extra_body", others]);
  const secret = key.get() ? "os.environ[\"OPENLLM_API_KEY\"]" : "\"none\"";
  return [
    ...(key.get() ? ["import os", ""] : []),
    "from openai import OpenAI", "",
    `client = OpenAI(base_url=${literal(API.href.replace(/\/$/, ""))}, api_key=${secret})`,
    "answer = client.chat.completions.create(",
    ...known.map(([name, value]) => `    ${name}=${literal(value, 1)},`),
    ")",
    "print(answer.choices[0].message.content)",
  ].join("\n");
}

// A JSON value as Python writes it.
function literal(value, depth = 0) {
  if (value === null) return "None";
  if (typeof value === "boolean") return value ? "True" : "False";
  if (typeof value !== "object") return JSON.stringify(value);
  const list = Array.isArray(value);
  const inner = Object.entries(value).map(([name, one]) => (
    (list ? "" : `${JSON.stringify(name)}: `) + literal(one, depth + 1)));
  const [open, close] = list ? "[]" : "{}";
  const short = `${open}${inner.join(", ")}${close}`;
  if (short.length < 80 && !short.includes("\n")) return short;
  const indent = "    ".repeat(depth);
  return `${open}\n${inner.map((one) => `${indent}    ${one},\n`).join("")}${indent}${close}`;
}

// A text with the beginning of each image alone: what can be read, and is drawn in no time.
function shortened(text) {
  return text.replace(/(;base64,[A-Za-z0-9+/]{48})[A-Za-z0-9+/=]{48,}/g, "$1…");
}

export function show(request) {
  byId("request-note").hidden = !hasImages(request);
  const draw = (language) => {
    const text = language === "python" ? python(request) : curl(request);
    const shown = shortened(text);
    byId("as-curl").setAttribute("aria-pressed", String(language === "curl"));
    byId("as-python").setAttribute("aria-pressed", String(language === "python"));
    byId("request-code").replaceChildren(make("figure", { class: "code" },
      make("figcaption", {}, make("span", {}, language), icon("copy", "Copy the request", () => copy(text))),
      make("pre", { tabindex: "0" }, make("code", {}, ...highlight(shown, language === "python" ? "python" : "bash")))));
  };
  byId("as-curl").onclick = () => draw("curl");
  byId("as-python").onclick = () => draw("python");
  draw("curl");
  byId("request").showModal();
}

// The card that says how the server is: its models, engines, contexts, and its load out of /metrics.

import * as api from "./api.js";
import { byId, make } from "./dom.js";

const EVERY = 2000; // ms between two looks
let before = null; // {at, tokens} of the look before

export function show() {
  before = null;
  byId("status").showModal();
  look();
}

async function look() {
  if (!byId("status").open) return;
  const rows = [];
  try {
    const said = await api.metadata();
    rows.push(["openllm", said.openllm_version]);
    const load = await readLoad();
    for (const model of said.models) rows.push([model.model_id, null], ...about(model), ...load(model.model_id));
  } catch (error) {
    rows.push(["Server", error.message]);
  }
  byId("status-rows").replaceChildren(table(rows));
  setTimeout(look, EVERY);
}

function about(model) {
  return [
    ["State", model.ready ? "ready" : "loading"],
    ["Engine", [model.backend, model.device, model.dtype].filter(Boolean).join(", ") || "not known yet"],
    ["Context", model.max_model_len ? `${model.max_model_len} tokens` : "not known yet"],
    ["Takes", model.input_modalities?.join(", ") ?? "not known yet"],
    ["Adapters", model.adapters.join(", ") || "none"],
  ];
}

// What gives the rows of a model's load; none where the key does not open the metrics.
async function readLoad() {
  let text;
  try {
    text = await api.metrics();
  } catch (error) {
    return () => [["Load", error.message]];
  }
  const read = (name, model) => {
    const line = text.split("\n").find((one) => one.startsWith(`${name}{`) && one.includes(`model="${model}"`));
    return line === undefined ? 0 : Number(line.slice(line.lastIndexOf(" ")));
  };
  const last = before;
  before = { at: performance.now(), tokens: {} };
  return (model) => {
    const tokens = before.tokens[model] = read("openllm_completion_tokens_total", model);
    const rate = last && (tokens - (last.tokens[model] ?? tokens)) / ((before.at - last.at) / 1000);
    return [
      ["Load", `${read("openllm_requests_running", model)} running, ${read("openllm_requests_waiting", model)} waiting`],
      ["Cache", `${(100 * read("openllm_cache_usage_ratio", model)).toFixed(0)} % used`],
      ["Tokens", `${tokens} so far${last ? `, ${rate.toFixed(1)} per second now` : ""}`],
    ];
  };
}

function table(rows) {
  return make("table", {}, make("tbody", {}, ...rows.map(([name, value]) => (value === null
    ? make("tr", {}, make("th", { colspan: 2, scope: "rowgroup" }, name))
    : make("tr", {}, make("td", {}, name), make("td", {}, value))))));
}

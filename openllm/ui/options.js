// How a question is asked: the fields of the options panel, their ranges, and what they come to in a request.

import { byId, make } from "./dom.js";

// name in the API, label, kind, then lowest, highest and step of a number.
export const FIELDS = [
  ["temperature", "Temperature", "number", 0, 2, 0.1],
  ["top_p", "Top p", "number", 0, 1, 0.05],
  ["top_k", "Top k (0: off)", "integer", -1, null, 1],
  ["min_p", "Min p", "number", 0, 1, 0.05],
  ["repetition_penalty", "Repetition penalty", "number", 0, null, 0.05],
  ["presence_penalty", "Presence penalty", "number", -2, 2, 0.1],
  ["frequency_penalty", "Frequency penalty", "number", -2, 2, 0.1],
  ["max_tokens", "Longest answer (tokens)", "integer", 1, null, 1],
  ["min_tokens", "Shortest answer (tokens)", "integer", 0, null, 1],
  ["thinking_budget", "Longest thought (tokens)", "integer", 0, null, 1],
  ["n", "Answers to each question", "integer", 1, 8, 1],
  ["seed", "Seed", "integer", null, null, 1],
  ["stop", "Stop at (one text a line)", "lines"],
  ["bad_words", "Words that must not come (one a line)", "lines"],
  ["stop_token_ids", "Stop at token ids", "ids"],
  ["allowed_token_ids", "Only these token ids", "ids"],
  ["logit_bias", "Bias of token ids, as JSON", "json"],
  ["include_stop_str_in_output", "Keep the stop text", "flag"],
  ["ignore_eos", "Go on after the end", "flag"],
  ["skip_special_tokens", "Leave out special tokens", "flag"],
];
const OPEN = new Set(["top_p", "repetition_penalty"]); // the lowest number itself is not in the range
const TEXTS = ["system", "schema", "tools", "beside"]; // further elements of the panel
const inputId = (name) => `option-${name}`;

export function build() {
  byId("sampling").append(...FIELDS.map(([name, label, kind, low, high, step]) => {
    const range = [low, high].map((end) => (end === null || end === undefined ? "" : end));
    const said = range[0] === "" && range[1] === "" ? label : `${label}, ${range[0]} to ${range[1] === "" ? "any" : range[1]}`;
    return make("label", { class: `field ${kind}` }, make("span", {}, kind === "number" || kind === "integer" ? said : label),
      control(inputId(name), kind, range, step));
  }));
}

function control(id, kind, [min, max], step) {
  if (kind === "lines" || kind === "json") return make("textarea", { id, rows: 1, spellcheck: "false" });
  if (kind === "ids") return make("input", { id, type: "text", placeholder: "1, 2, 3", pattern: "[0-9, ]*" });
  if (kind === "flag") {
    return make("select", { id }, ...[["", "default"], ["true", "yes"], ["false", "no"]].map(
      ([value, text]) => make("option", { value }, text)));
  }
  const any = kind === "number" ? "any" : step;
  return make("input", { id, type: "number", min, max, step: any, placeholder: "default", inputmode: "decimal" });
}

const controls = () => [...FIELDS.map(([name]) => inputId(name)), ...TEXTS].map(byId);

// What the panel holds, to be kept with a conversation.
export function get() {
  return Object.fromEntries(controls().filter((one) => one.value !== "").map((one) => [one.id, one.value]));
}

export function set(options) {
  for (const one of controls()) one.value = options[one.id] ?? "";
  check();
}

// Says what is wrong with the options; true when nothing is.
export function check() {
  let problem = "";
  try {
    fields();
  } catch (error) {
    problem = error.message;
  }
  byId("options-problem").textContent = problem;
  return !problem;
}

// The options as fields of a request. Errors: Error that names the field.
export function fields() {
  const said = {};
  for (const [name, label, kind] of FIELDS) {
    const input = byId(inputId(name));
    const value = input.value.trim();
    if (!input.validity.valid || (OPEN.has(name) && value !== "" && Number(value) === 0)) {
      throw new Error(`${label}: ${input.validationMessage || "must be more than 0."}`);
    }
    if (value !== "") said[name] = parse(value, kind, label);
  }
  const schema = byId("schema").value.trim();
  if (schema) {
    const value = object(schema, "JSON schema");
    said.response_format = { type: "json_schema", json_schema: { name: "answer", schema: value, strict: true } };
  }
  const tools = byId("tools").value.trim();
  if (tools) {
    const value = json(tools, "Tools");
    if (!Array.isArray(value)) throw new Error("Tools: must be a JSON list.");
    said.tools = value;
  }
  return said;
}

function parse(value, kind, label) {
  if (kind === "number" || kind === "integer") return Number(value);
  if (kind === "flag") return value === "true";
  if (kind === "lines") return value.split("\n").filter((line) => line !== "");
  if (kind === "ids") return value.split(/[\s,]+/).filter(Boolean).map(Number);
  return object(value, label);
}

function json(text, label) {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new Error(`${label}: ${error.message}.`);
  }
}

function object(text, label) {
  const value = json(text, label);
  if (typeof value !== "object" || !value || Array.isArray(value)) throw new Error(`${label}: must be a JSON object.`);
  return value;
}

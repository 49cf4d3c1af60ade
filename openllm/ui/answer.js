// Asks for an answer and puts what comes into nodes: text, thought, calls of tools, counts and times.

import * as api from "./api.js";

// Fills `nodes`, one for each choice, and calls `changed` whenever there is more. A failure or a stop is said in them.
export async function ask(nodes, body, signal, changed) {
  const begun = performance.now();
  const reasons = nodes.map(() => "");
  let first = null;
  let usage = null;
  try {
    for await (const chunk of api.chat({ ...body, stream: true, stream_options: { include_usage: true } }, signal)) {
      usage = chunk.usage ?? usage;
      for (const choice of chunk.choices ?? []) {
        const node = nodes[choice.index];
        if (!node) continue;
        if (choice.finish_reason) reasons[choice.index] = choice.finish_reason;
        if (take(node, choice.delta ?? {})) first ??= performance.now();
      }
      changed();
    }
  } catch (error) {
    for (const node of nodes) {
      if (error.name === "AbortError") node.note = "Stopped.";
      else node.error = error.message;
    }
    if (error.name !== "AbortError" && !(error instanceof api.Failure)) throw error;
    return error.kind ?? "stopped";
  } finally {
    const seconds = (performance.now() - begun) / 1000;
    nodes.forEach((node, at) => end(node, reasons[at], usage, nodes.length,
      { seconds, first: ((first ?? performance.now()) - begun) / 1000 }));
    changed();
  }
  return "";
}

function take(node, delta) {
  if (delta.content) node.text += delta.content;
  if (delta.refusal) node.text += delta.refusal;
  const thought = delta.reasoning_content ?? delta.reasoning;
  if (thought) node.reasoning += thought;
  for (const call of delta.tool_calls ?? []) {
    const known = node.calls[call.index] ??= { id: "", name: "", arguments: "", result: "" };
    known.id = call.id ?? known.id;
    known.name += call.function?.name ?? "";
    known.arguments += call.function?.arguments ?? "";
  }
  return Boolean(delta.content || thought || delta.tool_calls || delta.refusal);
}

function end(node, reason, usage, choices, times) {
  if (reason === "length") node.note = "The answer reached its longest length.";
  if (usage && !node.error) node.stats = { tokens: Math.round(usage.completion_tokens / choices), ...times };
}

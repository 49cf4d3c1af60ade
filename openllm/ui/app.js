// The chat page: keeps the conversation here, streams answers from the API. Text from the model or the server reaches
// the page through textContent only, so that it can never become markup.
"use strict";

const byId = (id) => document.getElementById(id);
const ui = {
  model: byId("model"), key: byId("key"), system: byId("system"), temperature: byId("temperature"),
  maxTokens: byId("max-tokens"), log: byId("log"), empty: byId("empty"), form: byId("form"), input: byId("input"),
  send: byId("send"), stop: byId("stop"), clear: byId("clear"),
};
const API = new URL("v1/", location.origin + location.pathname); // not relative: the page's own URL may hold a key
const KEY = "openllm-api-key"; // in session storage: gone with the tab
const conversation = [];
let running = null; // the AbortController of the answer that is being written
let chat = 0; // counts chats, so that an answer stopped by "New chat" does not reach the next one

function headers() {
  const key = ui.key.value.trim();
  return key ? { "Content-Type": "application/json", Authorization: `Bearer ${key}` } : { "Content-Type": "application/json" };
}

async function failure(response) {
  try {
    return (await response.json()).error.message;
  } catch {
    return `The server answered with status ${response.status}.`;
  }
}

async function listModels() {
  const chosen = ui.model.value;
  try {
    const response = await fetch(new URL("models", API), { headers: headers() });
    if (response.status === 401) {
      byId("options").open = true;
      ui.key.focus();
    }
    if (!response.ok) throw new Error(await failure(response));
    const { data } = await response.json();
    ui.model.replaceChildren(...data.map((model) => {
      const option = document.createElement("option");
      option.value = model.id;
      option.textContent = model.parent ? `${model.id} (adapter of ${model.parent})` : model.id;
      return option;
    }));
    if (data.some((model) => model.id === chosen)) ui.model.value = chosen;
    notice("");
  } catch (error) {
    ui.model.replaceChildren();
    notice(error.message);
  }
}

function notice(text) {
  ui.empty.textContent = text || "Ask the model something.";
  ui.empty.classList.toggle("failed", Boolean(text));
}

function addTurn(role, text) {
  ui.empty.hidden = true;
  const turn = document.createElement("div");
  turn.className = `turn ${role}`;
  turn.append(document.createTextNode(text));
  ui.log.append(turn);
  ui.log.scrollTop = ui.log.scrollHeight;
  return turn;
}

function addNote(turn, text) {
  const note = document.createElement("small");
  note.textContent = text;
  turn.append(note);
}

function requestBody() {
  const system = ui.system.value.trim();
  const body = {
    model: ui.model.value,
    messages: [...(system ? [{ role: "system", content: system }] : []), ...conversation],
    stream: true,
    stream_options: { include_usage: true },
  };
  if (ui.temperature.value !== "") body.temperature = Number(ui.temperature.value);
  if (ui.maxTokens.value !== "") body.max_tokens = Number(ui.maxTokens.value);
  return JSON.stringify(body);
}

// Server-sent events as parsed JSON, one by one.
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.replace(/^data: ?/, "");
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

async function readAnswer(turn, answer) {
  const response = await fetch(new URL("chat/completions", API), {
    method: "POST", headers: headers(), body: requestBody(), signal: running.signal,
  });
  if (!response.ok) throw new Error(await failure(response));
  for await (const event of events(response)) {
    if (event.error) throw new Error(event.error.message);
    if (event.usage) answer.usage = event.usage;
    const choice = event.choices && event.choices[0];
    if (!choice) continue;
    if (choice.finish_reason) answer.reason = choice.finish_reason;
    if (choice.delta.content) {
      const atEnd = ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < 40;
      answer.text += choice.delta.content;
      turn.firstChild.appendData(choice.delta.content);
      if (atEnd) ui.log.scrollTop = ui.log.scrollHeight;
    }
  }
}

async function ask(text) {
  conversation.push({ role: "user", content: text });
  addTurn("user", text);
  const turn = addTurn("assistant live", "");
  const answer = { text: "", usage: null, reason: "" };
  const mine = chat;
  running = new AbortController();
  showRunning(true);
  const begun = performance.now();
  try {
    await readAnswer(turn, answer);
    const seconds = (performance.now() - begun) / 1000;
    if (answer.usage) addNote(turn, `${answer.usage.completion_tokens} tokens in ${seconds.toFixed(1)} s`);
    if (answer.reason === "length") addNote(turn, "The answer reached its longest length.");
  } catch (error) {
    if (error.name === "AbortError") addNote(turn, "Stopped.");
    else { turn.classList.add("failed"); addNote(turn, error.message); }
  } finally {
    // A turn without an answer is taken back, so that the next question is asked as if it had not been.
    if (mine === chat && answer.text) conversation.push({ role: "assistant", content: answer.text });
    else if (mine === chat) conversation.pop();
    turn.classList.remove("live");
    running = null;
    showRunning(false);
  }
}

function showRunning(yes) {
  ui.send.hidden = yes;
  ui.stop.hidden = !yes;
  ui.log.setAttribute("aria-busy", String(yes));
  if (!yes) ui.input.focus();
}

function fitInput() {
  ui.input.style.height = "auto";
  ui.input.style.height = `${ui.input.scrollHeight + 2}px`;
}

ui.form.addEventListener("submit", (event) => {
  event.preventDefault();
  const text = ui.input.value.trim();
  if (!text || running) return;
  ui.input.value = "";
  fitInput();
  ask(text);
});
ui.input.addEventListener("input", fitInput);
ui.input.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    ui.form.requestSubmit();
  }
});
ui.stop.addEventListener("click", () => running?.abort());
ui.clear.addEventListener("click", () => {
  running?.abort();
  chat += 1;
  conversation.length = 0;
  ui.log.querySelectorAll(".turn").forEach((turn) => turn.remove());
  ui.empty.hidden = false;
});
ui.key.addEventListener("change", () => {
  sessionStorage.setItem(KEY, ui.key.value.trim());
  listModels();
});
ui.model.addEventListener("focus", () => { if (!ui.model.options.length) listModels(); });

ui.key.value = sessionStorage.getItem(KEY) ?? "";
listModels();

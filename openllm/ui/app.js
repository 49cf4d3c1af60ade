// The chat page: keeps conversations in this browser, streams answers from the API. See dom.js for how text gets onto it.

import { ask as askServer } from "./answer.js";
import * as api from "./api.js";
import { byId, make, say } from "./dom.js";
import * as images from "./images.js";
import * as options from "./options.js";
import * as request from "./request.js";
import { Sidebar } from "./sidebar.js";
import * as status from "./status.js";
import * as store from "./store.js";
import * as tree from "./tree.js";
import { Turn } from "./turn.js";

const NEAR_END = 60; // pixels: whoever has scrolled up further is not pulled down
const LOADING_PAUSE = 1500; // ms between two looks at a server that loads
const ui = Object.fromEntries(["model", "beside", "key", "system", "log", "empty", "form", "input", "send", "stop",
  "options", "editing"].map((id) => [id, byId(id)]));
let chat = tree.newChat();
let running = null; // the AbortController of the answers that are being written
let live = new Set(); // their nodes
let edited = null; // the question that is being written anew
let cards = new Map(); // what the server says of each model, by its name
const turns = new Map(); // node id -> Turn, of this conversation

// What is shown

function draw() {
  const branch = tree.path(chat);
  ui.empty.hidden = branch.length > 0;
  const rows = branch.map((node) => {
    const other = chat.nodes[node.beside];
    if (!other) return turnOf(node).element;
    const pair = [node, other].sort((a, b) => a.id - b.id).map((one) => turnOf(one).element);
    return make("div", { class: "pair" }, ...pair);
  });
  ui.log.replaceChildren(ui.empty, ...rows);
}

function turnOf(node) {
  if (!turns.has(node.id)) turns.set(node.id, new Turn(node, actions));
  const turn = turns.get(node.id);
  turn.update(live.has(node));
  return turn;
}

function toEnd() {
  ui.log.scrollTop = ui.log.scrollHeight;
}

function notice(text, failed = Boolean(text)) {
  ui.empty.textContent = text || "Ask the model something.";
  ui.empty.classList.toggle("failed", failed);
}

function showRunning(yes) {
  ui.send.hidden = yes;
  ui.stop.hidden = !yes;
  ui.log.setAttribute("aria-busy", String(yes));
  if (!yes) ui.input.focus();
}

// Asking

function bodyFor(model, leaf) {
  return request.body(model, ui.system.value, tree.messages(chat, leaf, sees(model)), options.fields());
}

// Answers to what ends in `parent`: of the model, of the second one beside it, or of the one named.
async function answer(parent, models) {
  if (running || !readyToAsk()) return;
  const bodies = models.map((model) => bodyFor(model, parent.id));
  const count = bodies[0].n ?? 1;
  const seen = tree.images(chat, parent.id).length > 0;
  const groups = models.map((model) => Array.from({ length: count }, () => (
    tree.add(chat, parent.id, "assistant", { model, blind: seen && !sees(model) }))));
  if (groups.length === 2) [groups[0][0].beside, groups[1][0].beside] = [groups[1][0].id, groups[0][0].id];
  chat.leaf = groups[0][0].id;
  running = new AbortController();
  live = new Set(groups.flat());
  draw();
  toEnd();
  showRunning(true);
  const mine = chat;
  await Promise.all(groups.map(async (nodes, at) => {
    const problem = await askServer(nodes, bodies[at], running.signal, () => grown(mine, nodes));
    nodes.forEach((node) => live.delete(node));
    if (problem === "key") askForKey();
    if (mine === chat) draw();
  }));
  running = null;
  showRunning(false);
  say(groups[0][0].error || "The answer is complete.");
  keep(mine);
}

function grown(mine, nodes) {
  if (mine !== chat) return;
  const atEnd = ui.log.scrollHeight - ui.log.scrollTop - ui.log.clientHeight < NEAR_END;
  nodes.forEach((node) => turns.get(node.id)?.update(live.has(node)));
  if (atEnd) toEnd();
}

function readyToAsk() {
  if (!options.check()) {
    ui.options.open = true;
    return false;
  }
  return true;
}

const asked = () => [ui.model.value, ...(ui.beside.value && ui.beside.value !== ui.model.value ? [ui.beside.value] : [])];

function ask(text, pictures) {
  if (!readyToAsk()) return false;
  const parent = edited ? edited.parent : chat.leaf;
  stopEditing();
  chat.options = options.get();
  const question = tree.add(chat, parent, "user", { text, images: pictures });
  chat.leaf = question.id;
  keep(chat);
  answer(question, asked());
  return true;
}

async function keep(which) {
  const kept = await store.put(`chat:${which.id}`, which);
  if (!kept) say("This browser's storage is full: the conversation is kept in this tab only.");
  sidebar.refresh();
}

const actions = {
  edit(node) {
    edited = node;
    ui.editing.hidden = false;
    ui.input.value = node.text;
    images.set(node.images ?? []);
    fitInput();
    ui.input.focus();
  },
  retry(node) {
    answer(chat.nodes[node.parent], [node.model && isServed(node.model) ? node.model : ui.model.value]);
  },
  goOn(node) {
    answer(node, [node.model || ui.model.value]);
  },
  request(node) {
    request.show(bodyFor(node.model || ui.model.value, node.parent));
  },
  aside: (node) => Boolean(node.beside) && !tree.path(chat).includes(node),
  choose(node) {
    tree.show(chat, node);
    draw();
    keep(chat);
  },
  several: () => ui.model.options.length > 1,
  version: (node) => [tree.versionIndex(chat, node), tree.versions(chat, node).length],
  turnTo(node, at) {
    const all = tree.versions(chat, node);
    if (running || !all[at]) return;
    tree.show(chat, all[at]);
    draw();
    keep(chat);
  },
};

function stopEditing() {
  edited = null;
  ui.editing.hidden = true;
}

// Conversations

function open(which) {
  running?.abort();
  chat = which;
  turns.clear();
  stopEditing();
  options.set(chat.options);
  draw();
  toEnd();
  sidebar.refresh();
}

const sidebar = new Sidebar({ current: () => chat, open, fresh: () => open(tree.newChat(options.get())) });

// Models and keys

const sees = (name) => Boolean(cards.get(name)?.architecture?.input_modalities?.includes("image"));

// Why the models that will be asked are given no images; "" where all of them look at some.
function blindness() {
  const name = asked().find((one) => !sees(one));
  if (name === undefined) return "";
  const known = cards.get(name)?.architecture;
  return known ? `${name} takes text only: images cannot be attached.` : "No model is there yet that looks at images.";
}

const isServed = (name) => [...ui.model.options].some((option) => option.value === name);

async function listModels() {
  const chosen = [ui.model.value, ui.beside.value];
  try {
    const data = await api.models();
    const made = (model) => {
      const option = document.createElement("option");
      option.value = model.id;
      option.textContent = model.parent ? `${model.id} (adapter of ${model.parent})` : model.id;
      return option;
    };
    ui.model.replaceChildren(...data.map(made));
    ui.beside.replaceChildren(new Option("none", ""), ...data.map(made));
    if (isServed(chosen[0])) ui.model.value = chosen[0];
    ui.beside.value = isServed(chosen[1]) ? chosen[1] : "";
    cards = new Map(data.map((model) => [model.id, model]));
    images.update();
    if (data.some((model) => sees(model.id))) api.metadata().then((said) => images.setLimits(said.limits), () => {});
    waitUntilReady();
  } catch (error) {
    ui.model.replaceChildren();
    notice(error.message);
    if (error.kind === "key") askForKey();
    else if (error.kind !== "refused") setTimeout(listModels, LOADING_PAUSE);
  }
}

async function waitUntilReady(waited = false) {
  const state = await api.state();
  if (state === "loading") {
    notice("The model is loading. You can write your question already.", false);
    setTimeout(() => waitUntilReady(true), LOADING_PAUSE);
  } else if (state === "down") setTimeout(listModels, LOADING_PAUSE);
  else if (waited) listModels(); // which says more of models that have started
  else notice("");
}

function askForKey() {
  if (ui.options.open) return; // it is asked for already
  ui.options.open = true;
  ui.key.focus();
}

// What is typed and clicked

function fitInput() {
  ui.input.style.height = "auto";
  ui.input.style.height = `${ui.input.scrollHeight + 2}px`;
}

function escape() {
  if (running) running.abort();
  else if (edited) stopEditing();
  else if (ui.options.open) ui.options.open = false;
  else sidebar.close();
}

function listen() {
  ui.form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const pictures = await images.settled();
    const text = ui.input.value.trim();
    if (!(text || pictures.length) || running || !ask(text, pictures)) return;
    ui.input.value = "";
    images.sent();
    fitInput();
  });
  ui.input.addEventListener("input", fitInput);
  ui.input.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
      event.preventDefault();
      ui.form.requestSubmit();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !document.querySelector("dialog[open]")) escape();
  });
  document.addEventListener("click", (event) => {
    if (ui.options.open && !ui.options.contains(event.target) && event.target.isConnected) ui.options.open = false;
  });
  ui.stop.addEventListener("click", () => running?.abort());
  byId("clear").addEventListener("click", () => open(tree.newChat(options.get())));
  byId("cancel-edit").addEventListener("click", stopEditing);
  byId("reset").addEventListener("click", () => options.set({}));
  byId("panel").addEventListener("input", options.check);
  byId("show-status").addEventListener("click", status.show);
  byId("theme").addEventListener("click", changeTheme);
  ui.key.addEventListener("change", () => {
    api.key.set(ui.key.value);
    listModels();
  });
  for (const one of [ui.model, ui.beside]) one.addEventListener("change", images.update);
  ui.model.addEventListener("focus", () => { if (!ui.model.options.length) listModels(); });
}

function changeTheme() {
  const root = document.documentElement;
  const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  root.dataset.theme = dark ? "light" : "dark";
  store.put("theme", root.dataset.theme);
}

options.build();
images.build({ blindness, earlier: () => tree.images(chat, edited ? edited.parent : chat.leaf) });
ui.key.value = api.key.get();
listen();
listModels();
sidebar.refresh();
store.get("theme").then((theme) => { if (theme) document.documentElement.dataset.theme = theme; });

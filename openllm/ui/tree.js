// A conversation as a tree: every question and answer is a node below the one it follows. `leaf` is the end of the
// branch that is shown. Plain values, without the page.

let lastId = 0;

export function newChat(options = {}) {
  const now = Date.now();
  return { id: `${now}-${Math.random().toString(36).slice(2, 8)}`, title: "", created: now, changed: now,
    nodes: {}, leaf: null, options };
}

export function add(chat, parent, role, fields = {}) {
  lastId = Math.max(lastId + 1, Date.now() * 1000); // later nodes have larger ids, in all tabs
  const node = { id: String(lastId), parent, role, text: "", images: [], reasoning: "", calls: [], note: "", error: "",
    ...fields };
  chat.nodes[node.id] = node;
  chat.changed = Date.now();
  if (!chat.title && role === "user") chat.title = titleOf(node);
  return node;
}

function titleOf(node) {
  return (node.text.trim().replace(/\s+/g, " ") || node.images.map((image) => image.name).join(", ")).slice(0, 60);
}

// From the first question to `leaf`.
export function path(chat, leaf = chat.leaf) {
  const found = [];
  for (let node = chat.nodes[leaf]; node; node = chat.nodes[node.parent]) found.unshift(node);
  return found;
}

export function children(chat, parent) {
  return Object.values(chat.nodes).filter((node) => node.parent === parent).sort((a, b) => a.id - b.id);
}

// The other versions of a node, itself included; answers that stand side by side are one.
export function versions(chat, node) {
  return children(chat, node.parent).filter((one) => one.role === node.role && !(one.beside && one.beside < one.id));
}

export function versionIndex(chat, node) {
  const first = node.beside && node.beside < node.id ? node.beside : node.id;
  return versions(chat, node).findIndex((one) => one.id === first);
}

// Show the branch that `node` is on: from it down the newest.
export function show(chat, node) {
  let end = node;
  for (let below = children(chat, end.id); below.length; below = children(chat, end.id)) end = below.at(-1);
  chat.leaf = end.id;
}

// The messages of a branch as the API takes them. A question that got no answer is left out, so that the next one is
// asked as if it had not been. `sees`: images are sent with the questions that have some.
export function messages(chat, leaf, sees) {
  const branch = path(chat, leaf);
  const found = [];
  branch.forEach((node, at) => {
    const next = branch[at + 1];
    if (node.role === "user" && next && next.error && !next.text) return;
    if (node.role === "user") found.push({ role: "user", content: sees ? content(node) : node.text || "(an image)" });
    else if (!(node.error && !node.text)) found.push(...answered(node));
  });
  return found;
}

// The images of the questions that lead to `leaf`.
export function images(chat, leaf) {
  return path(chat, leaf).flatMap((node) => node.images ?? []); // a conversation of earlier versions has none
}

function content(node) {
  if (!node.images?.length) return node.text;
  const parts = node.images.map(({ url }) => ({ type: "image_url", image_url: { url } }));
  return node.text ? [...parts, { type: "text", text: node.text }] : parts;
}

function answered(node) {
  const message = { role: "assistant", content: node.text };
  if (!node.calls.length) return node.text ? [message] : [];
  message.tool_calls = node.calls.map(({ id, name, arguments: text }) => (
    { id, type: "function", function: { name, arguments: text } }));
  return [message, ...node.calls.map((call) => ({ role: "tool", tool_call_id: call.id, content: call.result ?? "" }))];
}

export function matches(chat, words) {
  const wanted = words.toLowerCase();
  return chat.title.toLowerCase().includes(wanted)
    || Object.values(chat.nodes).some((node) => node.text.toLowerCase().includes(wanted));
}

// A conversation out of a file somebody gave us: known fields of the right types only. Null: it is none.
export function read(value) {
  if (typeof value !== "object" || !value || typeof value.nodes !== "object" || !value.nodes) return null;
  const chat = newChat();
  const ids = new Set(Object.keys(value.nodes));
  for (const [id, node] of Object.entries(value.nodes)) {
    const known = ids.has(String(node?.parent)) && Number(node.parent) < Number(id);
    if (!/^\d+$/.test(id) || !["user", "assistant"].includes(node?.role)) return null;
    if (!known && node.parent !== null) return null;
    chat.nodes[id] = readNode(id, node);
  }
  chat.id = /^[\w-]{1,64}$/.test(value.id) ? value.id : chat.id;
  chat.title = text(value.title).slice(0, 200);
  for (const name of ["created", "changed"]) if (Number.isFinite(value[name])) chat[name] = value[name];
  chat.leaf = ids.has(value.leaf) ? value.leaf : null;
  const options = typeof value.options === "object" && value.options ? value.options : {};
  chat.options = Object.fromEntries(Object.entries(options).filter(([, one]) => typeof one !== "object"));
  return chat;
}

const text = (value) => (typeof value === "string" ? value : "");
const IMAGE = /^data:image\/(png|jpeg|webp|gif);base64,[A-Za-z0-9+/]+={0,2}$/;

function readNode(id, node) {
  const calls = Array.isArray(node.calls) ? node.calls : [];
  const seen = Array.isArray(node.images) ? node.images.filter((one) => IMAGE.test(one?.url)) : [];
  const stats = typeof node.stats === "object" && node.stats ? node.stats : null;
  return {
    id, parent: node.parent, role: node.role, text: text(node.text), reasoning: text(node.reasoning),
    note: text(node.note), error: text(node.error), model: text(node.model),
    blind: node.blind === true, images: seen.map(({ name, url }) => ({ name: text(name), url })),
    beside: /^\d+$/.test(node.beside) ? node.beside : undefined,
    calls: calls.map((call) => ({ id: text(call?.id), name: text(call?.name), arguments: text(call?.arguments),
      result: text(call?.result) })),
    stats: stats && { tokens: Number(stats.tokens) || 0, seconds: Number(stats.seconds) || 0,
      first: Number(stats.first) || 0 },
  };
}

// One question or answer on the page. `update` shows what its node holds by now; `actions` are what can be done with it.

import { copy, icon, make } from "./dom.js";
import { MarkdownView } from "./markdown.js";

export class Turn {
  constructor(node, actions) {
    this.node = node;
    this.actions = actions;
    const name = node.role === "user" ? "You" : node.model || "Answer";
    this.element = make("article", { "aria-label": name });
    this.text = node.role === "user" ? make("div", { class: "plain" }) : null;
    this.markdown = node.role === "user" ? null : new MarkdownView();
    this.pictures = node.images?.length ? make("div", { class: "pictures" },
      ...node.images.map((image) => make("img", { src: image.url, alt: image.name }))) : null;
    this.thought = null;
    this.foot = make("div", { class: "foot" });
    this.element.append(...[this.pictures, this.text ?? this.markdown.element, this.foot].filter(Boolean));
    this.calls = make("div", { class: "calls" });
    this.foot.before(this.calls);
  }

  update(live = false) {
    const { node } = this;
    this.element.className = ["turn", node.role, live && "live", node.error && "failed"].filter(Boolean).join(" ");
    if (this.text) this.text.textContent = node.text;
    else this.markdown.update(node.text);
    if (node.reasoning) this.showThought(live);
    this.showCalls(live);
    this.foot.replaceChildren(...(live ? [] : this.ending()));
  }

  showThought(live) {
    if (!this.thought) {
      this.thought = make("details", { class: "thought" }, make("summary"), make("div", { class: "plain" }));
      this.element.prepend(this.thought);
    }
    const thinking = live && !this.node.text && !this.node.calls.length;
    this.thought.firstChild.textContent = thinking ? "Thinking…" : "Thought";
    this.thought.lastChild.textContent = this.node.reasoning;
  }

  showCalls(live) {
    const { calls } = this.node;
    if (!calls.length) return;
    this.calls.replaceChildren(...calls.map((call) => make("details", { class: "call", open: true },
      make("summary", {}, `Calls ${call.name}`),
      make("pre", { tabindex: "0" }, make("code", {}, pretty(call.arguments))),
      live ? null : make("label", { class: "field" }, make("span", {}, "Result"),
        this.resultOf(call)))));
    if (!live) {
      this.calls.append(make("button", { type: "button", class: "quiet", onclick: () => this.actions.goOn(this.node) },
        "Send the results"));
    }
  }

  resultOf(call) {
    const area = make("textarea", { rows: 1, spellcheck: "false" });
    area.value = call.result ?? "";
    area.addEventListener("input", () => { call.result = area.value; });
    return area;
  }

  ending() {
    const { node, actions } = this;
    const said = [node.blind && "Without the images: this model takes text only.", node.note, node.stats && measured(node.stats), node.stats && actions.several() ? node.model : ""];
    const shown = said.filter(Boolean).join(" · ");
    return [
      node.error ? make("p", { class: "problem" }, node.error) : null,
      node.error ? make("button", { type: "button", class: "quiet retry", onclick: () => actions.retry(node) }, "Retry") : null,
      shown ? make("small", {}, shown) : null,
      make("span", { class: "actions" }, ...this.versions(), ...this.buttons()),
    ].filter(Boolean);
  }

  buttons() {
    const { node, actions } = this;
    const all = [icon("copy", "Copy the text", () => copy(node.text))];
    if (node.role === "user") return [...all, icon("edit", "Edit the question", () => actions.edit(node))];
    all.push(icon("again", "Another answer", () => actions.retry(node)));
    all.push(icon("code", "The request as curl and Python", () => actions.request(node)));
    if (actions.aside(node)) all.push(icon("choose", "Go on with this answer", () => actions.choose(node)));
    return all;
  }

  versions() {
    const { node, actions } = this;
    const [at, count] = actions.version(node);
    if (count < 2) return [];
    return [
      icon("left", "Version before", () => actions.turnTo(node, at - 1)),
      make("span", { class: "count" }, `${at + 1}/${count}`),
      icon("right", "Next version", () => actions.turnTo(node, at + 1)),
    ];
  }
}

function measured({ tokens, seconds, first }) {
  const rate = seconds > first && tokens > 1 ? ` · ${((tokens - 1) / (seconds - first)).toFixed(1)} tokens/s` : "";
  return `${tokens} tokens in ${seconds.toFixed(1)} s${rate} · first after ${first.toFixed(2)} s`;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

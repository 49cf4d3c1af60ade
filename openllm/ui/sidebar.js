// The list of conversations: searched, opened, removed, written to a file and read from one.

import { byId, icon, make, say } from "./dom.js";
import * as store from "./store.js";
import * as tree from "./tree.js";

const WIDE = matchMedia("(min-width: 64rem)"); // the list stands beside the conversation

export class Sidebar {
  // `page` has: current(), open(chat), fresh()
  constructor(page) {
    this.page = page;
    byId("show-chats").addEventListener("click", () => this.toggle());
    byId("close-chats").addEventListener("click", () => this.close());
    byId("search").addEventListener("input", () => this.refresh());
    byId("export").addEventListener("click", () => this.exportAll());
    byId("import").addEventListener("click", () => byId("import-file").click());
    byId("import-file").addEventListener("change", (event) => this.importFile(event.target));
    this.show(WIDE.matches);
  }

  show(yes) {
    byId("chats").hidden = !yes;
    byId("show-chats").setAttribute("aria-expanded", String(yes));
  }

  toggle() {
    this.show(byId("chats").hidden);
    if (!byId("chats").hidden) byId("search").focus();
  }

  close() {
    this.show(false);
  }

  async refresh() {
    const words = byId("search").value.trim();
    const all = (await store.chats()).sort((a, b) => b.changed - a.changed);
    const found = words ? all.filter((chat) => tree.matches(chat, words)) : all;
    byId("chat-list").replaceChildren(...found.map((chat) => this.row(chat)));
    if (!found.length) byId("chat-list").append(make("li", { class: "none" }, words ? "Nothing found." : "No conversations yet."));
  }

  row(chat) {
    const current = chat.id === this.page.current().id;
    return make("li", { class: current ? "current" : null },
      make("button", { type: "button", class: "title", "aria-current": current ? "true" : null, title: chat.title,
        onclick: () => this.open(chat) }, chat.title || "Without a title"),
      icon("remove", `Remove ${chat.title}`, () => this.remove(chat)));
  }

  open(chat) {
    this.page.open(chat);
    if (!WIDE.matches) this.close();
  }

  async remove(chat) {
    if (!confirm(`Remove “${chat.title}”?`)) return;
    await store.remove(`chat:${chat.id}`);
    if (chat.id === this.page.current().id) this.page.fresh();
    this.refresh();
  }

  async exportAll() {
    const file = new Blob([JSON.stringify({ openllm: 1, chats: await store.chats() }, null, 1)], { type: "application/json" });
    const to = URL.createObjectURL(file);
    make("a", { href: to, download: "openllm-conversations.json" }).click();
    setTimeout(() => URL.revokeObjectURL(to), 60000);
  }

  async importFile(input) {
    const [file] = input.files;
    if (!file) return;
    input.value = "";
    let found;
    try {
      const said = JSON.parse(await file.text());
      found = said.chats.map(tree.read);
    } catch {
      found = [null];
    }
    if (found.includes(null)) {
      say(`${file.name} holds no conversations of this page.`);
      alert(`${file.name} holds no conversations of this page.`);
      return;
    }
    for (const chat of found) await store.put(`chat:${chat.id}`, chat);
    say(`${found.length} conversations were read.`);
    this.refresh();
  }
}

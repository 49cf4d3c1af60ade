// Markdown as elements: what a model writes is split into blocks, and these into pieces of text. Only the elements
// below are ever made, and no address but a web page's is linked to. Pictures become links: nothing is fetched.

import { copy, icon, make } from "./dom.js";
import { highlight } from "./highlight.js";

const FENCE = /^ {0,3}(`{3,}|~{3,})\s*([^\s`]*)[^`]*$/;
const HEADING = /^ {0,3}(#{1,6})\s+(.*?)\s*#*\s*$/;
const RULE = /^ {0,3}([-*_])(\s*\1){2,}\s*$/;
const QUOTE = /^ {0,3}> ?/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)])\s+(.*)$/;
const DIVIDER = /^\s*\|?\s*:?-+:?\s*(\|\s*:?-+:?\s*)*\|?\s*$/;
const MATH = [["$$", "$$"], ["\\[", "\\]"]];
const DEPTH = 12; // of quotes and lists in each other; what is deeper stays text

// Blocks in order, each {kind, lines, ...}: what stands between two of them is empty lines.
export function blocks(text) {
  const lines = text.split(/\r?\n/);
  const found = [];
  for (let at = 0; at < lines.length;) {
    if (!lines[at].trim()) at += 1;
    else {
      const block = begin(lines, at);
      found.push(block);
      at += block.length;
    }
  }
  return found;
}

function begin(lines, at) {
  const line = lines[at];
  const fence = FENCE.exec(line);
  if (fence) return fenced(lines, at, fence);
  const math = MATH.find(([mark]) => line.trimStart().startsWith(mark));
  if (math) return formula(lines, at, math);
  if (HEADING.test(line)) return { kind: "heading", lines: [line], length: 1 };
  if (RULE.test(line)) return { kind: "rule", lines: [line], length: 1 };
  if (QUOTE.test(line)) return taken("quote", lines, at, (next) => QUOTE.test(next));
  if (ITEM.test(line)) return list(lines, at);
  if (line.includes("|") && DIVIDER.test(lines[at + 1] ?? "") && (lines[at + 1] ?? "").includes("-")) {
    return taken("table", lines, at, (next) => next.includes("|"));
  }
  return taken("text", lines, at, (next) => next.trim() && !starts(next));
}

const starts = (line) => FENCE.test(line) || HEADING.test(line) || RULE.test(line) || QUOTE.test(line)
  || /^ {0,3}([-*+]|1[.)])\s+\S/.test(line);

function taken(kind, lines, at, goesOn) {
  let end = at + 1;
  while (end < lines.length && goesOn(lines[end])) end += 1;
  return { kind, lines: lines.slice(at, end), length: end - at };
}

function fenced(lines, at, [, mark, language]) {
  let end = at + 1;
  const closes = (line) => line.trim().startsWith(mark) && !line.trim().replaceAll(mark[0], "");
  while (end < lines.length && !closes(lines[end])) end += 1;
  return { kind: "code", language, lines: lines.slice(at, end + 1), code: lines.slice(at + 1, end).join("\n"),
    length: Math.min(end + 1, lines.length) - at };
}

function formula(lines, at, [open, close]) {
  let end = at;
  const first = lines[at].trimStart().slice(open.length);
  if (!first.includes(close)) {
    end += 1;
    while (end < lines.length && !lines[end].includes(close) && lines[end].trim()) end += 1;
  }
  return { kind: "math", lines: lines.slice(at, end + 1), length: Math.min(end + 1, lines.length) - at };
}

function list(lines, at) {
  const indent = ITEM.exec(lines[at])[1].length;
  const goesOn = (line, next) => {
    if (!line.trim()) return /^ {2,}\S/.test(next ?? "") || ITEM.test(next ?? "");
    return ITEM.test(line) || line.search(/\S/) > indent || !starts(line);
  };
  let end = at + 1;
  while (end < lines.length && goesOn(lines[end], lines[end + 1])) end += 1;
  return { kind: "list", lines: lines.slice(at, end), length: end - at };
}

const DRAW = { heading, rule: () => make("hr"), quote, list: drawList, table, code, math: drawMath, text: paragraph };

export const draw = (block, depth = 0) => DRAW[depth > DEPTH ? "text" : block.kind](block, depth);

function heading({ lines }) {
  const [, marks, text] = HEADING.exec(lines[0]);
  return make(`h${Math.min(marks.length + 2, 6)}`, {}, ...inline(text)); // the page has the first two
}

function quote({ lines }, depth) {
  const inner = lines.map((line) => line.replace(QUOTE, "")).join("\n");
  return make("blockquote", {}, ...blocks(inner).map((block) => draw(block, depth + 1)));
}

function paragraph({ lines }) {
  return make("p", {}, ...inline(lines.join("\n")));
}

function drawMath({ lines }) {
  return make("p", { class: "math" }, lines.join("\n"));
}

function code({ language, code: text }) {
  return make("figure", { class: "code" },
    make("figcaption", {}, make("span", {}, language || ""), icon("copy", "Copy the code", () => copy(text))),
    make("pre", { tabindex: "0" }, make("code", {}, ...highlight(text, language))));
}

function drawList({ lines }, depth) {
  const [, lead, mark] = ITEM.exec(lines[0]);
  const ordered = /\d/.test(mark);
  const items = [];
  for (const line of lines) {
    const item = ITEM.exec(line);
    if (item && item[1].length <= lead.length + 1) items.push([item[3]]);
    else items.at(-1).push(line.replace(new RegExp(`^ {0,${lead.length + mark.length + 1}}`), ""));
  }
  const made = make(ordered ? "ol" : "ul", ordered && parseInt(mark, 10) !== 1 ? { start: parseInt(mark, 10) } : {});
  made.append(...items.map((item) => drawItem(item.join("\n"), depth)));
  return made;
}

function drawItem(text, depth) {
  const inner = blocks(text);
  const [first, ...rest] = inner;
  if (!first) return make("li");
  const head = first.kind === "text" ? inline(first.lines.join("\n")) : [draw(first, depth + 1)];
  return make("li", {}, ...head, ...rest.map((block) => draw(block, depth + 1)));
}

function cells(line) {
  return line.trim().replace(/^\||\|$/g, "").split(/(?<!\\)\|/).map((cell) => cell.trim().replaceAll("\\|", "|"));
}

function table({ lines }) {
  const sides = cells(lines[1]).map((cell) => {
    if (cell.endsWith(":")) return cell.startsWith(":") ? "center" : "right";
    return null;
  });
  const row = (line, tag) => make("tr", {}, ...cells(line).map((cell, at) => (
    make(tag, { class: sides[at] }, ...inline(cell)))));
  return make("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": "Table" }, make("table", {},
    make("thead", {}, row(lines[0], "th")), make("tbody", {}, ...lines.slice(2).map((line) => row(line, "td")))));
}

// The first of these that fits decides; what fits none is text.
const PIECES = [
  [/^(`+)([^`]|[^`][\s\S]*?[^`])\1(?!`)/, ([, , text]) => make("code", {}, text)],
  [/^\$\$[^$]+\$\$|^\\\([\s\S]+?\\\)|^\\\[[\s\S]+?\\\]|^\$(?=\S)[^$\n]*?\S\$(?!\d)|^\$\S\$(?!\d)/,
    ([all]) => make("span", { class: "math" }, all)],
  [/^\\([!-/:-@[-`{-~])/, ([, mark]) => mark],
  [/^!?\[([^\]\n]*)\]\(\s*<?([^\s)>]+)>?(?:\s+"[^"]*")?\s*\)/, ([all, text, to], depth) => link(all, to, inline(text, depth))],
  [/^<?(https?:\/\/[^\s<>]*[^\s<>.,;:!?'")\]*_])>?/, ([all, to]) => link(all, to, [to])],
  [/^\*\*(?=\S)([\s\S]*?\S)\*\*(?!\*)|^__(?=\S)([\s\S]*?\S)__(?!\w)/, (m, depth) => make("strong", {}, ...inline(m[1] ?? m[2], depth))],
  [/^\*(?=[^\s*])([\s\S]*?[^\s*])\*(?!\*)|^_(?=[^\s_])([^_]*?[^\s_])_(?!\w)/, (m, depth) => make("em", {}, ...inline(m[1] ?? m[2], depth))],
  [/^~~(?=\S)([\s\S]*?\S)~~/, ([, text], depth) => make("del", {}, ...inline(text, depth))],
  [/^(?: {2,}|\\)\n/, () => make("br")],
];
const SPECIAL = /[\\`$![<*_~]|https?:| {2,}\n/g;
const LONGEST = 20000; // characters that are looked through for pieces; a longer paragraph stays as it is

export function inline(text, depth = 0) {
  if (text.length > LONGEST || depth > DEPTH) return [text];
  const found = [];
  let plain = "";
  for (let at = 0; at < text.length;) {
    SPECIAL.lastIndex = at;
    const next = SPECIAL.exec(text)?.index ?? text.length;
    plain += text.slice(at, next);
    at = next;
    if (at >= text.length) break;
    const piece = fitting(text, at);
    if (!piece) {
      plain += text[at];
      at += 1;
    } else {
      if (plain) found.push(plain);
      plain = "";
      found.push(piece.draw(piece.match, depth + 1));
      at += piece.match[0].length;
    }
  }
  if (plain) found.push(plain);
  return found;
}

function fitting(text, at) {
  const rest = text.slice(at);
  const inWord = /\w/.test(text[at - 1] ?? "") && (text[at] === "_" || text[at] === "$");
  if (inWord) return null;
  for (const [pattern, draw] of PIECES) {
    const match = pattern.exec(rest);
    if (match) return { match, draw };
  }
  return null;
}

function link(all, to, children) {
  if (!/^(https?:\/\/|mailto:)/i.test(to)) return all;
  return make("a", { href: to, target: "_blank", rel: "noopener noreferrer nofollow", title: to }, ...children);
}

// Shows a text that grows: only the blocks that changed are drawn anew.
export class MarkdownView {
  constructor() {
    this.element = make("div", { class: "markdown" });
    this.shown = [];
  }

  update(text) {
    const now = blocks(text);
    let same = 0;
    const key = (block) => block.kind + block.lines.join("\n");
    while (same < now.length && this.shown[same] === key(now[same])) same += 1;
    while (this.element.children.length > same) this.element.lastElementChild.remove();
    this.element.append(...now.slice(same).map((block) => draw(block)));
    this.shown = now.map(key);
  }
}

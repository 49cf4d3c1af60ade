// Code as pieces in colours: comments, texts, numbers and words of the language. One rough grammar for each kind of
// language; what it does not know stays plain.

import { make } from "./dom.js";

const WORDS = {
  python: "and as assert async await break case class continue def del elif else except finally for from global if"
    + " import in is lambda match nonlocal not or pass raise return try while with yield None True False self",
  c: "abstract as async await bool boolean break case catch char class const constexpr continue default defer delete do"
    + " double else enum export extends false final float fn for func function go if impl implements import in int"
    + " interface let long match mod mut namespace new nil null of override package private protected pub public"
    + " return self short static struct super switch template this throw true try type typeof undefined use using val"
    + " var virtual void where while yield",
  shell: "case do done elif else esac export fi for function if in local return select set then until while",
  sql: "add all alter and as asc between by case create delete desc distinct drop else end exists from group having in"
    + " index inner insert into is join key left like limit not null offset on or order outer primary references"
    + " right select set table then union unique update values view when where with",
  data: "true false null yes no on off",
};
const KINDS = {
  python: "python py python3 ipython pycon",
  shell: "bash sh shell zsh console fish dockerfile makefile ruby rb perl r",
  sql: "sql sqlite postgres postgresql mysql",
  data: "json yaml yml toml ini jsonc",
  c: "javascript js jsx typescript ts tsx java c cpp c++ cc h cs csharp go rust rs kotlin kt swift php scala dart css",
};
const HASH = new Set(["python", "shell", "data"]);
const LONGEST = 100000; // characters; a longer text stays plain

const kindOf = (language) => Object.keys(KINDS).find((kind) => KINDS[kind].split(" ").includes(language.toLowerCase()));

function grammar(kind) {
  const comment = HASH.has(kind) ? "#[^\\n]*" : kind === "sql" ? "--[^\\n]*" : "\\/\\/[^\\n]*|\\/\\*[\\s\\S]*?(?:\\*\\/|$)";
  const text = "\"\"\"[\\s\\S]*?(?:\"\"\"|$)|'''[\\s\\S]*?(?:'''|$)|\"(?:\\\\.|[^\"\\\\\\n])*\"?|'(?:\\\\.|[^'\\\\\\n])*'?|`(?:\\\\.|[^`\\\\])*`?";
  const number = "\\b(?:0[xXbBoO][\\da-fA-F_]+|\\d[\\d_]*(?:\\.\\d+)?(?:[eE][+-]?\\d+)?)\\b";
  return new RegExp(`(?<comment>${comment})|(?<text>${text})|(?<number>${number})|(?<word>[A-Za-z_$][\\w$]*)`, "g");
}

// Texts and spans that together are `code`.
export function highlight(code, language) {
  const kind = kindOf(language);
  if (!kind || code.length > LONGEST) return [code];
  const words = new Set(WORDS[kind].split(" "));
  const found = [];
  let end = 0;
  for (const match of code.matchAll(grammar(kind))) {
    const [name] = Object.entries(match.groups).find(([, value]) => value !== undefined);
    const known = name !== "word" || words.has(kind === "sql" ? match[0].toLowerCase() : match[0]);
    if (!known) continue;
    if (match.index > end) found.push(code.slice(end, match.index));
    found.push(make("span", { class: `code-${name}` }, match[0]));
    end = match.index + match[0].length;
  }
  if (end < code.length) found.push(code.slice(end));
  return found;
}

// Elements made in one call. Text reaches the page as text nodes only, so it can never become markup.

export const byId = (id) => document.getElementById(id);

// An element with attributes (`class`, `data-...`, any other by its name), listeners (`onclick: f`) and children:
// elements, or texts.
export function make(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) made.setAttribute(name, String(value));
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

export function icon(name, label, onclick) {
  return make("button", { type: "button", class: "icon", "data-icon": name, "aria-label": label, title: label, onclick });
}

// Says something to those who listen to the page.
export function say(text) {
  byId("said").textContent = text;
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    say("Copied.");
  } catch { // no permission, or no https: the old way
    const area = make("textarea", { class: "unseen" });
    area.value = text;
    document.body.append(area);
    area.select();
    say(document.execCommand("copy") ? "Copied." : "Copying is not allowed here.");
    area.remove();
  }
}

// The images for the next question: chosen, pasted or dropped, held against the server's limits, shown, taken away again.

import { byId, icon, make, say } from "./dom.js";

const KINDS = new Map([["image/png", "PNG"], ["image/jpeg", "JPEG"], ["image/webp", "WebP"], ["image/gif", "GIF"]]);
const REST = 64 * 1024; // bytes of a request's body beside its texts and images
const MIB = 1024 * 1024;
let attached = []; // {name, url}, the files as data: URLs
let limits = {}; // the server's, by its names; nothing while they are not known
let reading = Promise.resolve(); // until the files given so far are read
let page = null; // has: blindness(), earlier()
const sees = () => !page.blindness();

// `from` says why the models that will be asked take no images, "" where they do, and which images the conversation has.
export function build(from) {
  page = from;
  byId("attach").addEventListener("click", () => byId("image-file").click());
  byId("image-file").addEventListener("change", (event) => {
    add([...event.target.files]);
    event.target.value = ""; // the same file again is a change, too
  });
  byId("input").addEventListener("paste", pasted);
  for (const kind of ["dragenter", "dragover"]) document.addEventListener(kind, (event) => dragged(event, true));
  document.addEventListener("dragleave", (event) => { if (!event.relatedTarget) dragged(event, false); });
  document.addEventListener("drop", dropped);
}

export function setLimits(said) {
  limits = said ?? {};
  draw();
}

// Other models will be asked.
export function update() {
  problem("");
  draw();
}

// What is attached is hidden, and stays, while one is asked that does not look at images.
function draw() {
  const seeing = sees();
  const most = limits.max_images ? `; at most ${limits.max_images}, ${size(limits.max_image_bytes)} each` : "";
  const label = `Attach images (${[...KINDS.values()].join(", ")}${most})`;
  const button = byId("attach");
  button.hidden = !seeing;
  button.title = label;
  button.setAttribute("aria-label", label);
  byId("images").hidden = !seeing || !attached.length;
  byId("images").replaceChildren(...attached.map((image) => make("li", {},
    make("img", { src: image.url, alt: image.name }),
    icon("close", `Remove ${image.name}`, () => remove(image)))));
}

// What goes with a question that is asked now, once all of it is read; nothing where the models take text only.
export async function settled() {
  await reading;
  return sees() ? attached : [];
}

export function set(images) {
  attached = [...images];
  update();
}

// The question was asked, with what is attached where it was shown.
export function sent() {
  if (sees()) set([]);
  else update();
}

function remove(image) {
  set(attached.filter((one) => one !== image));
  say(`${image.name} is removed.`);
  byId("input").focus();
}

function add(files) {
  if (!files.length) return;
  problem(page.blindness());
  if (!sees()) return;
  reading = reading.then(async () => {
    const wrong = [];
    for (const file of files) wrong.push(await attach(file));
    problem(wrong.filter(Boolean).join(" "));
    draw();
  });
}

// Attaches a file, or says why it cannot be.
async function attach(file) {
  const name = file.name || "The image";
  if (!KINDS.has(file.type)) return `${name} is no image of a kind that is taken (${[...KINDS.values()].join(", ")}).`;
  const all = [...page.earlier(), ...attached];
  if (all.length >= limits.max_images) return `${name} is one too many: a request may have ${limits.max_images} images, with those above.`;
  if (file.size > limits.max_image_bytes) return `${name} has ${size(file.size)}; at most ${size(limits.max_image_bytes)} are taken.`;
  let pixels;
  try {
    const bitmap = await createImageBitmap(file);
    pixels = bitmap.width * bitmap.height;
    bitmap.close();
  } catch {
    return `${name} cannot be read: it is broken, or no image.`;
  }
  if (pixels > limits.max_image_pixels) {
    return `${name} has ${(pixels / MIB).toFixed(1)} Mi pixels; at most ${(limits.max_image_pixels / MIB).toFixed(1)} Mi are taken.`;
  }
  const url = await dataUrl(file);
  const sent = all.reduce((sum, one) => sum + one.url.length, url.length + REST);
  if (sent > limits.max_body_bytes) {
    return `${name} does not fit: with the images above the request would have ${size(sent)}; at most ${size(limits.max_body_bytes)} are taken.`;
  }
  attached.push({ name, url });
  say(`${name} is attached.`);
  return "";
}

function dataUrl(file) {
  return new Promise((resolve, reject) => {
    const reader = new FileReader();
    reader.onload = () => resolve(reader.result);
    reader.onerror = () => reject(reader.error);
    reader.readAsDataURL(file);
  });
}

// A picture that is copied comes without a text; a copied part of a document has both, and is a text.
function pasted(event) {
  const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
  if (!files.length || event.clipboardData.getData("text/plain")) return;
  event.preventDefault();
  add(files);
}

const hasFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");

function dragged(event, over) {
  if (!hasFiles(event)) return;
  event.preventDefault(); // else the browser leaves the page for the file
  byId("form").classList.toggle("dropping", over && sees());
}

function dropped(event) {
  if (!hasFiles(event)) return;
  dragged(event, false);
  add([...event.dataTransfer.files]);
}

function problem(text) {
  byId("image-problem").textContent = text;
}

function size(bytes) {
  return bytes >= MIB ? `${(bytes / MIB).toFixed(1)} MiB` : `${Math.ceil(bytes / 1024)} KiB`;
}

// Conversations in this browser's database; in memory alone where it has none.

const memory = new Map();
let opening = null;

function open() {
  opening ??= new Promise((resolve) => {
    let request;
    try {
      request = indexedDB.open("openllm", 1);
    } catch {
      resolve(null);
      return;
    }
    request.onupgradeneeded = () => request.result.createObjectStore("kept");
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => resolve(null);
  });
  return opening;
}

async function run(mode, work) {
  const database = await open();
  if (!database) return null;
  return new Promise((resolve, reject) => {
    const transaction = database.transaction("kept", mode);
    const request = work(transaction.objectStore("kept"));
    transaction.oncomplete = () => resolve(request.result);
    transaction.onerror = () => reject(transaction.error);
    transaction.onabort = () => reject(transaction.error);
  });
}

export async function put(name, value) {
  memory.set(name, value);
  try {
    await run("readwrite", (kept) => kept.put(value, name));
    return true;
  } catch { // the disk is full, or the quota used up
    return false;
  }
}

export async function remove(name) {
  memory.delete(name);
  await run("readwrite", (kept) => kept.delete(name));
}

export async function get(name) {
  return (await run("readonly", (kept) => kept.get(name))) ?? memory.get(name);
}

// All conversations: what is kept under "chat:...".
export async function chats() {
  const range = IDBKeyRange.bound("chat:", "chat;", false, true);
  return (await run("readonly", (kept) => kept.getAll(range))) ?? [...memory.values()].filter((one) => one.nodes);
}

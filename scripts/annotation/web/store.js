// What the browser keeps when the page is closed. A page opened by double-click may be denied any storage, depending
// on browser and settings: then IndexedDB, localStorage and plain memory are tried in this order.
//
// `update(key, change)` keeps `change(found)`, where `found` is what lies under the key, and nothing comes in between;
// nothing is kept when that is undefined. It resolves to whether something was kept, and to what was found.

class DatabaseStore {
  kept = true;

  static async open() {
    const request = indexedDB.open("annotate", 1);
    request.onupgradeneeded = () => request.result.createObjectStore("records");
    const store = new DatabaseStore();
    store.database = await DatabaseStore.#result(request);
    return store;
  }

  async get(key) {
    return DatabaseStore.#result(this.database.transaction("records").objectStore("records").get(key));
  }

  async set(key, value) {
    await this.update(key, () => value);
  }

  /** Looks and writes in one transaction: those of other windows come before or after it. */
  async update(key, change) {
    const transaction = this.database.transaction("records", "readwrite"), store = transaction.objectStore("records");
    const looked = store.get(key);
    let next, fault;
    looked.onsuccess = () => {
      try {
        next = change(looked.result);
        if (next !== undefined) store.put(next, key);
      } catch (error) {
        fault = error;
        transaction.abort();
      }
    };
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(fault ?? transaction.error);
    });
    return { isKept: next !== undefined, found: looked.result };
  }

  static #result(request) {
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => reject(request.error);
    });
  }
}

/**
 * Texts only, and about 5 MB of them: bytes are kept as base64. There are no transactions, but nothing of this window
 * comes between looking and writing; another window would have to write within the same thousandth of a second.
 */
class TextStore {
  kept = true;

  static async open() {
    localStorage.setItem("annotate/probe", "1");
    localStorage.removeItem("annotate/probe");
    return new TextStore();
  }

  async get(key) {
    return this.#read(key);
  }

  #read(key) {
    const text = localStorage.getItem(`annotate/${key}`);
    const bytesBack = (_, value) => (value?.base64 === undefined ? value : bytesOf(value.base64));
    return text === null ? undefined : JSON.parse(text, bytesBack);
  }

  async set(key, value) {
    this.#write(key, value);
  }

  #write(key, value) {
    const text = JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? { base64: base64Of(part) } : part));
    localStorage.setItem(`annotate/${key}`, text);
  }

  async update(key, change) {
    const found = this.#read(key), next = change(found);
    if (next !== undefined) this.#write(key, next);
    return { isKept: next !== undefined, found };
  }
}

class NoStore {
  kept = false;

  static async open() {
    return new NoStore();
  }

  async get() {
    return undefined;
  }

  async set() {}

  async update(key, change) {
    change(undefined);
    return { isKept: true, found: undefined };
  }
}

const OPENING_S = 5; // some browsers never answer a page that they deny its database

function withinSeconds(seconds, promise) {
  const late = new Promise((_, reject) => { setTimeout(() => reject(new Error("no answer")), seconds * 1000); });
  return Promise.race([promise, late]);
}

/** The best store that this browser grants the page. */
async function openStore() {
  for (const kind of [DatabaseStore, TextStore]) {
    try {
      const store = await withinSeconds(OPENING_S, kind.open());
      await store.set("probe", { bytes: Uint8Array.of(1) });
      if ((await store.get("probe"))?.bytes[0] === 1) return store;
    } catch {
      // Denied: the next one. A SecurityError, a missing global and a full disk all mean the same here.
    }
  }
  return NoStore.open();
}

function bytesOf(base64) {
  const letters = atob(base64), bytes = new Uint8Array(letters.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = letters.charCodeAt(i); // several times faster than Uint8Array.from
  return bytes;
}

function base64Of(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

/** What somebody has chosen for the page, e.g. a colour; null where nothing is kept. */
function keptChoice(name) {
  try {
    return localStorage.getItem(`annotate/${name}`);
  } catch {
    return null;
  }
}

function keepChoice(name, value) {
  try {
    localStorage.setItem(`annotate/${name}`, value);
  } catch {
    // It is chosen anew in the next window.
  }
}

// What the browser keeps when the page is closed. A page opened by double-click may be denied any storage, depending
// on browser and settings: then IndexedDB, localStorage and plain memory are tried in this order.

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
    const transaction = this.database.transaction("records", "readwrite");
    transaction.objectStore("records").put(value, key);
    await new Promise((resolve, reject) => {
      transaction.oncomplete = resolve;
      transaction.onabort = transaction.onerror = () => reject(transaction.error);
    });
  }

  static #result(request) {
    return new Promise((resolve, reject) => {
      request.onsuccess = () => resolve(request.result);
      request.onerror = request.onblocked = () => reject(request.error);
    });
  }
}

/** Texts only, and about 5 MB of them: bytes are kept as base64. */
class TextStore {
  kept = true;

  static async open() {
    localStorage.setItem("annotate/probe", "1");
    localStorage.removeItem("annotate/probe");
    return new TextStore();
  }

  async get(key) {
    const text = localStorage.getItem(`annotate/${key}`);
    const bytesBack = (_, value) => (value?.base64 === undefined ? value : bytesOf(value.base64));
    return text === null ? undefined : JSON.parse(text, bytesBack);
  }

  async set(key, value) {
    const text = JSON.stringify(value, (_, part) => (part instanceof Uint8Array ? { base64: base64Of(part) } : part));
    localStorage.setItem(`annotate/${key}`, text);
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
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

function base64Of(bytes) {
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
}

// Other windows that show the same images: each is told of the others, and of what they have kept.
//
// News go over a BroadcastChannel and over localStorage, whose changes other windows are told of: a page that was opened
// from a file may have either missing. What comes twice does no harm, and what never comes is found when an image is
// kept or the window is looked at again.

const NEWS = "annotate/news";
const ANSWER_MS = 500;

class Windows {
  /** `keys`: of the images; `listeners`: {others, kept}, called when there are more or fewer others; with changed keys. */
  constructor(keys, listeners) {
    Object.assign(this, { keys, listeners, others: new Set(), id: Math.random().toString(36).slice(2) });
    try {
      this.channel = new BroadcastChannel("annotate");
      this.channel.onmessage = (event) => this.#hear(event.data);
    } catch {
      this.channel = null;
    }
    addEventListener("storage", (event) => { if (event.key === NEWS && event.newValue) this.#read(event.newValue); });
    addEventListener("pagehide", () => this.#post("bye", this.keys));
    this.ask();
  }

  /** Find out which others there are; one that has crashed does not answer. */
  ask() {
    const before = this.others;
    this.others = new Set();
    this.#post("hello", this.keys);
    setTimeout(() => { if (this.others.size < before.size) this.listeners.others(); }, ANSWER_MS);
  }

  /** Tell the others that an image was kept. */
  kept(key) {
    this.#post("kept", [key]);
  }

  #post(kind, keys) {
    const news = { from: this.id, kind, keys };
    try {
      this.channel?.postMessage(news);
    } catch {
      this.channel = null; // closed by the browser
    }
    try {
      localStorage.setItem(NEWS, JSON.stringify({ ...news, at: performance.now() })); // the same text is no change
      localStorage.removeItem(NEWS);
    } catch {
      // Denied or full.
    }
  }

  #read(text) {
    try {
      this.#hear(JSON.parse(text));
    } catch {
      // Not from such a page.
    }
  }

  #hear({ from, kind, keys = [] }) {
    const shared = this.keys.filter((key) => keys.includes(key));
    if (from === this.id || !shared.length) return;
    if (kind === "kept") this.listeners.kept(shared);
    if (kind === "hello") this.#post("here", this.keys);
    const count = this.others.size;
    if (kind === "bye") this.others.delete(from);
    else this.others.add(from);
    if (this.others.size !== count) this.listeners.others();
  }
}

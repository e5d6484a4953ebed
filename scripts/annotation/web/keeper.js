// Keeps what is drawn in the browser, soon after each step. Needs store.js, work.js.

const KEEP_AFTER_MS = 400;

class Keeper {
  /** `tell` is called when it may have changed whether work is kept. */
  constructor(store, tell) {
    this.store = store;
    this.tell = tell;
    this.unkept = new Set();
    this.fault = null;
  }

  get isKept() {
    return this.store.kept && !this.fault;
  }

  /** Whether there is work that is neither kept nor saved as a file. */
  get hasUnkept() {
    return [...this.unkept].some((work) => work.state !== "todo" && !work.isSaved);
  }

  /** What to do when work is not kept. */
  get cure() {
    if (this.store.kept) return "The browser cannot keep your latest work. Save the masks before you close this page.";
    return "This browser does not keep your work when the page is closed. Finish in one go and save the masks before "
      + "you close it, or open the page in another browser, such as Chrome, Edge or Firefox.";
  }

  /** Keep an image after a moment: steps that follow each other quickly are kept at once. */
  keepSoon(work) {
    this.unkept.add(work);
    this.timer ??= setTimeout(() => {
      this.timer = null;
      for (const each of this.unkept) this.keep(each);
    }, KEEP_AFTER_MS);
  }

  async keep(work) {
    this.unkept.add(work);
    const record = work.record();
    const version = (work.version = (work.version ?? 0) + 1);
    try {
      await this.store.set(work.image.key, record);
      if (this.store.kept && version === work.version) this.unkept.delete(work);
      this.fault = null;
    } catch (error) {
      this.fault = error; // no room, or the browser took the right back: it is tried again at the next step
    }
    this.tell();
  }

  async keepName(name) {
    try {
      await this.store.set("annotator", name);
    } catch {
      // It will be asked for again.
    }
  }
}

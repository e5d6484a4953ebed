// Keeps what is drawn in the browser, soon after each step, unless another window was faster. Needs store.js, work.js.

const KEEP_AFTER_MS = 400;

class Keeper {
  /**
   * `listeners`: {told, kept, refused}, called when it may have changed whether work is kept; with an image that was
   * kept as a new version; and with an image and the newer record of another window, upon which nothing was kept.
   */
  constructor(store, listeners) {
    this.store = store;
    this.listeners = listeners;
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
      this.keepAll();
    }, KEEP_AFTER_MS);
  }

  /** Keep all that waits, as when the page may be closed the next moment. */
  keepAll() {
    for (const each of this.unkept) this.keep(each);
  }

  async keep(work) {
    this.unkept.add(work);
    const turn = (work.turn = (work.turn ?? 0) + 1);
    let before = work.version;
    const change = (found) => {
      before = work.version;
      return work.next(found); // as it is now: an earlier turn may have taken over another window's record
    };
    try {
      const { isKept, found } = await this.store.update(work.image.key, change);
      if (this.store.kept && turn === work.turn) this.unkept.delete(work);
      this.fault = null;
      if (!isKept) this.listeners.refused(work, found);
      else if (work.version > before) this.listeners.kept(work);
    } catch (error) {
      work.version = before;
      this.fault = error; // no room, or the browser took the right back: it is tried again at the next step
    }
    this.listeners.told();
  }

  async keepName(name) {
    try {
      await this.store.set("annotator", name);
    } catch {
      // It will be asked for again.
    }
  }
}

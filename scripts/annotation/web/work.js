// One image and what was done about it. Needs mask.js, history.js, store.js, pictures.js.

/** The states of an image, in the words of the page. Finished are those that a zip takes. */
const STATES = {
  todo: { word: "to do", isFinished: false },
  begun: { word: "begun", isFinished: false },
  done: { word: "done", isFinished: true },
  skip: { word: "cannot be drawn", isFinished: true },
};

/**
 * What is kept of an image carries a version, which counts the changes of mask, state and reason in all windows. A
 * window writes only upon the version that it has: else it would overwrite what another window has drawn.
 */
class Work {
  /** `image`: an entry of the page's data; `record`: what was kept of it, or undefined. */
  constructor(image, record = {}, takesBoxes = true) {
    this.image = image;
    this.takesBoxes = takesBoxes;
    this.#forgetSteps();
    this.mask = this.history = null;
    this.#read(record);
    this.seconds = record.seconds ?? 0;
  }

  #read(record) {
    this.version = record.version ?? 0;
    this.state = record.state ?? "todo";
    this.reason = record.reason ?? "";
    this.isSaved = record.isSaved ?? false; // in a zip as it is now
    this.drawnBits = record.bits ?? null; // null as long as nobody has drawn: then the proposal is the mask
    this.isDrawn = this.drawnBits !== null;
    this.boxes = (this.takesBoxes && record.boxes) || []; // where there are some, they are handed in and the mask is not
    this.isChanged = false; // since it was read or kept
  }

  #forgetSteps() {
    this.order = []; // what was done, "mask" or "boxes", for undo
    this.undone = [];
    this.pastBoxes = [];
    this.futureBoxes = [];
  }

  get proposal() {
    return bytesOf(held("start", this.image));
  }

  get isFinished() {
    return STATES[this.state].isFinished;
  }

  /** The mask as bits, for reading. */
  get bits() {
    if (this.isDrawn && this.mask) this.drawnBits = packBits(this.mask.pixels);
    return this.drawnBits ?? this.proposal;
  }

  /** Make mask and history ready for drawing. */
  open() {
    if (this.mask) return;
    this.mask = this.unpacked();
    this.history = new History(this.mask);
  }

  /** Give the memory of mask and history back; what was drawn stays, its steps cannot be undone any more. */
  close() {
    this.order = this.order.filter((kind) => kind === "boxes");
    this.undone = this.undone.filter((kind) => kind === "boxes");
    if (this.isDrawn && this.mask) this.drawnBits = packBits(this.mask.pixels);
    this.mask = this.history = null;
  }

  /** The mask as it is, for reading. */
  unpacked() {
    const { width, height, part } = this.image;
    return this.mask ?? new Mask(width, height, unpackBits(this.bits, width * height), part);
  }

  /** Note that the mask has changed. */
  drawn() {
    if (this.state === "todo") this.state = "begun";
    this.isDrawn = this.isChanged = true;
    this.isSaved = false;
  }

  /** Let these be the boxes. */
  boxed(boxes) {
    this.pastBoxes.push(this.boxes);
    this.did("boxes");
    this.#setBoxes(boxes);
  }

  /** Note a step of a kind; what was undone cannot be done again then. */
  did(kind) {
    this.order.push(kind);
    this.undone = [];
    this.futureBoxes = [];
  }

  /** Take back the last step, of whichever kind; the box of the mask that has changed, or null. */
  undo() {
    return this.#turn(this.order, this.undone, this.pastBoxes, this.futureBoxes, () => this.history.undo());
  }

  redo() {
    return this.#turn(this.undone, this.order, this.futureBoxes, this.pastBoxes, () => this.history.redo());
  }

  #turn(from, to, boxesFrom, boxesTo, turnMask) {
    const kind = from.pop();
    if (!kind) return null;
    to.push(kind);
    if (kind === "mask") return turnMask();
    boxesTo.push(this.boxes);
    this.#setBoxes(boxesFrom.pop());
    return null;
  }

  #setBoxes(boxes) {
    if (this.state === "todo") this.state = "begun";
    this.boxes = boxes;
    this.isChanged = true;
    this.isSaved = false;
  }

  mark(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.isChanged = true;
    this.isSaved = false;
  }

  isOlderThan(record) {
    return (record?.version ?? 0) > this.version;
  }

  /** Take over what another window has kept; steps made here cannot be undone any more. */
  take(record) {
    this.#read(record);
    this.#forgetSteps();
    this.seconds = Math.max(this.seconds, record.seconds ?? 0);
    if (!this.mask) return;
    this.mask.replace(unpackBits(this.drawnBits ?? this.proposal, this.mask.pixels.length));
    this.history = new History(this.mask);
  }

  /**
   * What is to be kept upon what lies there, and from then on the version of this window; undefined when another window
   * was faster. Seconds alone are no new version: who only looks at an image does not get in the way of who draws.
   */
  next(found) {
    if (this.isOlderThan(found)) return undefined;
    const bits = this.isDrawn ? this.bits : undefined, { state, reason, boxes } = this;
    const before = found ?? { state: "todo", reason: "" };
    const isSame = before.state === state && before.reason === reason && sameBytes(before.bits, bits)
      && `${before.boxes ?? []}` === `${boxes}`;
    if (!isSame) this.version += 1;
    this.isChanged = false;
    this.isSaved ||= isSame && Boolean(found?.isSaved);
    this.seconds = Math.max(this.seconds, found?.seconds ?? 0);
    const { version, seconds, isSaved } = this;
    return { version, state, reason, seconds, isSaved, bits, boxes };
  }
}

function sameBytes(a, b) {
  return a === b || (a?.length === b?.length && Boolean(a?.every((byte, i) => byte === b[i])));
}

/** What was kept of an image; else what was drawn upon a mask that was proposed before, where there are no boxes. */
async function keptOf(store, image) {
  const found = await store.get(image.key);
  for (const key of found ? [] : image.earlier.toReversed()) {
    const old = await store.get(key);
    if (old?.bits && !old.boxes?.length) return { ...old, version: 0, isSaved: false };
  }
  return found;
}

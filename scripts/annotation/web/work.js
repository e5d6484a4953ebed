// One image and what was done about it, and the clock that counts the seconds. Needs mask.js,
// history.js.

/** The states of an image, in the words of the page. Finished are those that a zip takes. */
const STATES = {
  todo: { word: "to do", isFinished: false },
  begun: { word: "begun", isFinished: false },
  done: { word: "done", isFinished: true },
  skip: { word: "cannot be drawn", isFinished: true },
};

class Work {
  /** `image`: an entry of the page's data; `record`: what was kept of it, or undefined. */
  constructor(image, record = {}) {
    this.image = image;
    this.state = record.state ?? "todo";
    this.reason = record.reason ?? "";
    this.seconds = record.seconds ?? 0;
    this.isSaved = record.isSaved ?? false; // in a zip as it is now
    this.bits = record.bits ?? this.proposal;
    this.mask = this.history = null;
  }

  get proposal() {
    return bytesOf(this.image.start);
  }

  get isFinished() {
    return STATES[this.state].isFinished;
  }

  /** Make mask and history ready for drawing. */
  open() {
    if (this.mask) return;
    this.mask = this.unpacked();
    this.history = new History(this.mask);
  }

  /** Give the memory of mask and history back; what was drawn stays, its steps cannot be undone any more. */
  close() {
    if (this.mask) this.bits = packBits(this.mask.pixels);
    this.mask = this.history = null;
  }

  /** The mask as it is, for reading. */
  unpacked() {
    const { width, height } = this.image;
    return this.mask ?? new Mask(width, height, unpackBits(this.bits, width * height));
  }

  /** Note that the mask has changed. */
  drawn() {
    if (this.state === "todo") this.state = "begun";
    this.isSaved = false;
  }

  mark(state, reason = "") {
    this.state = state;
    this.reason = reason;
    this.isSaved = false;
  }

  /** What is to be kept; the opposite of the constructor. */
  record() {
    if (this.mask) this.bits = packBits(this.mask.pixels);
    const { state, reason, seconds, isSaved, bits } = this;
    return { state, reason, seconds, isSaved, bits };
  }
}

const IDLE_S = 60;

/** Counts the time in which somebody works: not while the page is hidden, and at most a minute after the last input. */
class Clock {
  constructor(now = () => performance.now() / 1000) {
    this.now = now;
    this.last = now();
    this.isRunning = true;
  }

  /** Seconds worked since the last call. */
  tick() {
    const now = this.now(), passed = this.isRunning ? Math.min(IDLE_S, now - this.last) : 0;
    this.last = now;
    return passed;
  }

  /** Start or stop; returns the seconds worked until now. */
  run(isRunning) {
    const passed = this.tick();
    this.isRunning = isRunning;
    return passed;
  }
}

// Undo and redo of a mask. Needs mask.js.
//
// A step is the set of pixels that it turned over, as bits of the box it touched. Turning them over once more undoes
// it, and again redoes it, so one patch serves both ways; a stroke of 200 x 200 pixels takes 5 kB.

const HISTORY_BYTES = 16 * 1024 * 1024;

class History {
  constructor(mask, limit = HISTORY_BYTES) {
    this.mask = mask;
    this.limit = limit;
    this.kept = mask.pixels.slice(); // the mask as of the last step
    this.past = [];
    this.future = [];
    this.bytes = 0;
  }

  /** Make what was changed in the box since the last step a step of its own; false when nothing was. */
  commit(box) {
    const patch = box && this.#difference(box);
    if (!patch) return false;
    this.#copy(box, this.mask.pixels, this.kept);
    this.future = [];
    this.past.push(patch);
    this.bytes = this.past.reduce((sum, step) => sum + step.bits.length, 0);
    while (this.bytes > this.limit && this.past.length > 1) this.bytes -= this.past.shift().bits.length;
    return true;
  }

  /** Take back what was changed in the box since the last step. */
  revert(box) {
    this.#copy(box, this.kept, this.mask.pixels);
    return box;
  }

  undo() {
    return this.#turn(this.past, this.future);
  }

  redo() {
    return this.#turn(this.future, this.past);
  }

  #turn(source, target) {
    const patch = source.pop();
    if (!patch) return null;
    target.push(patch);
    const { box, bits } = patch;
    let i = 0;
    this.#rows(box, (begin, end) => {
      for (let at = begin; at < end; at++, i++) if (bits[i >> 3] & (128 >> (i & 7))) this.mask.pixels[at] ^= 1;
    });
    this.#copy(box, this.mask.pixels, this.kept);
    return box;
  }

  /** What the box holds that was not kept yet; null when that is nothing. */
  #difference(box) {
    const bits = new Uint8Array(Math.ceil(((box.x1 - box.x0) * (box.y1 - box.y0)) / 8));
    const { pixels } = this.mask, { kept } = this;
    let i = 0, isAny = false;
    this.#rows(box, (begin, end) => {
      for (let at = begin; at < end; at++, i++) {
        if (pixels[at] === kept[at]) continue;
        bits[i >> 3] |= 128 >> (i & 7);
        isAny = true;
      }
    });
    return isAny ? { box, bits } : null;
  }

  #copy(box, source, target) {
    this.#rows(box, (begin, end) => target.set(source.subarray(begin, end), begin));
  }

  /** Call `each(begin, end)` for the pixels of each row of a box, indices in the mask. */
  #rows(box, each) {
    const { width } = this.mask;
    for (let y = box.y0; y < box.y1; y++) each(y * width + box.x0, y * width + box.x1);
  }
}

// A mask of 0 and 1 at the size of its picture, and everything that can be drawn on it. Pure: no page, no canvas.
//
// A pixel belongs to a shape when its centre does, so no edge is ever half covered. What changes a mask returns the
// box it touched, {x0, y0, x1, y1} with x1 and y1 excluded, or null when there was nothing to touch.

/** The smallest box around two boxes; either may be null. */
function joined(a, b) {
  if (!a || !b) return a || b;
  return { x0: Math.min(a.x0, b.x0), y0: Math.min(a.y0, b.y0), x1: Math.max(a.x1, b.x1), y1: Math.max(a.y1, b.y1) };
}

/** The pixels of a mask as bits, eight to a byte, first pixel in the highest bit (the order of numpy.packbits). */
function packBits(pixels) {
  const bits = new Uint8Array(Math.ceil(pixels.length / 8));
  for (let i = 0; i < pixels.length; i++) if (pixels[i]) bits[i >> 3] |= 128 >> (i & 7);
  return bits;
}

function unpackBits(bits, count) {
  const pixels = new Uint8Array(count);
  for (let i = 0; i < count; i++) if (bits[i >> 3] & (128 >> (i & 7))) pixels[i] = 1;
  return pixels;
}

class Mask {
  /** `part`: the box that can be drawn in, as if the picture ended there; null for all of it. Outside all is 0. */
  constructor(width, height, pixels, part = null) {
    this.width = width;
    this.height = height;
    this.pixels = pixels;
    this.part = part ?? this.whole;
  }

  get whole() {
    return { x0: 0, y0: 0, x1: this.width, y1: this.height };
  }

  get isEmpty() {
    return !this.pixels.includes(1);
  }

  /** The part of a box of real numbers that can be drawn in, in whole pixels; null where there is none. */
  clipped(left, top, right, bottom) {
    const { part } = this;
    const x0 = Math.max(part.x0, Math.floor(left)), y0 = Math.max(part.y0, Math.floor(top));
    const x1 = Math.min(part.x1, Math.ceil(right)), y1 = Math.min(part.y1, Math.ceil(bottom));
    return x0 < x1 && y0 < y1 ? { x0, y0, x1, y1 } : null;
  }

  /** Set the pixels within half a diameter of the line between two points: a round brush pulled along it. */
  stroke(from, to, diameter, value) {
    const radius = Math.max(diameter, 1) / 2;
    const box = this.clipped(
      Math.min(from.x, to.x) - radius, Math.min(from.y, to.y) - radius,
      Math.max(from.x, to.x) + radius, Math.max(from.y, to.y) + radius);
    if (!box) return null;
    const dx = to.x - from.x, dy = to.y - from.y, length2 = dx * dx + dy * dy;
    for (let y = box.y0; y < box.y1; y++) {
      for (let x = box.x0; x < box.x1; x++) {
        const px = x + 0.5 - from.x, py = y + 0.5 - from.y;
        const along = length2 ? Math.min(1, Math.max(0, (px * dx + py * dy) / length2)) : 0;
        const ex = px - along * dx, ey = py - along * dy;
        if (ex * ex + ey * ey <= radius * radius) this.pixels[y * this.width + x] = value;
      }
    }
    this.#dot(to, value); // a brush of one pixel may pass between four centres
    return box;
  }

  #dot(point, value) {
    const x = Math.floor(point.x), y = Math.floor(point.y);
    if (this.#has(x, y)) this.pixels[y * this.width + x] = value;
  }

  #has(x, y) {
    const { x0, y0, x1, y1 } = this.part;
    return x >= x0 && y >= y0 && x < x1 && y < y1;
  }

  /** Set the pixels inside a closed outline. Where it crosses itself both loops count: no holes by a shaky hand. */
  polygon(points, value) {
    const xs = points.map((p) => p.x), ys = points.map((p) => p.y);
    const low = (values) => values.reduce((a, b) => Math.min(a, b));
    const high = (values) => values.reduce((a, b) => Math.max(a, b));
    const box = points.length > 2 ? this.clipped(low(xs), low(ys), high(xs), high(ys)) : null;
    if (!box) return null;
    for (let y = box.y0; y < box.y1; y++) this.#polygonRow(y, crossings(points, y + 0.5), value);
    return box;
  }

  #polygonRow(y, sorted, value) {
    let winding = 0;
    for (let i = 0; i + 1 < sorted.length; i++) {
      winding += sorted[i].turn;
      if (winding === 0) continue;
      const start = Math.max(this.part.x0, Math.ceil(sorted[i].x - 0.5));
      const end = Math.min(this.part.x1, Math.ceil(sorted[i + 1].x - 0.5));
      if (start < end) this.pixels.fill(value, y * this.width + start, y * this.width + end);
    }
  }

  /** The connected pixels around a point that have its value; null where it has not the value asked for. */
  areaAt(point, value) {
    const x = Math.floor(point.x), y = Math.floor(point.y);
    if (!this.#has(x, y)) return null;
    if (this.pixels[y * this.width + x] !== value) return null;
    const area = new Spread(this);
    area.from(y * this.width + x);
    return area;
  }

  /** Give an area of `areaAt` the other value. */
  turn(area) {
    const box = { x0: this.width, y0: this.height, x1: 0, y1: 0 };
    for (const at of area.queue.subarray(0, area.count)) {
      const x = at % this.width, y = (at - x) / this.width;
      this.pixels[at] = 1 - this.pixels[at];
      if (x < box.x0) box.x0 = x;
      if (x >= box.x1) box.x1 = x + 1;
      if (y < box.y0) box.y0 = y;
      if (y >= box.y1) box.y1 = y + 1;
    }
    return box;
  }

  /** Fill every empty area that the mask encloses. */
  fillHoles() {
    const outside = new Spread(this), { width } = this, { x0, y0, x1, y1 } = this.part;
    for (let x = x0; x < x1; x++) {
      for (const at of [y0 * width + x, (y1 - 1) * width + x]) if (!this.pixels[at]) outside.from(at);
    }
    for (let y = y0; y < y1; y++) {
      for (const at of [y * width + x0, y * width + x1 - 1]) if (!this.pixels[at]) outside.from(at);
    }
    for (let y = y0; y < y1; y++) {
      for (let at = y * width + x0; at < y * width + x1; at++) if (!outside.reached[at]) this.pixels[at] = 1;
    }
    return this.whole;
  }

  /** Remove every connected piece of fewer pixels than `least`. */
  removeSpecks(least) {
    const pieces = new Spread(this);
    for (let at = 0; at < this.pixels.length; at++) {
      if (!this.pixels[at] || pieces.reached[at]) continue;
      const begin = pieces.count;
      pieces.from(at);
      if (pieces.count - begin >= least) continue;
      for (let i = begin; i < pieces.count; i++) this.pixels[pieces.queue[i]] = 0;
    }
    return this.whole;
  }

  fill(value) {
    const { x0, y0, x1, y1 } = this.part;
    for (let y = y0; y < y1; y++) this.pixels.fill(value, y * this.width + x0, y * this.width + x1);
    return this.whole;
  }

  replace(pixels) {
    this.pixels.set(pixels);
    return this.whole;
  }
}

/** Where an outline crosses a row, from left to right, with the direction of each crossing. */
function crossings(points, y) {
  const found = [];
  for (let i = 0; i < points.length; i++) {
    const a = points[i], b = points[(i + 1) % points.length];
    if (a.y <= y === b.y <= y) continue;
    found.push({ x: a.x + ((y - a.y) * (b.x - a.x)) / (b.y - a.y), turn: a.y <= y ? 1 : -1 });
  }
  return found.sort((a, b) => a.x - b.x);
}

/**
 * Connected pixels of one value. The mask connects over corners, the empty part does not: so an outline of single
 * pixels that only touch at their corners still encloses what is in it.
 */
class Spread {
  constructor(mask) {
    this.mask = mask;
    this.reached = new Uint8Array(mask.pixels.length);
    this.queue = new Int32Array(mask.pixels.length);
    this.count = 0;
  }

  /** Add all pixels connected to `first` to the queue. */
  from(first) {
    if (this.reached[first]) return;
    const { width, pixels, part } = this.mask;
    const value = pixels[first];
    let next = this.count;
    this.#add(first);
    for (; next < this.count; next++) {
      const at = this.queue[next], x = at % width, y = (at - x) / width;
      const left = x > part.x0, right = x + 1 < part.x1, up = y > part.y0, down = y + 1 < part.y1;
      if (left) this.#addIf(at - 1, value);
      if (right) this.#addIf(at + 1, value);
      if (up) this.#addIf(at - width, value);
      if (down) this.#addIf(at + width, value);
      if (!value) continue;
      if (left && up) this.#addIf(at - width - 1, value);
      if (right && up) this.#addIf(at - width + 1, value);
      if (left && down) this.#addIf(at + width - 1, value);
      if (right && down) this.#addIf(at + width + 1, value);
    }
  }

  #addIf(at, value) {
    if (!this.reached[at] && this.mask.pixels[at] === value) this.#add(at);
  }

  #add(at) {
    this.reached[at] = 1;
    this.queue[this.count++] = at;
  }
}

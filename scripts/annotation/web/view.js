// The stage: a picture, the mask over it and the tool's own marks, with zoom and pan. Needs mask.js.
//
// Three canvases lie on each other at the resolution of the screen. The mask is sampled for the screen's pixels instead
// of being scaled as a picture: the time for it depends on the size of the window and not on that of the image, the
// outline keeps its width at every zoom, and a stroke redraws only the box that it touched.

const MASK_COLOUR = "#56dcff"; // sky blue, as the truth in the pictures of a run
const RIM_OPACITY = 0.55;
const MARGIN = 16; // free space around a fitted picture, in CSS pixels
const MOST_ZOOM = 40;
const MASK_LAYER_PIXELS = 3e6; // on larger screens the mask layer is drawn coarser, to stay fluid

/** A colour "#rrggbb" as a word of an RGBA picture; all current systems are little-endian. */
function rgbaWord(colour, opacity) {
  const [red, green, blue] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return ((Math.round(255 * opacity) << 24) | (blue << 16) | (green << 8) | red) >>> 0;
}

class View {
  /** `layers`: the canvases {picture, mask, marks}; `drawMarks(context, view)` paints what belongs to the tool. */
  constructor(stage, layers, drawMarks) {
    this.stage = stage;
    this.contexts = Object.fromEntries(Object.entries(layers).map(([name, canvas]) => [name, canvas.getContext("2d")]));
    this.drawMarks = drawMarks;
    this.options = { colour: MASK_COLOUR, opacity: 0.3, outlineOnly: false, hidden: false, heat: false };
    this.picture = this.heat = this.mask = null;
    this.zoom = 1;
    this.left = this.top = 0; // where the picture's corner is on the stage, in CSS pixels
    this.isFitted = true;
    this.stale = { picture: false, mask: null, marks: false };
    new ResizeObserver(() => this.#resized()).observe(stage);
  }

  /** Show another image: an <img> each for picture and heat map (or null), and the mask. */
  show(picture, heat, mask) {
    Object.assign(this, { picture, heat, mask });
    this.fit();
  }

  set(options) {
    Object.assign(this.options, options);
    this.#all();
  }

  /** Redraw the mask where it was changed: a box of it. */
  changed(box) {
    this.stale.mask = joined(this.stale.mask, box);
    this.#later();
  }

  marksChanged() {
    this.stale.marks = true;
    this.#later();
  }

  /** Where a pointer is on the picture, in pixels of it; the first pixel is from 0 to 1. */
  toPicture(event) {
    const frame = this.stage.getBoundingClientRect();
    const x = event.clientX - frame.left, y = event.clientY - frame.top;
    return { x: (x - this.left) / this.zoom, y: (y - this.top) / this.zoom };
  }

  toStage(point) {
    return { x: point.x * this.zoom + this.left, y: point.y * this.zoom + this.top };
  }

  get fitZoom() {
    const { width, height } = this.mask;
    return Math.min((this.width - 2 * MARGIN) / width, (this.height - 2 * MARGIN) / height);
  }

  fit() {
    if (!this.mask || !this.width) return;
    this.zoom = this.fitZoom;
    this.left = (this.width - this.mask.width * this.zoom) / 2;
    this.top = (this.height - this.mask.height * this.zoom) / 2;
    this.isFitted = true;
    this.#all();
  }

  /** Zoom to a factor, 1 for a pixel of the picture per CSS pixel; the point (x, y) of the stage stays where it is. */
  zoomTo(zoom, x = this.width / 2, y = this.height / 2) {
    if (!this.mask) return;
    const next = Math.min(MOST_ZOOM, Math.max(Math.min(this.fitZoom, 1) / 2, zoom));
    this.left = x - ((x - this.left) * next) / this.zoom;
    this.top = y - ((y - this.top) * next) / this.zoom;
    this.zoom = next;
    this.#moved();
  }

  panBy(dx, dy) {
    this.left += dx;
    this.top += dy;
    this.#moved();
  }

  #moved() {
    if (!this.mask) return;
    const keep = 60; // so much of the picture stays in sight
    this.left = Math.min(this.width - keep, Math.max(keep - this.mask.width * this.zoom, this.left));
    this.top = Math.min(this.height - keep, Math.max(keep - this.mask.height * this.zoom, this.top));
    this.isFitted = false;
    this.#all();
  }

  #resized() {
    this.width = this.stage.clientWidth;
    this.height = this.stage.clientHeight;
    this.density = window.devicePixelRatio || 1;
    this.maskDensity = Math.min(this.density, Math.sqrt(MASK_LAYER_PIXELS / Math.max(1, this.width * this.height)));
    for (const [name, { canvas }] of Object.entries(this.contexts)) {
      const density = name === "mask" ? this.maskDensity : this.density;
      canvas.width = Math.max(1, Math.round(this.width * density));
      canvas.height = Math.max(1, Math.round(this.height * density));
    }
    if (this.isFitted) this.fit();
    this.#all();
  }

  #all() {
    this.stale = { picture: true, mask: this.mask?.whole ?? null, marks: true };
    this.#later();
  }

  #later() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = null;
      this.#draw();
    });
  }

  #draw() {
    const { picture, mask, marks } = this.stale;
    this.stale = { picture: false, mask: null, marks: false };
    if (!this.mask || !this.width) return;
    if (picture) {
      this.#drawPicture();
      this.contexts.mask.clearRect(0, 0, this.contexts.mask.canvas.width, this.contexts.mask.canvas.height);
      this.stage.dispatchEvent(new Event("view")); // zoom or place have changed
    }
    if (mask) this.#drawMask(mask);
    if (marks || picture) {
      const context = this.contexts.marks;
      context.setTransform(this.density, 0, 0, this.density, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      this.drawMarks(context, this);
    }
  }

  #drawPicture() {
    const context = this.contexts.picture, { canvas } = context;
    context.setTransform(1, 0, 0, 1, 0, 0);
    context.clearRect(0, 0, canvas.width, canvas.height);
    const shown = this.options.heat && this.heat ? this.heat : this.picture;
    if (!shown) return;
    context.imageSmoothingEnabled = this.zoom * this.density < 4; // beyond it one wants to see the pixels
    context.imageSmoothingQuality = "high";
    const scale = this.density;
    context.drawImage(shown, this.left * scale, this.top * scale,
      this.mask.width * this.zoom * scale, this.mask.height * this.zoom * scale);
  }

  /** Draw the part of the mask layer that shows a box of the mask. */
  #drawMask(box) {
    const context = this.contexts.mask, scale = this.maskDensity, step = this.zoom * scale;
    const line = Math.max(1, Math.round(2 * scale)), rim = Math.max(1, Math.round(scale));
    const reach = line + rim;
    const whole = this.#onLayer(this.mask.whole, 0), part = this.#onLayer(box, reach);
    const x0 = Math.max(whole.x0, part.x0), x1 = Math.min(whole.x1, part.x1);
    const y0 = Math.max(whole.y0, part.y0), y1 = Math.min(whole.y1, part.y1);
    if (x0 >= x1 || y0 >= y1) return;
    if (this.options.hidden) {
      context.clearRect(x0, y0, x1 - x0, y1 - y0);
      return;
    }
    const sampled = this.#sampled({ x0: x0 - reach, y0: y0 - reach, x1: x1 + reach, y1: y1 + reach }, step, scale);
    const drawn = context.createImageData(x1 - x0, y1 - y0);
    const { colour, opacity, outlineOnly, heat } = this.options;
    const colours = {
      inside: outlineOnly || (heat && this.heat) ? 0 : rgbaWord(colour, opacity), // a tint would falsify the heat map
      line: rgbaWord(colour, 1),
      rim: rgbaWord("#000000", RIM_OPACITY),
    };
    paintOverlay(new Uint32Array(drawn.data.buffer), drawn.width, sampled, reach, line, rim, colours);
    context.putImageData(drawn, x0, y0);
  }

  /** A box of the mask in pixels of the mask layer, grown by `more`, within the layer. */
  #onLayer(box, more) {
    const scale = this.maskDensity, step = this.zoom * scale, { canvas } = this.contexts.mask;
    return {
      x0: Math.max(0, Math.round(this.left * scale + box.x0 * step) - more),
      y0: Math.max(0, Math.round(this.top * scale + box.y0 * step) - more),
      x1: Math.min(canvas.width, Math.round(this.left * scale + box.x1 * step) + more),
      y1: Math.min(canvas.height, Math.round(this.top * scale + box.y1 * step) + more),
    };
  }

  /** The mask at each pixel of a box of the layer; beyond the picture its border goes on, so it gets no outline. */
  #sampled(box, step, scale) {
    const { width, height, pixels } = this.mask, columns = box.x1 - box.x0;
    const found = new Uint8Array(columns * (box.y1 - box.y0));
    const place = (at, corner, size) => Math.min(size - 1, Math.max(0, Math.floor((at + 0.5 - corner * scale) / step)));
    const xs = Int32Array.from({ length: columns }, (_, i) => place(box.x0 + i, this.left, width));
    for (let y = box.y0, i = 0; y < box.y1; y++) {
      const row = place(y, this.top, height) * width;
      for (let k = 0; k < columns; k++) found[i++] = pixels[row + xs[k]];
    }
    return found;
  }
}

/** Colour the pixels of `words`: inside of the mask, its outline on the inside, and a dark rim around that. */
function paintOverlay(words, width, sampled, reach, line, rim, colours) {
  const stride = width + 2 * reach, height = words.length / width;
  for (let y = 0, i = 0; y < height; y++) {
    for (let x = 0, at = (y + reach) * stride + reach; x < width; x++, i++, at++) {
      if (sampled[at]) {
        const across = sampled[at - line] & sampled[at + line];
        const isCore = across & sampled[at - line * stride] & sampled[at + line * stride];
        words[i] = isCore ? colours.inside : colours.line;
      } else if (sampled[at - rim] | sampled[at + rim] | sampled[at - rim * stride] | sampled[at + rim * stride]) {
        words[i] = colours.rim;
      }
    }
  }
}

// The list of images with their thumbnails. Needs view.js, work.js, pictures.js.

const THUMB = { width: 72, height: 54 }; // CSS pixels
const THUMB_DENSITY = 2;
const BADGES = { todo: "", begun: "✎", done: "✓", skip: "–" };

class ImageList {
  /** `choose(index)` is called when somebody picks an image; `view` knows the colour of the masks. */
  constructor(list, works, view, choose) {
    this.view = view;
    this.entries = works.map((work, index) => this.#entry(work, () => choose(index)));
    list.replaceChildren(...this.entries.map((entry) => entry.item));
  }

  /** Paint all thumbnails, one after the other, so that the page can be used meanwhile. */
  async paint() {
    for (const entry of this.entries) {
      try {
        const base = thumbCanvas();
        fitted(base, await decoded(entry.work.image.thumb), entry.work.image);
        entry.base = base;
        this.#draw(entry);
      } catch {
        // No thumbnail: opening the image will tell.
      }
    }
  }

  /** Paint all masks anew, as in another colour. */
  repaint() {
    for (const entry of this.entries) if (entry.base) this.#draw(entry);
  }

  /** Show state and mask of an image as they are now. */
  refresh(index, isCurrent) {
    const entry = this.entries[index], { state, image } = entry.work;
    entry.button.dataset.state = state;
    entry.button.setAttribute("aria-current", String(isCurrent));
    entry.badge.textContent = BADGES[state];
    entry.state.textContent = STATES[state].word;
    entry.button.title = image.id;
    if (entry.base) this.#draw(entry);
    if (isCurrent) entry.item.scrollIntoView({ block: "nearest" });
  }

  #entry(work, chosen) {
    const made = (tag, className, textContent = "") =>
      Object.assign(document.createElement(tag), { className, textContent });
    const item = made("li", ""), button = made("button", "image"), thumb = thumbCanvas();
    const badge = made("span", "badge"), texts = made("span", "texts"), state = made("span", "state");
    button.type = "button";
    thumb.setAttribute("aria-hidden", "true");
    badge.setAttribute("aria-hidden", "true");
    texts.append(made("span", "name", work.image.id), made("span", "class", work.image.label), state);
    button.append(thumb, badge, texts);
    button.addEventListener("click", chosen);
    item.append(button);
    return { work, item, button, badge, state, thumb, base: null };
  }

  #draw({ thumb, base, work }) {
    const context = thumb.getContext("2d"), frame = frameOf(thumb, work.image);
    context.clearRect(0, 0, thumb.width, thumb.height);
    context.drawImage(base, 0, 0);
    const shown = context.createImageData(frame.width, frame.height), words = new Uint32Array(shown.data.buffer);
    const inside = rgbaWord(this.view.options.colour, 0.55), { width, height } = work.image;
    const pixels = work.mask?.pixels, bits = pixels ? null : work.bits;
    for (let y = 0, i = 0; y < frame.height; y++) {
      const row = Math.floor(((y + 0.5) * height) / frame.height) * width;
      for (let x = 0; x < frame.width; x++, i++) {
        const at = row + Math.floor(((x + 0.5) * width) / frame.width);
        if (pixels ? pixels[at] : bits[at >> 3] & (128 >> (at & 7))) words[i] = inside;
      }
    }
    const layer = thumbCanvas(); // putImageData would replace the picture instead of covering it
    layer.getContext("2d").putImageData(shown, frame.x, frame.y);
    context.drawImage(layer, 0, 0);
  }
}

function thumbCanvas() {
  const width = THUMB.width * THUMB_DENSITY, height = THUMB.height * THUMB_DENSITY;
  return Object.assign(document.createElement("canvas"), { width, height });
}

/** Where an image lies on its thumbnail when all of it is to be seen. */
function frameOf(canvas, image) {
  const scale = Math.min(canvas.width / image.width, canvas.height / image.height);
  const width = Math.max(1, Math.round(image.width * scale)), height = Math.max(1, Math.round(image.height * scale));
  return { x: (canvas.width - width) >> 1, y: (canvas.height - height) >> 1, width, height };
}

function fitted(canvas, picture, image) {
  const frame = frameOf(canvas, image), context = canvas.getContext("2d");
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, frame.x, frame.y, frame.width, frame.height);
}

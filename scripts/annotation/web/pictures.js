// What the page holds of its images, each picture in an element of its own: read and decoded when it is shown, for all
// of them together may be larger than any text or the memory. Needs store.js.

const KEPT_PICTURES = 3; // decoded at a time; picture and map of 3000 x 2000 pixels take 48 MB

/** What the page holds of an image as base64: its "picture", "start" or "cam". */
function held(kind, image) {
  return document.getElementById(`${kind}-${image.place}`).textContent;
}

/** Decode a file that is given as base64. The browser tells PNG and JPEG apart by themselves. */
async function decoded(base64) {
  return createImageBitmap(new Blob([bytesOf(base64)]));
}

class Pictures {
  constructor() {
    this.kept = new Map(); // image -> promise of [picture, map or null], the one shown last at the end
  }

  /** Promise of [picture, map or null] of an image. They are given back when a few others have been asked for. */
  of(image) {
    const loaded = this.kept.get(image) ?? this.#load(image);
    this.kept.delete(image);
    this.kept.set(image, loaded);
    for (const old of [...this.kept.keys()].slice(0, -KEPT_PICTURES)) this.#giveBack(old);
    return loaded;
  }

  async #load(image) {
    try {
      const picture = await decoded(held("picture", image));
      return [picture, image.cam ? await decoded(held("cam", image)) : null];
    } catch (error) {
      this.kept.delete(image); // it is tried again when it is shown again
      throw error;
    }
  }

  #giveBack(image) {
    const loaded = this.kept.get(image);
    this.kept.delete(image);
    // The garbage collector does not know how large they are, and would wait.
    loaded.then((bitmaps) => bitmaps.forEach((bitmap) => bitmap?.close()), () => {});
  }
}

// What windows with the same images do to each other: nobody's mask is lost unseen. Needs windows.js, frame.js, work.js.

class Sharing {
  constructor(app) {
    this.app = app;
    this.keys = app.works.map((work) => work.image.key);
    this.windows = new Windows(this.keys, {
      others: () => this.#tell(),
      kept: (keys) => this.catchUp(keys),
    });
  }

  /** Tell how many other windows there are, but not in the middle of a stroke: the picture moves to make room for it. */
  #tell() {
    clearTimeout(this.timer);
    if (this.app.pointers.drawing !== null) this.timer = setTimeout(() => this.#tell(), 300);
    else this.app.frame.warn("window", otherWindowsWords(this.windows.others.size));
  }

  /** Tell the other windows that an image was kept in a new version. */
  kept(work) {
    this.windows.kept(work.image.key);
  }

  /** The window is looked at again: what could have been missed meanwhile? */
  seen() {
    this.windows.ask();
    this.catchUp();
  }

  /** Look whether another window has kept images in a newer version, and show that. */
  async catchUp(keys = this.keys) {
    for (const work of this.app.works.filter(({ image }) => keys.includes(image.key))) {
      try {
        this.take(work, await this.app.store.get(work.image.key));
      } catch {
        // It cannot be read now: nothing is kept upon it either.
      }
    }
  }

  /** Show the record that another window has kept, if it is newer; what was drawn here since gives way to it. */
  take(work, record) {
    if (!work.isOlderThan(record)) return;
    const { app } = this, isShown = work === app.work, isLost = work.isChanged;
    if (isShown) app.pointers.cancel();
    work.take(record);
    if (isShown) {
      app.view.changed(work.mask.whole);
      app.view.marksChanged();
      app.refresh();
    } else {
      app.list.refresh(app.works.indexOf(work), false);
    }
    if (isShown || isLost) app.frame.say(takenWords(work, isLost));
  }
}

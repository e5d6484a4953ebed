// The page itself: which image is shown, what its buttons do, what is kept and what is saved. Needs all other files.

const OPEN_IMAGES = 5; // so many images keep their steps for undo; the others give their memory back
const LARGEST_BRUSH = 300;

class App {
  constructor(data, store) {
    Object.assign(this, { data, store, index: -1, recent: [], turn: 0, frame: new Frame(data) });
    this.pictures = new Pictures();
    const layers = { picture: element("picture"), mask: element("mask"), marks: element("marks") };
    this.view = new View(element("stage"), layers, (context, view) => this.pointers.marks(context, view));
    this.surface = new Surface(this.view, {
      step: () => this.stepped(),
      boxed: () => this.boxed(),
      say: (text) => this.frame.say(text),
      waits: () => { element("open-outline").hidden = !this.pointers?.outline?.waits; },
    });
    this.pointers = new Pointers(element("stage"), this.view, this.surface);
    this.clock = new Clock(!document.hidden);
    this.keeper = new Keeper(store, {
      told: () => this.frame.showKept(this.keeper),
      kept: (work) => this.sharing.kept(work),
      refused: (work, record) => this.sharing.take(work, record),
    });
  }

  get work() {
    return this.works?.[this.index];
  }

  async start() {
    const records = await Promise.all(this.data.images.map((image) => keptOf(this.store, image)));
    this.works = this.data.images.map((image, i) => new Work(image, records[i], Boolean(this.data.boxes)));
    element("annotator").value = (await this.store.get("annotator")) ?? "";
    this.list = new ImageList(element("list"), this.works, this.view, (index) => this.go(index));
    this.look = new Look(this.view, () => this.list.repaint());
    this.controls = new Controls(this);
    this.#connect();
    this.frame.showKept(this.keeper);
    this.frame.showPages();
    element("boxes").hidden = !this.data.boxes;
    this.sharing = new Sharing(this);
    this.chooseTool("brush");
    this.setBrush(this.surface.brush);
    this.works.forEach((_, index) => this.list.refresh(index, false));
    const first = this.works.findIndex((work) => !work.isFinished);
    await this.go(Math.max(0, first));
    element("opening").hidden = this.isOpen = true;
    await this.list.paint();
  }

  // ---- which image

  async go(index) {
    if (index === this.index || !this.works[index]) return;
    this.#leave();
    const work = this.works[index];
    this.index = index;
    work.open();
    this.recent = [work, ...this.recent.filter((other) => other !== work)];
    for (const old of this.recent.splice(OPEN_IMAGES)) old.close();
    this.surface.work = work;
    this.refresh();
    this.view.show(null, null, work.mask); // the old picture must not stand under the new mask
    const turn = ++this.turn;
    try {
      const loaded = await this.pictures.of(work.image);
      if (turn === this.turn) this.view.show(...loaded, work.mask); // else somebody went on meanwhile
    } catch {
      if (turn === this.turn) this.frame.say("This picture cannot be shown by this browser. Try another browser.");
    }
  }

  #leave() {
    if (!this.work) return;
    this.pointers.cancel();
    this.tick();
    this.keeper.keep(this.work);
    this.list.refresh(this.index, false);
  }

  /** Go to the next image that is not finished, if there is one. */
  goOn() {
    const order = this.works.map((_, i) => (this.index + 1 + i) % this.works.length);
    const next = order.find((index) => !this.works[index].isFinished);
    if (next === undefined) this.frame.say(allFinishedWords(this.data));
    else this.go(next);
  }

  // ---- drawing

  chooseTool(name) {
    this.pointers.choose(name);
    this.controls.showTool(name);
  }

  setBrush(size) {
    this.surface.brush = Math.min(LARGEST_BRUSH, Math.max(1, Math.round(size)));
    element("size").value = (100 * Math.log(this.surface.brush)) / Math.log(LARGEST_BRUSH);
    element("size-text").textContent = `${this.surface.brush} px`;
    this.view.marksChanged();
  }

  resizeBrush(direction) {
    const { brush } = this.surface;
    this.setBrush(brush + direction * Math.max(1, Math.round(brush * 0.15)));
  }

  /** Pixels under the brush. */
  get brushArea() {
    return (Math.PI * this.surface.brush ** 2) / 4;
  }

  proposed(mask) {
    return mask.replace(unpackBits(this.work.proposal, mask.pixels.length));
  }

  /** Change the whole mask; `idle` is said when it was like that already. */
  wholeMask(change, idle) {
    this.pointers.cancel();
    this.surface.touched(change(this.work.mask));
    if (!this.surface.commit()) this.frame.say(idle);
  }

  undo() {
    if (this.pointers.outline) this.pointers.outline.back();
    else this.#turned(() => this.work.undo());
  }

  redo() {
    if (!this.pointers.outline) this.#turned(() => this.work.redo());
  }

  #turned(turn) {
    const before = this.work.boxes, box = turn();
    if (box) {
      this.view.changed(box);
      this.#changed();
    } else if (before !== this.work.boxes) {
      this.view.marksChanged();
      this.boxed();
    }
  }

  /** A step has changed the mask. */
  stepped() {
    this.work.did("mask");
    this.#changed();
  }

  #changed() {
    this.work.drawn();
    this.frame.say("");
    this.refresh();
    this.keeper.keepSoon(this.work);
  }

  /** Other boxes stand for the image. */
  boxed() {
    this.frame.say(this.work.boxes.length ? BOXES_WORDS[this.data.boxes] : "");
    this.refresh();
    this.keeper.keepSoon(this.work);
  }

  show(options) {
    this.view.set(options);
  }

  // ---- what is decided about an image

  async done() {
    const { work } = this;
    this.pointers.cancel();
    if (work.isFinished) {
      this.goOn();
      return;
    }
    const question = "Its mask is empty. Is there nothing to outline in this image?";
    if (!work.boxes.length && work.mask.isEmpty && !(await ask("Nothing is drawn", question, "Nothing to outline", "Draw on"))) return;
    this.#mark("done");
    this.goOn();
  }

  async skip() {
    this.pointers.cancel();
    const reason = await askReason();
    if (reason === null) return;
    this.#mark("skip", reason);
    this.goOn();
  }

  /** Take back that the image is finished. */
  reopen() {
    this.#mark("begun");
  }

  #mark(state, reason) {
    this.work.mark(state, reason);
    this.refresh();
    this.keeper.keep(this.work);
  }

  // ---- what is saved as files

  tick() {
    if (this.work) this.work.seconds += this.clock.tick();
  }

  async saveAll() {
    this.tick();
    await this.sharing.catchUp(); // another window may have been unable to tell
    const finished = this.works.filter((work) => work.isFinished);
    if (!finished.length) {
      await ask("Nothing to save yet", "No image is finished. Press Done when a mask is right; then save.", "Draw on");
      return;
    }
    const annotator = await this.annotator();
    if (!annotator) return;
    download(this.data.archive, await zipOfWorks(finished, annotator), "application/zip");
    for (const work of finished) {
      work.isSaved = true;
      this.keeper.keep(work);
    }
    this.refresh();
    await ask(`${this.data.archive} is saved`, savedWords(finished, this.works.length, this.data), "OK");
  }

  async saveOne() {
    this.tick();
    await this.sharing.catchUp([this.work.image.key]);
    const annotator = await this.annotator();
    if (!annotator) return;
    const { name, bytes } = await fileOfWork(this.work, annotator);
    download(name, bytes, name.endsWith(".json") ? "application/json" : "image/png");
    this.frame.say(`Saved ${name}. Put it into the folder masks beside this page.`);
  }

  /** The name in the field, or asked for; "" when it is not told. */
  async annotator() {
    const field = element("annotator");
    if (!field.value.trim()) {
      field.value = await askName();
      field.dispatchEvent(new Event("change"));
    }
    return field.value.trim();
  }

  // ---- what is shown around the picture

  help() {
    answered(element("help-dialog"));
  }

  refresh() {
    this.frame.show(this.works, this.index);
    this.list.refresh(this.index, true);
  }

  #connect() {
    element("size").addEventListener("input", (event) => this.setBrush(LARGEST_BRUSH ** (event.target.value / 100)));
    element("annotator").addEventListener("change", (event) => this.keeper.keepName(event.target.value.trim()));
    element("stage").addEventListener("view", () => this.#viewChanged());
    for (const kind of ["pointermove", "pointerdown", "keydown", "wheel"]) {
      addEventListener(kind, () => this.tick(), { passive: true, capture: true });
    }
    setInterval(() => this.#everySecond(), 1000);
    document.addEventListener("visibilitychange", () => this.#seen(!document.hidden));
    addEventListener("pagehide", () => this.#seen(false));
    addEventListener("pageshow", (event) => { if (event.persisted) this.#seen(!document.hidden); });
    addEventListener("beforeunload", (event) => {
      this.keeper.keepAll();
      if (this.keeper.hasUnkept || this.works.some((work) => work.isFinished && !work.isSaved)) event.preventDefault();
    });
    for (const place of document.querySelectorAll(".archive")) place.textContent = this.data.archive;
  }

  #everySecond() {
    this.clock.beat();
    if (this.work && !document.hidden) this.frame.showTime(this.work);
  }

  /** The page was brought to the front, or hidden, or is about to be closed. */
  #seen(isSeen) {
    const seconds = this.clock.run(isSeen);
    if (this.work) this.work.seconds += seconds;
    if (isSeen) {
      this.sharing.seen();
    } else {
      if (this.work) this.keeper.keep(this.work);
      this.keeper.keepAll();
    }
  }

  #viewChanged() {
    const { zoom, left, top } = this.view;
    element("zoom-text").textContent = `${Math.round(100 * zoom)} %`;
    Object.assign(element("stage").dataset, { zoom, left, top }); // for tests, which point at pixels
  }
}

// Mouse, pen and fingers on the stage: which of them draws, moves or zooms. Needs view.js, tools.js, boxes.js.
//
// One pointer uses the tool; the right button, Alt and the eraser end of a pen do the opposite of it. Space, the middle
// button and the tool "move" shift the picture; two fingers shift and zoom it. Once a pen was seen, single fingers only
// shift: the hand that holds the pen rests on the screen.

const ERASER_END = 32; // bit of `buttons` for the eraser end of a pen
const WHEEL_STEP = 0.0015, PINCH_STEP = 0.01;

/** Names of the tools: which class they are, and whether they add or take away. */
const TOOLS = {
  brush: { kind: StrokeTool, value: 1 },
  erase: { kind: StrokeTool, value: 0 },
  outline: { kind: OutlineTool, value: 1 },
  cut: { kind: OutlineTool, value: 0 },
  fill: { kind: AreaTool, value: 1 },
  remove: { kind: AreaTool, value: 0 },
  box: { kind: BoxTool, value: 1 },
  unbox: { kind: BoxTool, value: 0 },
  move: { kind: null, value: 0 },
};

/** What the tools draw on. `listeners`: {step, boxed, say, waits}: a step, other boxes, a message, an open outline. */
class Surface {
  constructor(view, listeners) {
    this.view = view;
    this.listeners = listeners;
    this.brush = 20; // diameter in pixels of the picture
    this.pointer = null; // where the mouse or pen hovers, a point of the picture
    this.box = null; // touched since the last step
    this.work = null;
  }

  get mask() {
    return this.work.mask;
  }

  get zoom() {
    return this.view.zoom;
  }

  touched(box) {
    this.box = joined(this.box, box);
    this.view.changed(box);
  }

  /** Make what was touched a step; false when nothing has changed. */
  commit() {
    const isStep = this.work.history.commit(this.box);
    this.box = null;
    if (isStep) this.listeners.step();
    return isStep;
  }

  /** Let these be the boxes of the image. */
  boxed(boxes) {
    this.work.boxed(boxes);
    this.view.marksChanged();
    this.listeners.boxed();
  }

  revert() {
    if (this.box) this.view.changed(this.work.history.revert(this.box));
    this.box = null;
  }

  marksChanged() {
    this.view.marksChanged();
  }

  outlineWaits() {
    this.listeners.waits();
  }

  say(text) {
    this.listeners.say(text);
  }
}

class Pointers {
  constructor(stage, view, surface) {
    Object.assign(this, { stage, view, surface });
    this.tools = new Map([StrokeTool, OutlineTool, AreaTool, BoxTool].map((kind) => [kind, new kind(surface)]));
    this.name = "brush";
    this.down = new Map(); // pressed pointers by id: {x, y} on the screen
    this.drawing = null; // id of the pointer that uses the tool
    this.isSpace = this.sawPen = false;
    for (const kind of ["pointerdown", "pointermove", "pointerup", "pointercancel", "pointerleave", "wheel"]) {
      stage.addEventListener(kind, (event) => this[kind](event), { passive: false });
    }
    stage.addEventListener("contextmenu", (event) => event.preventDefault());
    this.#pinchOfSafari();
  }

  get tool() {
    return this.tools.get(TOOLS[this.name].kind);
  }

  /** The outline that is being drawn, or null. */
  get outline() {
    const tool = this.tools.get(OutlineTool);
    return tool?.isOpen ? tool : null;
  }

  choose(name) {
    this.cancel();
    this.name = name;
    this.#cursor();
  }

  space(isDown) {
    this.isSpace = isDown;
    this.#cursor();
  }

  /** Give up what has been begun and is no step yet. */
  cancel() {
    this.drawing = null;
    this.tool?.cancel();
  }

  marks(context, view) {
    drawBoxes(context, view, this.surface.work?.boxes ?? []);
    if (!this.isSpace) this.tool?.marks(context, view);
  }

  pointerdown(event) {
    event.preventDefault();
    this.stage.focus({ preventScroll: true });
    if (!this.surface.work) return;
    this.stage.setPointerCapture(event.pointerId);
    this.sawPen ||= event.pointerType === "pen";
    this.down.set(event.pointerId, { x: event.clientX, y: event.clientY });
    if (this.down.size === 2) this.#retract(); // the first finger meant to pinch, too
    if (this.down.size > 1 || this.#shifts(event)) {
      this.#cursor();
      return;
    }
    this.drawing = event.pointerId;
    const isOpposite = event.button === 2 || event.altKey || (event.buttons & ERASER_END) !== 0;
    this.tool.press(this.view.toPicture(event), isOpposite ? 1 - TOOLS[this.name].value : TOOLS[this.name].value);
  }

  pointermove(event) {
    this.surface.pointer = event.pointerType === "touch" ? null : this.view.toPicture(event);
    this.view.marksChanged();
    const before = this.down.get(event.pointerId);
    if (!before) return;
    if (event.pointerId === this.drawing) {
      // A frame may hold several positions; without them fast strokes become polygons.
      const events = event.getCoalescedEvents?.() ?? [];
      for (const each of events.length ? events : [event]) this.tool.move(this.view.toPicture(each));
    } else if (this.drawing === null) {
      this.#shift(event, before);
    }
    this.down.set(event.pointerId, { x: event.clientX, y: event.clientY });
  }

  pointerup(event) {
    if (!this.down.delete(event.pointerId)) return;
    if (event.pointerId === this.drawing) {
      this.drawing = null;
      this.tool.lift();
    }
    this.#cursor();
  }

  pointercancel(event) {
    this.down.delete(event.pointerId);
    if (event.pointerId === this.drawing) this.#retract();
  }

  pointerleave() {
    this.surface.pointer = null;
    this.view.marksChanged();
  }

  wheel(event) {
    event.preventDefault();
    const lines = event.deltaMode === 1 ? 16 : 1;
    const factor = Math.exp(-event.deltaY * lines * (event.ctrlKey ? PINCH_STEP : WHEEL_STEP));
    this.#zoomAt(event, factor);
  }

  #retract() {
    if (this.drawing !== null) this.tool.retract();
    this.drawing = null;
  }

  /** Whether this pointer moves the picture instead of drawing. */
  #shifts(event) {
    const isFinger = event.pointerType === "touch" && this.sawPen;
    return this.isSpace || event.button === 1 || this.name === "move" || isFinger;
  }

  /** One pointer pans; with two the picture follows both: half of each one's way, and the change of their distance. */
  #shift(event, before) {
    const count = this.down.size;
    if (count > 2) return;
    this.view.panBy((event.clientX - before.x) / count, (event.clientY - before.y) / count);
    if (count < 2) return;
    const [, other] = [...this.down].find(([id]) => id !== event.pointerId);
    const distance = (point) => Math.max(1, Math.hypot(point.x - other.x, point.y - other.y));
    const now = { x: event.clientX, y: event.clientY };
    const middle = { clientX: (now.x + other.x) / 2, clientY: (now.y + other.y) / 2 };
    this.#zoomAt(middle, distance(now) / distance(before));
  }

  #zoomAt({ clientX, clientY }, factor) {
    const frame = this.stage.getBoundingClientRect();
    this.view.zoomTo(this.view.zoom * factor, clientX - frame.left, clientY - frame.top);
  }

  /** Safari tells of a pinch on a touch pad by events of its own. */
  #pinchOfSafari() {
    let scale = 1;
    this.stage.addEventListener("gesturestart", (event) => { event.preventDefault(); scale = 1; });
    this.stage.addEventListener("gesturechange", (event) => {
      event.preventDefault();
      if (this.down.size === 0) this.#zoomAt(event, event.scale / scale);
      scale = event.scale;
    });
  }

  #cursor() {
    const shifts = this.isSpace || this.name === "move";
    const isStroke = TOOLS[this.name].kind === StrokeTool;
    this.stage.dataset.cursor = shifts ? (this.down.size ? "grabbing" : "grab") : isStroke ? "none" : "crosshair";
    this.view.marksChanged();
  }
}

// The tools: what a pointer that is pressed, moved and lifted on the picture does to its mask. Needs mask.js.
//
// Each tool has press, move and lift, called with points of the picture; retract, when the last press was not meant;
// cancel, to give up all that is no step yet; and marks, which it draws above the picture. `value` is 1 to add to the
// mask and 0 to take away. `surface` (see pointer.js) shows what was changed and makes it a step to undo.

/** Brush and eraser. */
class StrokeTool {
  constructor(surface) {
    this.surface = surface;
    this.last = null;
  }

  press(point, value) {
    this.value = value;
    this.last = point;
    this.move(point);
  }

  move(point) {
    if (!this.last) return;
    this.surface.touched(this.surface.mask.stroke(this.last, point, this.surface.brush, this.value));
    this.last = point;
  }

  lift() {
    this.last = null;
    this.surface.commit();
  }

  retract() {
    this.cancel();
  }

  cancel() {
    this.last = null;
    this.surface.revert();
  }

  marks(context, view) {
    const at = this.surface.pointer;
    if (!at) return;
    const centre = view.toStage(at), radius = Math.max(1, (this.surface.brush * view.zoom) / 2);
    for (const [colour, width] of [["#000c", 3], ["#fff", 1.5]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.beginPath();
      context.arc(centre.x, centre.y, radius, 0, 2 * Math.PI);
      context.stroke();
    }
  }
}

const CLOSE_PX = 12; // a corner this near to the first one closes the outline, in CSS pixels
const DRAG_PX = 4; // pointers that move less than this have clicked
const DOUBLE_MS = 400;

/**
 * An outline, drawn in one go (lifting closes it) or corner by corner (closed at the first corner, by a double click
 * or by Enter); both may be mixed. What it encloses is added, or cut out.
 */
class OutlineTool {
  constructor(surface) {
    this.surface = surface;
    this.cancel();
  }

  get isOpen() {
    return this.points.length > 0;
  }

  /** Whether corners have been set, so that it waits for the next one. */
  get waits() {
    return this.isOpen && !this.pressed;
  }

  press(point, value) {
    const now = performance.now();
    const isDouble = this.waits && now - this.pressedAt < DOUBLE_MS && this.#near(point, this.points.at(-1));
    this.pressedAt = now;
    if (isDouble || (this.points.length > 2 && this.#near(point, this.points[0]))) {
      this.close();
      return;
    }
    if (!this.isOpen) this.value = value;
    this.stops.push(this.points.length);
    this.points.push(point);
    this.pressed = { at: point, isDragged: false, isFirst: this.points.length === 1 };
    this.surface.marksChanged();
  }

  move(point) {
    if (!this.pressed) return;
    if (!this.pressed.isDragged && this.#near(point, this.pressed.at, DRAG_PX)) return;
    this.pressed.isDragged = true;
    this.points.push(point);
    this.surface.marksChanged();
  }

  lift() {
    const pressed = this.pressed;
    this.pressed = null;
    if (!pressed) return;
    const isClosing = pressed.isFirst || this.#near(this.points.at(-1), this.points[0]);
    if (pressed.isDragged && isClosing) this.close();
    else this.surface.outlineWaits();
  }

  /** Finish the outline; with fewer than three corners there is nothing to enclose. */
  close() {
    const { points, value } = this;
    this.cancel();
    this.surface.touched(this.surface.mask.polygon(points, value));
    this.surface.commit();
  }

  /** Take back the last corner, with what was drawn from it. */
  back() {
    this.points.length = this.stops.pop() ?? 0;
    if (!this.isOpen) this.cancel();
    this.surface.marksChanged();
  }

  retract() {
    this.pressed = null;
    this.back();
  }

  cancel() {
    this.points = [];
    this.stops = []; // how many points there were before each press
    this.pressed = null;
    this.surface.outlineWaits();
    this.surface.marksChanged();
  }

  marks(context, view) {
    if (!this.isOpen) return;
    const points = this.points.map((point) => view.toStage(point));
    if (this.waits && this.surface.pointer) points.push(view.toStage(this.surface.pointer));
    const path = new Path2D();
    points.forEach((p, i) => (i ? path.lineTo(p.x, p.y) : path.moveTo(p.x, p.y)));
    context.lineJoin = "round";
    for (const [colour, width, dash] of [["#000c", 4, []], [this.value ? "#ffe628" : "#ff8a5c", 2, [7, 4]]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.setLineDash(dash);
      context.stroke(path);
    }
    context.setLineDash([]);
    for (const index of this.stops) this.#corner(context, points[index], index === 0);
  }

  #corner(context, { x, y }, isFirst) {
    context.fillStyle = isFirst ? "#ffe628" : "#fff";
    context.strokeStyle = "#000";
    context.lineWidth = 1.5;
    context.beginPath();
    context.arc(x, y, isFirst ? 6 : 4, 0, 2 * Math.PI);
    context.fill();
    context.stroke();
  }

  #near(a, b, px = CLOSE_PX) {
    return Math.hypot(a.x - b.x, a.y - b.y) * this.surface.zoom < px;
  }
}

/** Fill the empty area under the pointer, or remove the drawn one; when it is lifted, for it may yet become a pinch. */
class AreaTool {
  constructor(surface) {
    this.surface = surface;
    this.cancel();
  }

  press(point, value) {
    this.pressed = { point, value };
  }

  move() {}

  lift() {
    if (!this.pressed) return;
    const { point, value } = this.pressed, { mask } = this.surface;
    const area = mask.areaAt(point, 1 - value);
    if (!area) {
      this.surface.say(value ? "This is drawn already. Fill needs an empty area." : "Nothing is drawn here.");
      return;
    }
    this.surface.touched(mask.turn(area));
    this.surface.commit();
    if (value && area.count > mask.pixels.length / 2) {
      const percent = Math.round((100 * area.count) / mask.pixels.length);
      this.surface.say(`Filled ${percent} % of the picture. If an outline was not closed, press Undo and close it.`);
    }
  }

  retract() {
    this.cancel();
  }

  cancel() {
    this.pressed = null;
  }

  marks() {}
}

// Boxes around objects, in place of a mask: the run makes a mask of them and shows it before it counts. Needs tools.js.
//
// A box is [x0, y0, x1, y1] in pixels of the picture.

const LEAST_BOX = 2; // sides shorter than this, in pixels of the picture, are a slip of the hand

/** Add a box by a drag from corner to corner, or take away the smallest one under the pointer. */
class BoxTool {
  constructor(surface) {
    this.surface = surface;
    this.from = this.to = null;
  }

  press(point, value) {
    this.value = value;
    this.from = this.to = this.#within(point);
    this.surface.marksChanged();
  }

  move(point) {
    if (!this.from) return;
    this.to = this.#within(point);
    this.surface.marksChanged();
  }

  lift() {
    const { from, to, value } = this, { boxes } = this.surface.work;
    if (!from) return;
    this.cancel();
    const hit = value ? null : smallestAt(boxes, to);
    if (value && longEnough(boxOf(from, to))) this.surface.boxed([...boxes, boxOf(from, to)]);
    else if (hit) this.surface.boxed(boxes.filter((box) => box !== hit));
    else this.surface.say(value ? "Drag from one corner of the object to the opposite one." : "There is no box here.");
  }

  retract() {
    this.cancel();
  }

  cancel() {
    this.from = this.to = null;
    this.surface.marksChanged();
  }

  marks(context, view) {
    if (this.from && this.value) drawBoxes(context, view, [boxOf(this.from, this.to)]);
  }

  #within({ x, y }) {
    const { width, height } = this.surface.work.image;
    return { x: Math.min(width, Math.max(0, x)), y: Math.min(height, Math.max(0, y)) };
  }
}

function boxOf(a, b) {
  return [Math.min(a.x, b.x), Math.min(a.y, b.y), Math.max(a.x, b.x), Math.max(a.y, b.y)].map((at) => Math.round(at));
}

function longEnough([x0, y0, x1, y1]) {
  return x1 - x0 >= LEAST_BOX && y1 - y0 >= LEAST_BOX;
}

function smallestAt(boxes, { x, y }) {
  const area = ([x0, y0, x1, y1]) => (x1 - x0) * (y1 - y0);
  const under = boxes.filter(([x0, y0, x1, y1]) => x >= x0 && x <= x1 && y >= y0 && y <= y1);
  return under.sort((a, b) => area(a) - area(b))[0] ?? null;
}

function drawBoxes(context, view, boxes) {
  for (const [x0, y0, x1, y1] of boxes) {
    const from = view.toStage({ x: x0, y: y0 }), to = view.toStage({ x: x1, y: y1 });
    for (const [colour, width] of [["#000c", 4], ["#ffe628", 2]]) {
      context.strokeStyle = colour;
      context.lineWidth = width;
      context.strokeRect(from.x, from.y, to.x - from.x, to.y - from.y);
    }
  }
}

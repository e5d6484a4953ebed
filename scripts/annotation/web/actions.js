// Everything that a button or a key does, in one table, so that buttons, keys and the list of keys cannot disagree.
// Needs app.js at run time.
//
// An element with data-action="undo" does the action of that name; its first key is written on it.

const IS_MAC = /Mac|iPhone|iPad/.test(navigator.platform);
const MODIFIER = IS_MAC ? "⌘" : "Ctrl";

/** Name of an action -> keys (Mod: Ctrl or ⌘), words for the list of keys, and what it does with the app. */
const ACTIONS = {
  brush: { keys: ["B"], words: "Brush", run: (app) => app.chooseTool("brush") },
  erase: { keys: ["E"], words: "Eraser", run: (app) => app.chooseTool("erase") },
  outline: { keys: ["O"], words: "Outline", run: (app) => app.chooseTool("outline") },
  cut: { keys: ["C"], words: "Cut out", run: (app) => app.chooseTool("cut") },
  fill: { keys: ["F"], words: "Fill an empty area", run: (app) => app.chooseTool("fill") },
  remove: { keys: ["R"], words: "Remove a drawn area", run: (app) => app.chooseTool("remove") },
  box: { keys: ["X"], words: "Box around an object", run: (app) => app.chooseTool(app.data.boxes ? "box" : "brush") },
  unbox: { run: (app) => app.chooseTool("unbox") },
  move: { keys: ["V"], words: "Move the picture (or hold Space)", run: (app) => app.chooseTool("move") },
  smaller: { keys: ["[", ","], words: "Smaller brush", run: (app) => app.resizeBrush(-1) },
  larger: { keys: ["]", "."], words: "Larger brush", run: (app) => app.resizeBrush(1) },
  undo: { keys: ["Mod+Z"], words: "Undo", run: (app) => app.undo() },
  redo: { keys: ["Mod+Shift+Z", "Mod+Y"], words: "Redo", run: (app) => app.redo() },
  closeOutline: { keys: ["Enter"], words: "Close the outline", run: (app) => app.pointers.outline?.close() },
  back: { keys: ["Backspace"], words: "Take back a corner", run: (app) => app.pointers.outline?.back() },
  cancel: { keys: ["Escape"], words: "Give up the outline", run: (app) => app.pointers.cancel() },
  holes: { run: (app) => app.wholeMask((mask) => mask.fillHoles(), "There is no hole.") },
  specks: {
    run: (app) => app.wholeMask((mask) => mask.removeSpecks(app.brushArea), "No piece is smaller than the brush."),
  },
  reset: { run: (app) => app.wholeMask((mask) => app.proposed(mask), "The mask is as it was proposed.") },
  clear: {
    run: (app) => {
      if (app.work.boxes.length) app.surface.boxed([]);
      else app.wholeMask((mask) => mask.fill(0), "The mask is empty.");
    },
  },
  lines: { keys: ["L"], words: "Outline only", isToggle: true, run: (app, on) => app.show({ outlineOnly: on }) },
  hide: { keys: ["M"], words: "Hide the mask", isToggle: true, run: (app, on) => app.show({ hidden: on }) },
  heat: { keys: ["H"], words: "Where the model looked", isToggle: true, run: (app, on) => app.show({ heat: on }) },
  zoomIn: { keys: ["+", "="], words: "Zoom in (or wheel)", run: (app) => app.view.zoomTo(app.view.zoom * 1.25) },
  zoomOut: { keys: ["-"], words: "Zoom out", run: (app) => app.view.zoomTo(app.view.zoom / 1.25) },
  fit: { keys: ["0"], words: "Fit into the window", run: (app) => app.view.fit() },
  full: { keys: ["1"], words: "Full size", run: (app) => app.view.zoomTo(1) },
  previous: { keys: ["P"], words: "Previous image", run: (app) => app.go(app.index - 1) },
  next: { keys: ["N"], words: "Next image", run: (app) => app.go(app.index + 1) },
  done: { keys: ["D"], words: "Done, and on to the next", run: (app) => app.done() },
  skip: { run: (app) => app.skip() },
  reopen: { run: (app) => app.reopen() },
  one: { run: (app) => app.saveOne() },
  save: { keys: ["Mod+S"], words: "Save masks", run: (app) => app.saveAll() },
  help: { keys: ["?"], words: "This help", run: (app) => app.help() },
};

class Controls {
  constructor(app) {
    this.app = app;
    this.nameOf = new Map(Object.entries(ACTIONS).flatMap(([name, { keys = [] }]) => keys.map((key) => [key, name])));
    for (const element of document.querySelectorAll("[data-action]")) this.#connect(element);
    this.#listKeys(document.getElementById("keys"));
    addEventListener("keydown", (event) => this.#keydown(event));
    addEventListener("keyup", (event) => { if (event.key === " ") app.pointers.space(false); });
    addEventListener("blur", () => app.pointers.space(false));
    // A click leaves the focus on the picture: else Space, held to move it, would press the button again. It does so
    // before the button acts, for a dialog gives the focus back to where it was.
    addEventListener("click", (event) => {
      if (event.detail && event.target.closest?.("button, [type=checkbox], [type=range]")) this.#toStage();
    }, { capture: true });
  }

  /** Press the button of the tool in use, and no other. */
  showTool(name) {
    for (const button of document.querySelectorAll("aside button[data-action]")) {
      const action = button.dataset.action;
      if (action in TOOLS) button.setAttribute("aria-pressed", String(action === name));
    }
  }

  #toStage() {
    if (!document.querySelector("dialog[open]")) document.getElementById("stage").focus({ preventScroll: true });
  }

  #connect(element) {
    const name = element.dataset.action, [key] = ACTIONS[name].keys ?? [];
    if (element.type === "checkbox") element.addEventListener("change", () => this.#run(name, element.checked));
    else element.addEventListener("click", () => this.#run(name));
    if (!key) return;
    const words = shownKey(key);
    element.setAttribute("aria-keyshortcuts", key.replace("Mod", IS_MAC ? "Meta" : "Control"));
    if (key.startsWith("Mod") || element.closest(".zoom, .open-outline, header")) {
      element.title = words;
      return;
    }
    (element.closest("label") ?? element).append(Object.assign(document.createElement("kbd"), { textContent: words }));
  }

  #run(name, isOn) {
    if (this.app.work || name === "help") ACTIONS[name].run(this.app, isOn);
  }

  #keydown(event) {
    if (document.querySelector("dialog[open]")) return;
    const isText = event.target.matches?.("input:is([type=text], :not([type])), textarea");
    const hasModifier = event.ctrlKey || event.metaKey;
    if (isText && !(hasModifier && event.key.toLowerCase() === "s")) return;
    if (event.key === " ") this.#space(event);
    const name = this.nameOf.get(keyOf(event));
    if (!name || (event.key === "Enter" && !this.app.pointers.outline)) return;
    event.preventDefault();
    const box = ACTIONS[name].isToggle && document.querySelector(`input[data-action="${name}"]`);
    if (!box) this.#run(name);
    else if (!box.closest("[hidden]")) box.click();
  }

  /** Space moves the picture unless a button or check box has the focus, which it presses. */
  #space(event) {
    if (event.target.closest?.("button, input[type=checkbox], summary")) return;
    event.preventDefault();
    this.app.pointers.space(true);
  }

  #listKeys(table) {
    for (const { keys, words } of Object.values(ACTIONS)) {
      if (!keys) continue;
      const row = table.insertRow(), cell = row.insertCell();
      cell.textContent = words;
      const last = row.insertCell();
      keys.forEach((key, i) => {
        if (i) last.append(" ");
        last.append(Object.assign(document.createElement("kbd"), { textContent: shownKey(key) }));
      });
    }
  }
}

/** The name of a pressed key as in ACTIONS: letters in upper case, Shift only told apart with Ctrl or ⌘. */
function keyOf(event) {
  const key = event.key.length === 1 ? event.key.toUpperCase() : event.key;
  if (!(event.ctrlKey || event.metaKey) || event.altKey) return key; // AltGr, which types "[" on many keyboards
  return `Mod+${event.shiftKey ? "Shift+" : ""}${key}`;
}

function shownKey(key) {
  return key.replace("Mod", MODIFIER).replace("Escape", "Esc").replace("-", "−");
}

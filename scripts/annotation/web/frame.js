// What is said and shown around the picture. Needs work.js, dialogs.js.

const SAY_MS = 7000;

class Frame {
  /** `data`: of the page; a frame that only warns needs none. */
  constructor(data) {
    this.data = data;
    this.warnings = new Map();
  }

  /** Show image `index` of all works and how far they are. */
  show(works, index) {
    const work = works[index], { image } = work;
    element("image-name").textContent = image.id;
    element("image-place").textContent = placeWords(image, this.data.count);
    element("image-class").textContent = image.label;
    element("image-why").textContent = whyWords(image);
    element("heat").hidden = !image.cam;
    this.#showState(work);
    this.#enable("undo", work.order.length > 0);
    this.#enable("redo", work.undone.length > 0);
    this.#enable("previous", index > 0);
    this.#enable("next", index + 1 < works.length);
    this.#showProgress(works);
    this.showTime(work);
  }

  showTime({ seconds }) {
    const [minutes, rest] = [Math.floor(seconds / 60), Math.floor(seconds % 60)];
    element("image-time").textContent = `${minutes}:${String(rest).padStart(2, "0")} min`;
  }

  showKept(keeper) {
    const line = element("kept"), { isKept } = keeper;
    line.classList.toggle("failed", !isKept);
    line.textContent = isKept ? "Your work is kept in this browser" : "Not kept in this browser";
    this.warn("kept", isKept ? "" : keeper.cure);
  }

  /** Show where the other images of the round are, when one page cannot hold all. */
  showPages() {
    const { page, pages } = this.data;
    element("pages").hidden = pages.length < 2;
    const links = pages.map((name, i) => {
      const attributes = { href: name, textContent: String(i + 1), title: name };
      if (i + 1 !== page) return Object.assign(document.createElement("a"), attributes);
      return Object.assign(document.createElement("b"), { textContent: String(page) });
    });
    element("page-links").replaceChildren(...links.flatMap((link, i) => (i ? [" ", link] : [link])));
  }

  /** Show a warning above the page until it is taken back with "". */
  warn(subject, text) {
    this.warnings.set(subject, text);
    const texts = [...this.warnings.values()].filter(Boolean);
    element("note").hidden = !texts.length;
    element("note").textContent = texts.join(" ");
  }

  /** Say something about the last action for a moment. */
  say(text) {
    element("say").textContent = text;
    clearTimeout(this.timer);
    if (text) this.timer = setTimeout(() => { element("say").textContent = ""; }, SAY_MS);
  }

  #showState({ state, reason, isFinished }) {
    const chip = element("image-state"), { word } = STATES[state];
    chip.dataset.state = state;
    chip.textContent = chip.title = reason ? `${word}: ${reason}` : word;
    element("done").hidden = element("skip").hidden = isFinished;
    element("reopen").hidden = !isFinished;
    element("reopen").textContent = state === "skip" ? "Can be drawn after all" : "Not done yet";
  }

  #showProgress(works) {
    const count = works.filter((work) => work.isFinished).length;
    Object.assign(element("progress"), { max: works.length, value: count });
    const where = this.data.pages.length > 1 ? " on this page" : "";
    element("progress-text").textContent = `${count} of ${works.length} finished${where}`;
  }

  #enable(action, isOn) {
    document.querySelector(`button[data-action="${action}"]`).disabled = !isOn;
  }
}

/** The reason of the choice as a sentence. */
function whyWords({ why }) {
  const text = why.trim();
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}`.replace(/([^.!?])$/, "$1.");
}

function placeWords({ rank, score }, count) {
  return `${rank + 1} of ${count}${score === null ? "" : `, score ${score.toFixed(4)}`}`;
}

/** The warning that the page is open elsewhere, too; "" when it is not. */
function otherWindowsWords(count) {
  if (!count) return "";
  const where = count === 1 ? "another window" : `${count} other windows`;
  return `This page is open in ${where}, too: draw in one only. An image that changes in one is shown so in all.`;
}

/** What is said when the mask of another window takes the place of what is shown here. */
function takenWords({ image }, isLost) {
  const lost = isLost ? " What was just done to it here is not in it." : "";
  return `${image.id} was changed in another window, and is shown as it is there.${lost}`;
}

// How the mask is shown: its colour, which is kept over a reload, and its tint. Needs view.js, store.js, dialogs.js.

class Look {
  /** `recoloured` is called when another colour was chosen. */
  constructor(view, recoloured) {
    this.view = view;
    const colour = element("colour"), opacity = element("opacity"), kept = keptChoice("colour");
    if (/^#[0-9a-f]{6}$/i.test(kept ?? "")) view.set({ colour: kept });
    colour.value = view.options.colour;
    opacity.value = 100 * view.options.opacity;
    this.#tint(view.options.opacity);
    colour.addEventListener("input", () => view.set({ colour: colour.value }));
    colour.addEventListener("change", () => {
      view.set({ colour: colour.value });
      keepChoice("colour", colour.value);
      recoloured();
    });
    opacity.addEventListener("input", () => this.#tint(opacity.value / 100));
  }

  #tint(opacity) {
    element("opacity-text").textContent = `${Math.round(100 * opacity)} %`;
    this.view.set({ opacity });
  }
}

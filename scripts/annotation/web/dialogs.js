// Questions to the person, each answered by a promise.

/** Open a dialog of the page; resolves to true for its button "ok", false for all other ways to close it. */
function answered(dialog) {
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "ok"), { once: true });
  });
}

function element(id) {
  return document.getElementById(id);
}

/** Ask with two buttons, or tell with one (`no` left out). */
async function ask(title, text, yes, no) {
  element("ask-title").textContent = title;
  element("ask-text").textContent = text;
  element("ask-yes").textContent = yes;
  element("ask-no").textContent = no ?? "";
  element("ask-no").hidden = no === undefined;
  return answered(element("ask-dialog"));
}

/** Ask for the annotator's name; "" when no answer is given. */
async function askName() {
  const field = element("name-text");
  field.value = "";
  return (await answered(element("name-dialog"))) ? field.value.trim() : "";
}

/** Ask why an image cannot be drawn; null when it can. */
async function askReason() {
  const dialog = element("skip-dialog"), text = element("reason-text");
  text.value = "";
  if (!(await answered(dialog))) return null;
  const chosen = dialog.querySelector("input[name=reason]:checked").value;
  return [chosen, text.value.trim()].filter(Boolean).join(": ") || "no reason given";
}

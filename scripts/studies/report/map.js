"use strict";
const map = document.getElementById("map");
const shown = { picture: document.getElementById("map-picture"), text: document.getElementById("map-text") };
function show(event) {
  const point = event.target.closest("[data-id]");
  if (!point) return;
  for (const other of map.querySelectorAll(".here")) other.classList.remove("here");
  point.classList.add("here");
  shown.picture.src = "data:image/jpeg;base64," + point.dataset.picture;
  shown.picture.hidden = false;
  shown.text.textContent = point.dataset.told;
}
map.addEventListener("pointerover", show);
map.addEventListener("click", show);

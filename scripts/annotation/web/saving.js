// What is saved as files of finished images, and the words that say where to put them. Needs files.js,
// work.js.

function number(count, one, many) {
  return `${count} ${count === 1 ? one : many}`;
}

/** The mask of an image as {name, bytes}, with the annotator's name and the seconds in it. */
async function pngOfWork(work, annotator) {
  const texts = { annotator, seconds: work.seconds.toFixed(1) };
  return { name: `${work.image.name}.png`, bytes: await maskPng(work.unpacked(), texts) };
}

/** The boxes of an image as {name, bytes}, of which the run makes a mask. */
function boxesOfWork({ image, boxes, seconds }, annotator) {
  const told = { boxes, annotator, seconds: seconds.toFixed(1) };
  return { name: `${image.name}.json`, bytes: new TextEncoder().encode(JSON.stringify(told)) };
}

/** What is handed in of an image that is not skipped, as {name, bytes}. */
async function fileOfWork(work, annotator) {
  return work.boxes.length ? boxesOfWork(work, annotator) : pngOfWork(work, annotator);
}

/** The reason why an image cannot be drawn, as {name, bytes}. */
function skipOfWork(work) {
  return { name: `${work.image.name}.skip`, bytes: new TextEncoder().encode(`${work.reason}\n`) };
}

/** The zip with everything about finished images. */
async function zipOfWorks(finished, annotator) {
  const files = [];
  for (const work of finished) files.push(work.state === "skip" ? skipOfWork(work) : await fileOfWork(work, annotator));
  return zipOf(files);
}

/** What is said when boxes were drawn, by what becomes of them. */
const BOXES_WORDS = {
  shown: "The boxes are handed in, and the mask is not: the run makes one of them and shows it here.",
  accepted: "The boxes are handed in, and the mask is not: the run makes one of them.",
};

function savedWords(finished, count, data) {
  const skips = finished.filter((work) => work.state === "skip").length;
  const boxed = finished.filter((work) => work.state !== "skip" && work.boxes.length).length;
  const masks = finished.length - skips - boxed;
  const content = [
    boxed && `the boxes of ${number(boxed, "image", "images")}`,
    masks && number(masks, "mask", "masks"),
    skips && number(skips, "image that cannot be drawn", "images that cannot be drawn"),
  ];
  const rest = count - finished.length;
  const missing = `${number(rest, "image is", "images are")} not finished yet and not in it; save again later.`;
  return `Look for it in the folder Downloads and put it into the folder masks beside this page. It holds `
    + `${content.filter(Boolean).join(" and ")}. ${rest ? missing : nextPageWords(data)}`;
}

/** Which page comes next, where the images of a round are on several. */
function nextPageWords({ page, pages }) {
  return page < pages.length ? `Then go on with ${pages[page]}.` : "";
}

function allFinishedWords(data) {
  return `All images are finished. Press Save masks. ${nextPageWords(data)}`.trim();
}

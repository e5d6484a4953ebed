// Opens the page. A fault while nothing is shown yet is told as what it is: nothing has been drawn that could be saved.

const FAULT = "Something went wrong on this page. Save the masks, then open it anew.";
const FAULT_AT_START = "This page cannot be opened: something went wrong before the first picture was shown. What you drew "
  + "earlier is still kept. Open the page anew; if this stays, copy the file anew or use another browser, such as Chrome, "
  + "Edge or Firefox, or draw on the pictures in the folder images with a program, as README.txt says.";

(async () => {
  let app = null;
  const tell = (event) => {
    if (!(event.error ?? event.reason)) return; // ResizeObserver and others report what is no fault
    element("opening").hidden = true;
    new Frame().warn("fault", app?.isOpen ? FAULT : FAULT_AT_START);
  };
  for (const kind of ["error", "unhandledrejection"]) addEventListener(kind, tell);
  const data = JSON.parse(element("data").textContent);
  app = new App(data, await openStore());
  await app.start();
})();

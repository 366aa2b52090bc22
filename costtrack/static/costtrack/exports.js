// Says that a file is being made until its download begins: then the answer brings a cookie of the name that was sent.
(() => {
  "use strict";

  const LOOK_EVERY_MS = 300;

  const hasBegun = (name) => document.cookie.split("; ").some((one) => one.startsWith(`${name}=`));

  const tell = (place, text, isBusy) => {
    const line = document.createElement("p");
    line.textContent = text;
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", "The file is being made");
    place.replaceChildren(...(isBusy ? [line, bar] : [line]));
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.matches("[data-download]")) return;
    const [place, button] = [form.querySelector("[data-making]"), form.querySelector("[type=submit]")];
    const number = String(Date.now());
    form.elements.namedItem("download").value = number;
    tell(place, "The file is being made …", true);
    const began = Date.now();
    // Not before the form was sent.
    setTimeout(() => { button.disabled = true; });
    const timer = setInterval(() => {
      if (!hasBegun(`download_${number}`)) return;
      clearInterval(timer);
      document.cookie = `download_${number}=; path=/; max-age=0`;
      button.disabled = false;
      const seconds = Math.round((Date.now() - began) / 1000);
      const took = seconds < 2 ? "" : ` after ${seconds} seconds`;
      tell(place, `The download has begun${took}. Your browser shows how far it is.`, false);
    }, LOOK_EVERY_MS);
  });

  // Whoever comes back to the page can ask again.
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[data-download] [type=submit]")) button.disabled = false;
    for (const place of document.querySelectorAll("[data-making]")) place.replaceChildren();
  });
})();

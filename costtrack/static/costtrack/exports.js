// Shows progress until a download starts. The response then sets a cookie with the name that the form has sent.
(() => {
  "use strict";

  const POLL_INTERVAL_MS = 300;

  const hasBegun = (name) => document.cookie.split("; ").some((cookie) => cookie.startsWith(`${name}=`));

  const showStatus = (element, text, isBusy) => {
    const line = document.createElement("p");
    line.textContent = text;
    const bar = document.createElement("progress");
    bar.setAttribute("aria-label", "Creating the file");
    element.replaceChildren(...(isBusy ? [line, bar] : [line]));
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.matches("[data-download]")) return;
    const [status, button] = [form.querySelector("[data-download-status]"), form.querySelector("[type=submit]")];
    const number = String(Date.now());
    form.elements.namedItem("download").value = number;
    showStatus(status, "Creating the file…", true);
    const began = Date.now();
    // Only after the form has been submitted.
    setTimeout(() => { button.disabled = true; });
    const timer = setInterval(() => {
      if (!hasBegun(`download_${number}`)) return;
      clearInterval(timer);
      document.cookie = `download_${number}=; path=/; max-age=0`;
      button.disabled = false;
      const seconds = Math.round((Date.now() - began) / 1000);
      const took = seconds < 2 ? "" : ` after ${seconds} seconds`;
      showStatus(status, `Download started${took}. Your browser shows the progress.`, false);
    }, POLL_INTERVAL_MS);
  });

  // Reset the form when the user returns to the page.
  addEventListener("pageshow", () => {
    for (const button of document.querySelectorAll("[data-download] [type=submit]")) button.disabled = false;
    for (const status of document.querySelectorAll("[data-download-status]")) status.replaceChildren();
  });
})();

// Pages about an organization: filters act at once, and numbers refresh without disturbing who reads them.
(() => {
  "use strict";

  // Whoever has the focus or a selection inside, or looks elsewhere, is not interrupted.
  const isInUse = (live) =>
    document.hidden ||
    (live.contains(document.activeElement) && document.activeElement !== document.body) ||
    Boolean(live.querySelector("details[open]")) ||
    !document.getSelection()?.isCollapsed;

  document.addEventListener("htmx:beforeRequest", (event) => {
    const live = event.target;
    if (live instanceof HTMLElement && live.matches("[data-refreshes]") && isInUse(live)) event.preventDefault();
  });

  document.addEventListener("change", (event) => {
    const form = event.target instanceof HTMLElement ? event.target.closest("form[data-filters]") : null;
    if (!form) return;
    const range = form.elements.namedItem("range");
    if (range && event.target === range) {
      const isCustom = range.value === "custom";
      form.classList.toggle("ct-custom", isCustom);
      if (isCustom) return form.elements.namedItem("start_date")?.focus();
      for (const name of ["start_date", "end_date"]) {
        const field = form.elements.namedItem(name);
        if (field) field.value = "";
      }
    }
    if (event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
  });

  // Addresses name only what is chosen.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.matches("[data-filters]")) return;
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
    setTimeout(() => { for (const field of form.elements) field.disabled = false; });
  });

  // Without TLS browsers keep their clipboard to themselves, and the old way is left.
  const copy = async (source) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(source.textContent.trim());
    document.getSelection()?.selectAllChildren(source);
    document.execCommand("copy");
  };

  // Copy buttons: <button data-copy="#id">.
  document.addEventListener("click", async (event) => {
    const button = event.target instanceof Element ? event.target.closest("[data-copy]") : null;
    if (!button) return;
    const source = document.querySelector(button.dataset.copy);
    if (!source) return;
    await copy(source);
    const before = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = before; }, 2000);
  });

  const start = () => {
    for (const form of document.querySelectorAll("form[data-filters]")) {
      const range = form.elements.namedItem("range");
      const start = form.elements.namedItem("start_date");
      form.classList.toggle("ct-custom", Boolean(range && (range.value === "custom" || (start && start.value))));
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();

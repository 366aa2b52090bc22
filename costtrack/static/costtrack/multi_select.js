// Multi-selects in filters (admin/dashboard/multi_select.html): submit the form once, when the list closes.
(() => {
  "use strict";

  const multiSelectOf = (target) => (target instanceof Element ? target.closest("details[data-multi-select]") : null);

  // Before pages.js, which would send the form at every check. Searching the options changes nothing.
  document.addEventListener("change", (event) => {
    const select = multiSelectOf(event.target);
    if (!select) return;
    if (event.target.type === "checkbox") select.dataset.changed = "";
    event.stopPropagation();
  }, true);

  const isSearch = (target) => target instanceof HTMLInputElement && "searchOptions" in target.dataset;

  document.addEventListener("input", (event) => {
    if (!isSearch(event.target)) return;
    const text = event.target.value.trim().toLowerCase();
    for (const option of multiSelectOf(event.target).querySelectorAll("li")) {
      option.hidden = !option.textContent.toLowerCase().includes(text);
    }
  });

  // Enter checks the first match instead of sending the form.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || !isSearch(event.target)) return;
    event.preventDefault();
    multiSelectOf(event.target).querySelector("li:not([hidden]) input")?.click();
  });

  document.addEventListener("toggle", (event) => {
    const select = multiSelectOf(event.target);
    if (select && !select.open && select.dataset.changed !== undefined) select.closest("form")?.requestSubmit();
  }, true);

  document.addEventListener("pointerdown", (event) => {
    for (const select of document.querySelectorAll("details[data-multi-select][open]")) {
      if (select !== multiSelectOf(event.target)) select.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    const select = multiSelectOf(event.target);
    if (event.key !== "Escape" || !select?.open) return;
    select.open = false;
    select.querySelector("summary").focus();
  });
})();

// Multi-selects in filters (admin/dashboard/multi_select.html): submit the form once, when the list closes.
(() => {
  "use strict";

  const multiSelectOf = (target) => (target instanceof Element ? target.closest("details[data-multi-select]") : null);

  // Before pages.js, which would send the form at every check.
  document.addEventListener("change", (event) => {
    const select = multiSelectOf(event.target);
    if (!select) return;
    select.dataset.changed = "";
    event.stopPropagation();
  }, true);

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

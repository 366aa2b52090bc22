// Lists of checkboxes in filters (admin/dashboard/pick.html): several are checked before the form is sent.
(() => {
  "use strict";

  const pickOf = (target) => (target instanceof Element ? target.closest("details[data-pick]") : null);

  // Before pages.js, which would send the form at every check.
  document.addEventListener("change", (event) => {
    const pick = pickOf(event.target);
    if (!pick) return;
    pick.dataset.changed = "";
    event.stopPropagation();
  }, true);

  document.addEventListener("toggle", (event) => {
    const pick = pickOf(event.target);
    if (pick && !pick.open && pick.dataset.changed !== undefined) pick.closest("form")?.requestSubmit();
  }, true);

  document.addEventListener("pointerdown", (event) => {
    for (const pick of document.querySelectorAll("details[data-pick][open]")) {
      if (pick !== pickOf(event.target)) pick.open = false;
    }
  });

  document.addEventListener("keydown", (event) => {
    const pick = pickOf(event.target);
    if (event.key !== "Escape" || !pick?.open) return;
    pick.open = false;
    pick.querySelector("summary").focus();
  });
})();

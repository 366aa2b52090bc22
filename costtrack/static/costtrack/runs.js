// Expands branches of a tree of runs. The tree is a table whose rows carry their depth.
(() => {
  "use strict";

  const depthOf = (row) => Number(row.dataset.depth);
  const isClosed = (row) => Boolean(row.querySelector("button[data-branch][aria-expanded=false]"));

  // Shows or hides the rows below a row; branches that were closed stay closed.
  const show = (row, isOpen) => {
    let closedAt = Infinity;
    for (let next = row.nextElementSibling; next && depthOf(next) > depthOf(row); next = next.nextElementSibling) {
      const isInClosed = depthOf(next) > closedAt;
      next.hidden = !isOpen || isInClosed;
      if (!isInClosed) closedAt = isClosed(next) ? depthOf(next) : Infinity;
    }
  };

  // Returns whether rows were inserted; an error response changes nothing.
  const load = async (button, url, swap) => {
    const row = button.closest("tr");
    const next = row.nextElementSibling;
    button.setAttribute("aria-busy", "true");
    await htmx.ajax("GET", url, { source: button, target: row, swap });
    button.removeAttribute("aria-busy");
    return !row.isConnected || row.nextElementSibling !== next;
  };

  const toggle = async (button) => {
    if (button.hasAttribute("aria-busy")) return;
    const isOpen = button.getAttribute("aria-expanded") === "true";
    if (!isOpen && !("loaded" in button.dataset)) {
      if (!(await load(button, button.dataset.branch, "afterend"))) return;
      button.dataset.loaded = "";
    }
    button.setAttribute("aria-expanded", String(!isOpen));
    show(button.closest("tr"), !isOpen);
  };

  const more = async (button) => {
    if (button.hasAttribute("aria-busy")) return;
    const before = button.closest("tr").previousElementSibling;
    if (await load(button, button.dataset.more, "outerHTML")) before?.nextElementSibling?.querySelector("a")?.focus();
  };

  document.addEventListener("click", (event) => {
    const button = event.target instanceof Element ? event.target.closest("button[data-branch], button[data-more]") : null;
    if (!button) return;
    if ("branch" in button.dataset) toggle(button);
    else more(button);
  });

  // Do not refresh while a branch is open.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const live = event.target;
    if (!(live instanceof HTMLElement) || !live.matches("[data-refreshes]")) return;
    if (live.querySelector("button[data-branch][aria-expanded=true]")) event.preventDefault();
  });
})();

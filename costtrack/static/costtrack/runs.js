// Opens the branches of a tree of runs: rows of a table, whose depth says what is below what.
(() => {
  "use strict";

  const depthOf = (row) => Number(row.dataset.depth);
  const isClosed = (row) => Boolean(row.querySelector("button[data-branch][aria-expanded=false]"));

  // Shows or hides what is below a row; branches that were closed before stay closed.
  const show = (row, isOpen) => {
    let closedAt = Infinity;
    for (let next = row.nextElementSibling; next && depthOf(next) > depthOf(row); next = next.nextElementSibling) {
      const isInClosed = depthOf(next) > closedAt;
      next.hidden = !isOpen || isInClosed;
      if (!isInClosed) closedAt = isClosed(next) ? depthOf(next) : Infinity;
    }
  };

  // What came is seen by what has changed: an answer that is an error changes nothing.
  const load = async (button, address, swap) => {
    const row = button.closest("tr");
    const next = row.nextElementSibling;
    button.setAttribute("aria-busy", "true");
    await htmx.ajax("GET", address, { source: button, target: row, swap });
    button.removeAttribute("aria-busy");
    return !row.isConnected || row.nextElementSibling !== next;
  };

  const turn = async (button) => {
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
    if ("branch" in button.dataset) turn(button);
    else more(button);
  });

  // Whoever has opened a branch is reading it: the table is not replaced.
  document.addEventListener("htmx:beforeRequest", (event) => {
    const live = event.target;
    if (!(live instanceof HTMLElement) || !live.matches("[data-refreshes]")) return;
    if (live.querySelector("button[data-branch][aria-expanded=true]")) event.preventDefault();
  });
})();

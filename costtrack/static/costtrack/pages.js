// Every page of the admin: tabs and banners; filters submit on change, and numbers refresh without disturbing the reader.
(() => {
  "use strict";

  // Skip the refresh while the user has focus or a selection inside, or the tab is hidden.
  const isInUse = (live) =>
    document.hidden ||
    (live.contains(document.activeElement) && document.activeElement !== document.body) ||
    Boolean(live.querySelector("details[open]")) ||
    !document.getSelection()?.isCollapsed;

  document.addEventListener("htmx:beforeRequest", (event) => {
    const live = event.target;
    if (live instanceof HTMLElement && live.matches("[data-refreshes]") && isInUse(live)) event.preventDefault();
  });

  // Fields that only apply to one choice of the period.
  const FIELDS_OF = { custom: ["start_date", "end_date"], times: ["start", "end"] };

  const choosePeriod = (form, chosen) => {
    for (const [choice, names] of Object.entries(FIELDS_OF)) {
      form.classList.toggle(`ct-${choice}`, choice === chosen);
      const fields = names.map((name) => form.elements.namedItem(name)).filter(Boolean);
      if (choice !== chosen) for (const field of fields) field.value = "";
      else fields[0]?.focus();
    }
  };

  document.addEventListener("change", (event) => {
    const form = event.target instanceof HTMLElement ? event.target.closest("form[data-filters]") : null;
    if (!form) return;
    if (event.target === form.elements.namedItem("range")) {
      choosePeriod(form, event.target.value);
      if (event.target.value in FIELDS_OF) return;
    }
    if (event.target.matches("select, input[type=checkbox], input[type=radio]")) form.requestSubmit();
  });

  // Leave empty fields out of the URL.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (!(form instanceof HTMLFormElement) || !form.matches("[data-filters]")) return;
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
    setTimeout(() => { for (const field of form.elements) field.disabled = false; });
  });

  // Browsers only offer the clipboard API with TLS; otherwise fall back to execCommand.
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

  // Banners: <div data-dismiss="key">. This browser remembers the keys, so a banner stays away until it has another one.
  const DISMISSED = "costtrack.dismissed";
  const MAX_DISMISSED = 100;

  const dismissedKeys = () => JSON.parse(localStorage.getItem(DISMISSED) ?? "[]");

  const prepareBanners = () => {
    const keys = dismissedKeys();
    for (const banner of document.querySelectorAll("[data-dismiss]")) {
      banner.hidden = keys.includes(banner.dataset.dismiss);
      if (banner.querySelector(".ct-dismiss")) continue;
      const button = document.createElement("button");
      button.type = "button";
      button.className = "ct-dismiss";
      button.textContent = "\u00d7";
      button.setAttribute("aria-label", "Dismiss");
      button.addEventListener("click", () => {
        localStorage.setItem(DISMISSED, JSON.stringify([...dismissedKeys(), banner.dataset.dismiss].slice(-MAX_DISMISSED)));
        banner.hidden = true;
      });
      banner.append(button);
    }
  };
  document.addEventListener("htmx:afterSettle", prepareBanners);

  // On a phone, tabs are one line that scrolls: show the current one.
  const showCurrentTabs = () => {
    for (const tab of document.querySelectorAll(":is(.ct-tabs, .ct-page-tabs) > [aria-current]")) {
      const tabs = tab.parentElement;
      tabs.scrollLeft = tab.offsetLeft - tabs.offsetLeft - (tabs.clientWidth - tab.offsetWidth) / 2;
    }
  };
  document.addEventListener("htmx:afterSettle", showCurrentTabs);
  matchMedia("(width < 64rem)").addEventListener("change", showCurrentTabs);

  const start = () => {
    showCurrentTabs();
    prepareBanners();
    for (const form of document.querySelectorAll("form[data-filters]")) {
      const chosen = form.elements.namedItem("range")?.value;
      for (const [choice, [first]] of Object.entries(FIELDS_OF)) {
        form.classList.toggle(`ct-${choice}`, chosen === choice || Boolean(form.elements.namedItem(first)?.value));
      }
    }
  };
  if (document.readyState === "loading") document.addEventListener("DOMContentLoaded", start);
  else start();
})();

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

// Hides the fields of a form that do not apply to the values of other fields. A field's data-shown-if lists conditions,
// separated by spaces, which must all hold: "window=calendar_month|calendar_quarter", "scope_value=" (empty) or
// "scope!organization" (another value). A hidden field gets its first value back, so that the server does not refuse an
// invisible value. Without scripts all fields are shown; the server says which ones do not apply.

(() => {
  "use strict";

  const CONDITION = /^(\w+)([=!])(.*)$/;

  function isShown(form, element) {
    return element.dataset.shownIf.split(" ").every((text) => {
      const [, name, operator, values] = CONDITION.exec(text);
      const other = form.elements[name];
      if (!other) {
        return true;
      }
      return values.split("|").includes(other.value.trim()) === (operator === "=");
    });
  }

  function reset(element) {
    if (element.options) {
      for (const option of element.options) {
        option.selected = option.defaultSelected;
      }
    } else {
      element.value = element.defaultValue;
    }
  }

  function update(form, elements) {
    for (const element of elements) {
      const row = element.closest(".form-row") ?? element.parentElement;
      const isWrong = row.querySelector(".errorlist") !== null;
      row.hidden = !isWrong && !isShown(form, element);
      if (row.hidden) {
        reset(element);
      }
    }
    for (const fieldset of form.querySelectorAll("fieldset")) {
      const rows = [...fieldset.querySelectorAll(".form-row")];
      fieldset.hidden = rows.length > 0 && rows.every((row) => row.hidden);
    }
  }

  document.addEventListener("DOMContentLoaded", () => {
    for (const form of document.forms) {
      const elements = [...form.querySelectorAll("[data-shown-if]")];
      if (elements.length > 0) {
        update(form, elements);
        for (const event of ["input", "change"]) {
          form.addEventListener(event, () => update(form, elements));
        }
      }
    }
  });
})();

// Hides the fields of a form that do not apply to the values of other fields. A field's data-shown-if lists conditions,
// separated by spaces, which must all hold: "window=calendar_month|calendar_quarter", "scope_value=" (empty) or
// "scope!organization" (another value). A hidden field gets its first value back, so that the server does not refuse an
// invisible value. Without scripts all fields are shown; the server says which ones do not apply.
"use strict";

(() => {
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

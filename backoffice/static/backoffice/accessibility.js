// What the theme leaves out for screen readers. Its icons are words that a font draws ("chevron_right"), which would be
// read out; one that is all that names its button stays.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  for (const icon of document.querySelectorAll(".material-symbols-outlined:not([aria-hidden])")) {
    const control = icon.closest("a, button");
    const isNamedOtherwise =
      !control || control.title || control.ariaLabel || control.textContent.trim() !== icon.textContent.trim();
    if (isNamedOtherwise) {
      icon.ariaHidden = "true";
    }
  }
  // The theme does not say where the page's own part begins either.
  const content = document.getElementById("content");
  if (content) {
    content.role = "main";
  }
  // What only the mouse could press: the filters of lists, the menu of the user.
  for (const control of document.querySelectorAll("[x-on\\:click].cursor-pointer:not(button, [href])")) {
    control.role = "button";
    control.tabIndex = 0;
    control.addEventListener("keydown", (event) => {
      if (event.target === control && (event.key === "Enter" || event.key === " ")) {
        event.preventDefault();
        control.click();
      }
    });
  }
});

// Fields that the theme leaves without a name: choices drawn by a script have that of the field they stand for, fields in
// tables that of their column.
function nameFields() {
  for (const box of document.querySelectorAll(".select2-selection, .select2-search__field")) {
    const label = box.closest(".select2-container").previousElementSibling?.labels?.[0];
    if (label) {
      label.id ||= `${label.htmlFor}-label`;
      const value = box.querySelector("[role=textbox]");
      value?.setAttribute("aria-labelledby", label.id);
      box.setAttribute("aria-labelledby", `${label.id} ${value?.id ?? ""}`.trim());
    }
  }
  for (const field of document.querySelectorAll("td :is(input, select, textarea, .select2-selection)")) {
    const cell = field.closest("td");
    const column = cell.closest("table").tHead?.rows[0]?.cells[cell.cellIndex];
    if (column && !field.labels?.length && !field.ariaLabel && field.type !== "hidden") {
      field.removeAttribute("aria-labelledby");
      field.ariaLabel = column.innerText.replace(/\bhelp\b|\*/g, "").trim();
    }
  }
  // The menu beside a choice, which has an icon only, has the name of the choice.
  for (const menu of document.querySelectorAll(".related-widget-wrapper [role=button]")) {
    const field = menu.closest(".related-widget-wrapper").querySelector("select, input");
    menu.ariaLabel = `${field?.labels?.[0]?.innerText ?? field?.ariaLabel ?? ""} …`;
  }
  document.querySelectorAll("span.help-tooltip[aria-label]").forEach((tooltip) => (tooltip.role = "img"));
}

// The scripts that draw them may come after this one, and rows are added later.
window.addEventListener("load", () => {
  nameFields();
  const form = document.querySelector("#content form");
  if (form) {
    new MutationObserver(nameFields).observe(form, { childList: true, subtree: true });
  }
});

// The theme's icons are words that a font draws ("chevron_right"): screen readers would read them out. One that is all
// that names its button stays.
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
});

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
});

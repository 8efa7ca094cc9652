// An element with data-live-seconds and an id renews itself from its own page; a hidden tab rests.
"use strict";

function keepLive(element) {
  const seconds = Number(element.dataset.liveSeconds);
  if (!seconds) {
    return;
  }
  setTimeout(async () => {
    if (document.hidden) {
      keepLive(element);
      return;
    }
    try {
      const answer = await fetch(element.dataset.liveUrl || location.href, { headers: { "X-Live": element.id } });
      const page = new DOMParser().parseFromString(await answer.text(), "text/html");
      const renewed = page.getElementById(element.id);
      if (answer.ok && renewed) {
        const focused = element.contains(document.activeElement) && document.activeElement.getAttribute("href");
        element.replaceWith(document.adoptNode(renewed));
        if (focused) {
          renewed.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus();
        }
        keepLive(renewed);
        return;
      }
    } catch {
      // the server is away for a moment: what is shown stays, and the next turn asks again
    }
    keepLive(element);
  }, seconds * 1000);
}

document.addEventListener("DOMContentLoaded", () => {
  document.querySelectorAll("[data-live-seconds][id]").forEach(keepLive);
});

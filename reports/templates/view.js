"use strict";
// Asks the server for this page again and again, and shows what has changed. What the server sends has every text escaped, and
// scripts in a parsed page do not run.
(() => {
  const EVERY = 2000; // ms; a hidden page asks less often
  const status = document.getElementById("view-status");
  const follow = async () => {
    let there = true;
    try {
      const answer = await fetch(location.pathname, { cache: "no-store" });
      there = answer.ok;
      if (there) {
        const page = new DOMParser().parseFromString(await answer.text(), "text/html");
        const [before, now] = [document, page].map((one) => one.getElementById("main"));
        if (before.dataset.shown !== now.innerHTML) {
          now.dataset.shown = now.innerHTML;
          before.replaceWith(document.adoptNode(now));
        }
      }
    } catch {
      there = false;
    }
    status.textContent = there ? "This page follows the runs." : "bench view has ended: this is what it showed last.";
    setTimeout(follow, document.hidden ? 5 * EVERY : EVERY);
  };
  setTimeout(follow, EVERY);
})();

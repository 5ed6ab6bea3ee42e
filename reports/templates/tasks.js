"use strict";
// The leaderboard of one task, or of all.
(() => {
  const box = document.getElementById("tasks");
  const sections = [...document.querySelectorAll("section[data-task]")];
  document.getElementById("tasks-label").hidden = sections.length < 2;
  box.addEventListener("change", () => {
    for (const section of sections) section.hidden = box.value !== "" && section.dataset.task !== box.value;
  });
})();

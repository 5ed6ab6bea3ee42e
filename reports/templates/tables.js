"use strict";
// Sorting by a click on a heading: numbers as numbers, words as words, cells without a value last either way.
for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  const collator = new Intl.Collator("en", { numeric: true });
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.setAttribute("aria-sort", "none"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const numeric = head.classList.contains("n");
      const value = (row) => row.cells[column].dataset.sort;
      const rows = [...table.tBodies[0].rows];
      rows.sort((a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const order = numeric ? x - y : collator.compare(x, y);
        return down ? -order : order;
      });
      table.tBodies[0].append(...rows);
    });
  });
}

// On a narrow screen a chart is scrolled, too.
for (const figure of document.querySelectorAll("figure")) {
  const sign = document.createElement("p");
  sign.className = "out-of-sight no-print";
  sign.textContent = "the chart goes on to the right →";
  sign.hidden = true;
  figure.before(sign);
  const look = () => {
    sign.hidden = figure.scrollLeft + figure.clientWidth >= figure.scrollWidth - 2;
  };
  figure.addEventListener("scroll", () => requestAnimationFrame(look), { passive: true });
  new ResizeObserver(look).observe(figure);
}

// A table that is wider than its place says how many columns are out of sight.
for (const box of document.querySelectorAll(".wide")) {
  const head = box.querySelector("thead");
  if (!head) continue;
  const sign = document.createElement("p");
  sign.className = "out-of-sight no-print";
  sign.hidden = true;
  const place = document.createElement("div"); // both in one, as a grid of tables counts its children
  place.className = "with-sign";
  box.replaceWith(place);
  place.append(sign, box);
  const look = () => {
    const edge = box.getBoundingClientRect().right + 1;
    const hidden = [...head.rows[0].cells].filter((cell) => cell.getBoundingClientRect().right > edge).length;
    sign.hidden = hidden === 0;
    sign.textContent = `${hidden} more column${hidden === 1 ? "" : "s"} to the right →`;
  };
  box.addEventListener("scroll", () => requestAnimationFrame(look), { passive: true });
  new ResizeObserver(look).observe(box);
}

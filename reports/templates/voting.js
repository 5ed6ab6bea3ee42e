"use strict";
// Blind votes on two answers. Texts are foreign: they enter the page through textContent only.
(async () => {
  const byId = (id) => document.getElementById(id);
  const bytes = Uint8Array.from(atob(byId("v-data").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  const data = await new Response(stream).json();
  const key = `bench-votes ${data.run} ${data.a} ${data.b}`;
  const votes = remembered();
  let at = Math.min(votes.length, data.rows.length);

  function remembered() {
    try {
      return JSON.parse(localStorage.getItem(key)) ?? [];
    } catch {
      return []; // no storage for local files: then the votes live as long as the page
    }
  }

  function remember() {
    try {
      localStorage.setItem(key, JSON.stringify(votes));
    } catch { /* as above */ }
  }

  function node(tag, className, text) {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  }

  function show() {
    const done = at >= data.rows.length;
    byId("v-row").hidden = done;
    byId("v-save").disabled = votes.length === 0;
    byId("v-status").textContent = done
      ? `All ${data.rows.length} rows are judged. Save the votes now.`
      : `Row ${at + 1} of ${data.rows.length}`;
    if (done) return;
    const row = data.rows[at];
    byId("v-prompt").replaceChildren(...row.prompt.flatMap((m) => [node("p", "role", m.role), node("pre", "", m.text)]));
    byId("v-first").textContent = row.answers[0] || "(empty)";
    byId("v-second").textContent = row.answers[1] || "(empty)";
  }

  function press(name) {
    if (name === "Backspace") {
      if (at > 0) votes.length = --at;
    } else if (at < data.rows.length && ["0", "1", "2"].includes(name)) {
      const row = data.rows[at];
      const second = row.first === "a" ? "b" : "a";
      votes[at++] = { n: row.n, id: row.id, choice: { 0: "tie", 1: row.first, 2: second }[name], first: row.first };
    } else return false;
    remember();
    show();
    return true;
  }

  document.addEventListener("keydown", (event) => {
    if (event.target.matches("input") || event.ctrlKey || event.metaKey || event.altKey) return;
    if (press(event.key)) event.preventDefault();
  });
  for (const button of document.querySelectorAll("[data-key]")) {
    button.addEventListener("click", () => press(button.dataset.key));
  }
  byId("v-save").addEventListener("click", () => {
    const by = byId("v-name").value.trim() || "anonymous";
    const file = { schema: 1, run: data.run, a: data.a, b: data.b, by, votes };
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([JSON.stringify(file, null, 1)], { type: "application/json" }));
    link.download = `votes-${data.run}-${by}.json`.replace(/[^\w.-]+/g, "_");
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  });
  show();
})();

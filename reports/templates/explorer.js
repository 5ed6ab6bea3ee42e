"use strict";
// The row explorer. Texts are foreign: they enter the page through textContent only.
(() => {
  const byId = (id) => document.getElementById(id);
  const source = byId("rows-data");
  if (!source || !("DecompressionStream" in window)) return;

  const HEIGHTS = { list: 52, matrix: 32 }; // px of a row, as in the style sheet
  let ROW = HEIGHTS.list;
  const TALLEST = 12e6; // px: browsers cut off much taller boxes, so very long lists scroll in proportion
  const [MISSING, ERROR, RIGHT, WRONG, PARTLY, UNSCORED] = [0, 1, 2, 3, 4, 5];
  const SIGN = ["–", "⚡", "✓", "✗", "≈", "·"];
  const TONE = ["", "even", "good", "bad", "even", ""];
  const list = byId("x-list");
  const space = list.firstElementChild;
  const detail = byId("x-detail");
  let data = null;
  let found = new Int32Array(0);
  let chosen = -1; // position in `found`
  let small = null; // texts in lower case, for searching

  const make = (tag, className, text) => {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const address = (id) => `#row=${encodeURIComponent(id)}`;
  const value = (column, row) => (column.codes[row] < 0 ? null : column.values[column.codes[row]]);

  async function unpack() {
    const text = source.textContent;
    const bytes = Uint8Array.fromBase64 ? Uint8Array.fromBase64(text) : Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
    source.remove();
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    const read = await new Response(stream).json();
    for (const backend of read.backends) {
      backend.verdict = Uint8Array.from(backend.verdict);
      backend.texts.codes = Int32Array.from(backend.texts.codes);
      backend.kinds.codes = Int32Array.from(backend.kinds.codes);
      backend.learned = new Set(backend.learned);
      backend.apart = new Set(backend.apart);
    }
    return read;
  }

  const tone = (b, row) => (b.verdict[row] === UNSCORED && b.kinds.codes[row] >= 0 ? "bad" : TONE[b.verdict[row]]);

  // ---- filters ---------------------------------------------------------------------------------------------

  const choice = (id) => byId(id).value;
  const backendsAsked = () => {
    const name = choice("x-backend");
    return name === "" ? data.backends : [data.backends[name]];
  };

  function test() {
    const show = choice("x-show");
    const asked = backendsAsked();
    const kind = choice("x-kind");
    const mine = data.backends[choice("x-backend") || 0];
    const other = data.backends[choice("x-other") || 0];
    const some = (rule) => (row) => asked.some((b) => rule(b, row));
    const ofKind = (b, row) => b.kinds.codes[row] >= 0 && (kind === "" || b.kinds.values[b.kinds.codes[row]] === kind);
    const wrong = (b, row) => b.verdict[row] === WRONG || b.verdict[row] === PARTLY;
    const differ = (pick) => (row) => data.backends.some((b) => pick(b, row) !== pick(data.backends[0], row));
    const scored = (b, row) => b.verdict[row] === RIGHT || wrong(b, row);
    return {
      all: () => true,
      flipped: (row) =>
        data.backends.some((b) => b.verdict[row] === RIGHT) && data.backends.some((b) => scored(b, row) && b.verdict[row] !== RIGHT),
      wrong: some(wrong),
      format: some((b, row) => b.verdict[row] !== ERROR && ofKind(b, row)),
      error: some((b, row) => b.verdict[row] === ERROR && ofKind(b, row)),
      disagree: differ((b, row) => b.verdict[row]),
      differ: differ((b, row) => value(b.texts, row)),
      won: (row) => mine.verdict[row] === RIGHT && wrong(other, row),
      lost: (row) => wrong(mine, row) && other.verdict[row] === RIGHT,
      both: (row) => wrong(mine, row) && wrong(other, row),
      learned: some((b, row) => b.learned.has(row)),
      apart: some((b, row) => b.apart.has(row)),
    }[show];
  }

  function lower() {
    small ??= {
      own: data.own.map((own) => (own ? own.join("\n").toLowerCase() : "")),
      texts: data.backends.map((b) => b.texts.values.map((t) => t.toLowerCase())),
      references: data.references.values.map((t) => t.toLowerCase()),
    };
  }

  function searcher() {
    const words = choice("x-search").trim().toLowerCase();
    if (!words) return () => true;
    lower();
    const hits = small.texts.map((values) => Uint8Array.from(values, (t) => t.includes(words)));
    const references = Uint8Array.from(small.references, (t) => t.includes(words));
    return (row) =>
      small.own[row].includes(words) ||
      references[data.references.codes[row]] === 1 ||
      data.backends.some((b, i) => b.texts.codes[row] >= 0 && hits[i][b.texts.codes[row]] === 1) ||
      data.ids[row].startsWith(words);
  }

  function pickers() {
    const picked = [];
    for (const select of document.querySelectorAll("#x-reference, #x-columns select")) {
      if (select.value === "") continue;
      const column = select.id === "x-reference" ? data.references : data.columns[select.dataset.column];
      const code = Number(select.value);
      picked.push((row) => column.codes[row] === code);
    }
    const answer = choice("x-answer");
    if (answer !== "") picked.push((row) => backendsAsked().some((b) => value(b.texts, row) === answer));
    const length = choice("x-length");
    if (length !== "") {
      const [least, most] = length.split("-").map(Number);
      picked.push((row) => data.lengths[row] >= least && data.lengths[row] <= most);
    }
    return picked;
  }

  function sure() {
    if (choice("x-sure") === "") return () => true;
    const [from, to] = choice("x-sure").split(" ").map(Number);
    const asked = backendsAsked().filter((b) => b.confidence);
    return (row) => asked.some((b) => b.confidence[row] >= from && b.confidence[row] < to);
  }

  function filter() {
    const rules = [test(), sure(), ...pickers(), searcher()];
    const rows = [];
    for (let row = 0; row < data.ids.length; row++) if (rules.every((rule) => rule(row))) rows.push(row);
    const before = chosen >= 0 ? found[chosen] : -1;
    found = Int32Array.from(rows);
    chosen = found.indexOf(before);
    const all = data.ids.length;
    byId("x-status").textContent = found.length === all
      ? `${all.toLocaleString("en")} rows`
      : `${found.length.toLocaleString("en")} of ${all.toLocaleString("en")} rows`;
    space.style.height = `${Math.min(found.length * ROW, TALLEST)}px`;
    list.scrollTop = 0;
    if (chosen >= 0) {
      reveal();
      paint();
    } else if (found.length) {
      choose(0, false);
    } else {
      paint();
      detail.replaceChildren(make("p", "status", "No row is like that."));
    }
  }

  function adjust() {
    const show = choice("x-show");
    const pair = ["won", "lost", "both"].includes(show);
    byId("x-other-label").hidden = !pair;
    if (pair && choice("x-backend") === "") byId("x-backend").value = "0";
    if (pair && choice("x-backend") === choice("x-other")) {
      byId("x-other").value = String(data.backends.findIndex((_, i) => String(i) !== choice("x-backend")));
    }
    const kinds = new Set();
    if (show === "format" || show === "error") {
      for (const b of data.backends) {
        b.kinds.values.forEach((k, code) => {
          const row = b.kinds.codes.indexOf(code);
          if (row >= 0 && (b.verdict[row] === ERROR) === (show === "error")) kinds.add(k);
        });
      }
    }
    byId("x-kind-label").hidden = kinds.size < 2;
    const before = choice("x-kind");
    fill(byId("x-kind"), [["", "any"], ...[...kinds].sort().map((k) => [k, k])]);
    if (kinds.has(before)) byId("x-kind").value = before;
  }

  function fill(select, options) {
    select.replaceChildren(...options.map(([key, text]) => {
      const option = make("option", "", text);
      option.value = key;
      return option;
    }));
  }

  // ---- the list --------------------------------------------------------------------------------------------

  const span = () => Math.max(1, space.clientHeight - list.clientHeight);
  const stretched = () => found.length * ROW > TALLEST;

  function paint() {
    const room = Math.ceil(list.clientHeight / ROW);
    const first = stretched()
      ? Math.round((list.scrollTop / span()) * Math.max(0, found.length - room))
      : Math.max(0, Math.floor(list.scrollTop / ROW) - 4);
    const last = Math.min(found.length, first + room + 8);
    const rows = [];
    for (let at = first; at < last; at++) {
      const node = line(at);
      node.style.transform = `translateY(${stretched() ? list.scrollTop + (at - first) * ROW : at * ROW}px)`;
      rows.push(node);
    }
    space.replaceChildren(...rows);
    if (chosen >= first && chosen < last) list.setAttribute("aria-activedescendant", `x-row-${chosen}`);
    else list.removeAttribute("aria-activedescendant");
  }

  function ownText(row) {
    const own = data.own[row];
    if (own === null) return "(text left out)";
    if (own.length) return own.join(" / ");
    const frame = data.frames[data.frame ? data.frame[row] : 0];
    return frame ? frame.pieces.at(-1).join(" ") : "(text left out)";
  }

  const matrix = () => choice("x-view") === "matrix";
  const number = (row) => String(data.numbers ? data.numbers[row] : row);

  // A row of the matrix: text, reference, and a coloured cell for each candidate.
  function cells(row) {
    const parts = [make("span", "n", number(row)), make("span", "", ownText(row).slice(0, 200))];
    parts.push(make("span", "wanted", (value(data.references, row) ?? "–").slice(0, 60)));
    for (const b of data.backends) {
      const text = value(b.kinds, row) ?? value(b.texts, row) ?? "";
      const cell = make("span", `cell ${tone(b, row)}`, `${SIGN[b.verdict[row]]} ${text.slice(0, 60)}`);
      cell.title = `${b.name}: ${data.verdicts[b.verdict[row]]}`;
      parts.push(cell);
    }
    return parts;
  }

  function line(at) {
    const row = found[at];
    const node = make("div", "row");
    node.id = `x-row-${at}`;
    node.setAttribute("role", "option");
    node.setAttribute("aria-selected", String(at === chosen));
    node.setAttribute("aria-setsize", found.length);
    node.setAttribute("aria-posinset", at + 1);
    node.dataset.at = at;
    if (matrix()) {
      node.append(...cells(row));
      return node;
    }
    const top = make("div");
    top.append(make("span", "n", number(row)), ownText(row).slice(0, 300));
    const below = make("div", "verdicts");
    for (const b of data.backends) {
      const text = value(b.kinds, row) ?? value(b.texts, row) ?? "";
      const one = make("span", tone(b, row), `${SIGN[b.verdict[row]]} ${text.slice(0, 40)}`);
      one.title = `${b.name}: ${data.verdicts[b.verdict[row]]}`;
      below.append(one);
    }
    node.append(top, below);
    return node;
  }

  function reveal() {
    if (stretched()) {
      const room = Math.ceil(list.clientHeight / ROW);
      list.scrollTop = (chosen / Math.max(1, found.length - room)) * span();
    } else if (chosen * ROW < list.scrollTop) {
      list.scrollTop = chosen * ROW;
    } else if ((chosen + 1) * ROW > list.scrollTop + list.clientHeight) {
      list.scrollTop = (chosen + 1) * ROW - list.clientHeight;
    }
  }

  function choose(at, note = true) {
    if (at < 0 || at >= found.length) return;
    chosen = at;
    reveal();
    paint();
    tell(found[at]);
    if (note) history.replaceState(null, "", address(data.ids[found[at]]));
  }

  // ---- one row ---------------------------------------------------------------------------------------------

  function tell(row) {
    const reference = value(data.references, row);
    const head = make("h3");
    const link = make("a", "", `Row ${number(row)}`);
    link.href = address(data.ids[row]);
    head.append(link, ` · ${data.ids[row]}`);
    const parts = [head, copier(row)];
    const facts = Object.entries(data.columns).map(([name, column]) => `${name}: ${value(column, row) ?? "–"}`);
    if (facts.length) parts.push(make("p", "small", facts.join(" · ")));
    if (data.own[row] && data.own[row].length) for (const text of data.own[row]) parts.push(make("p", "text", text));
    parts.push(prompt(row));
    const wanted = make("div", "answer");
    wanted.append(title("reference", ""), make("div", "text", reference || "(none)"));
    const answers = make("div", "answers");
    answers.append(wanted, ...data.backends.map((b) => answer(b, row, reference)));
    parts.push(answers);
    detail.replaceChildren(...parts);
    detail.scrollTop = 0;
  }

  // The row as a line of a data file: its own texts and the columns of the data by their names, and the right answer.
  function testCase(row) {
    const own = data.own[row];
    if (!own) return null;
    const named = data.inputs.length === own.length && own.length > 0;
    const fields = named ? Object.fromEntries(own.map((text, i) => [data.inputs[i], text])) : { text: ownText(row) };
    for (const [name, column] of Object.entries(data.columns)) if (!(name in fields)) fields[name] = value(column, row);
    fields[data.labelled ? "label" : "reference"] = value(data.references, row);
    return JSON.stringify(fields);
  }

  function copier(row) {
    const text = testCase(row);
    const box = make("p", "small");
    if (text === null) return box;
    const button = make("button", "plain", "Copy as test case");
    button.type = "button";
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(text);
        button.textContent = "Copied: a line for a .jsonl file of rows";
      } catch {
        box.replaceChildren(make("pre", "", text)); // a browser that gives no clipboard to a file
      }
    });
    box.append(button);
    return box;
  }

  function title(left, right, tone) {
    const head = make("h4", "", "");
    head.append(make("span", "", left), make("span", tone ?? "", right));
    return head;
  }

  function prompt(row) {
    const frame = data.frames[data.frame ? data.frame[row] : 0];
    const box = make("details");
    box.append(make("summary", "", "The whole prompt"));
    if (!frame || !data.own[row]) {
      box.append(make("p", "small", "Left out of this file; it is in the run directory."));
      return box;
    }
    let next = 0;
    frame.roles.forEach((role, i) => {
      const text = make("pre");
      frame.pieces[i].forEach((piece, k) => {
        if (k > 0) text.append(make("mark", "", data.own[row][next++]));
        text.append(piece);
      });
      box.append(make("p", "role", role), text);
    });
    return box;
  }

  function answer(b, row, reference) {
    const code = b.verdict[row];
    const kind = value(b.kinds, row);
    const box = make("div", "answer");
    box.append(title(b.name, `${SIGN[code]} ${data.verdicts[code]}${kind ? ` (${kind})` : ""}`, tone(b, row)));
    const text = value(b.texts, row);
    const thoughts = b.reasonings[row];
    if (thoughts) {
      const folded = make("details");
      folded.append(make("summary", "", `Reasoning (${thoughts.length.toLocaleString("en")} characters)`), make("div", "text", thoughts));
      box.append(folded);
    }
    const told = code === MISSING ? "(no answer)" : b.texts.codes[row] < 0 ? "(text left out)" : text || "(empty)";
    const against = choice("x-diff");
    const base = against === "" ? null : against === "reference" ? reference : value(data.backends[against].texts, row);
    box.append(text && base !== null && code !== ERROR ? marked(base, text) : make("div", "text", told));
    for (const [more, verdict] of b.repeats[row] ?? []) {
      box.append(make("div", "text", `${SIGN[verdict]} ${more || "(empty)"}`));
    }
    if (code !== MISSING && code !== ERROR) {
      const said = b.confidence && b.confidence[row] >= 0 ? ` · confidence ${(b.confidence[row] / 1000).toFixed(3)}` : "";
      box.append(make("p", "facts", `${b.ms[row].toLocaleString("en")} ms · ${b.tokens[row].toLocaleString("en")} tokens${said}`));
    }
    return box;
  }

  function marked(from, to) {
    const box = make("div", "text");
    for (const [kind, words] of diffWords(from, to)) box.append(kind === "same" ? words : make(kind, "", words));
    return box;
  }

  // ---- life ------------------------------------------------------------------------------------------------

  function furnish() {
    const named = data.backends.map((b, i) => [String(i), b.name]);
    fill(byId("x-backend"), [["", "any"], ...named]);
    fill(byId("x-other"), named);
    for (const [key, name] of named) {
      const option = make("option", "", name);
      option.value = key;
      byId("x-diff").append(option);
    }
    const codes = (column) => column.values.map((v, i) => [String(i), v || "(empty)"]).sort((a, b) => (a[1] < b[1] ? -1 : 1));
    const offers = (column) =>
      column.values.length > 1 && column.values.length <= data.few && column.values.every((v) => v.length <= data.short);
    if (offers(data.references)) {
      fill(byId("x-reference"), [["", "any"], ...codes(data.references)]);
      byId("x-reference-label").hidden = false;
    } else fill(byId("x-reference"), [["", "any"]]);
    const answers = [...new Set(data.backends.flatMap((b) => b.texts.values))].sort();
    const listed = data.backends.every((b) => offers(b.texts) || b.texts.values.length < 2) && answers.length <= data.few;
    fill(byId("x-answer"), [["", "any"], ...(listed ? answers.filter((t) => t).map((t) => [t, t]) : [])]);
    byId("x-answer-label").hidden = !listed || answers.length < 2;
    fill(byId("x-length"), lengths());
    byId("x-length-label").hidden = byId("x-length").options.length < 3;
    for (const [name, column] of Object.entries(data.columns)) {
      if (!offers(column)) continue;
      const label = make("label", "", name);
      const select = make("select");
      select.dataset.column = name;
      fill(select, [["", "any"], ...codes(column)]);
      select.addEventListener("change", filter);
      label.append(select);
      byId("x-columns").append(label);
    }
    byId("x-sure-label").hidden = !data.backends.some((b) => b.confidence);
    for (const mark of ["learned", "apart"]) {
      if (!data.backends.some((b) => b[mark].size)) byId("x-show").querySelector(`[value="${mark}"]`).remove();
    }
    if (data.backends.length < 2) byId("x-show").querySelector('[value="flipped"]').remove();
    byId("x-show").value = byId("explorer").dataset.show || "all";
    arrange();
    adjust();
  }

  // Four ranges of characters that hold about as many rows each.
  function lengths() {
    const sorted = [...data.lengths].sort((a, b) => a - b);
    const ends = [1, 2, 3, 4].map((k) => sorted[Math.ceil((k * sorted.length) / 4) - 1]);
    const ranges = [...new Set(ends)].map((most, i, all) => [i ? all[i - 1] + 1 : sorted[0], most]);
    const shown = ranges.map(([least, most]) => [`${least}-${most}`, `${least.toLocaleString("en")}–${most.toLocaleString("en")} characters`]);
    return [["", "any"], ...(ranges.length > 1 ? shown : [])];
  }

  function arrange() {
    const wide = matrix();
    ROW = HEIGHTS[wide ? "matrix" : "list"];
    byId("x-panes").classList.toggle("matrix", wide);
    byId("x-panes").style.setProperty("--candidates", data.backends.length);
    const names = data.backends.map((b) => make("span", "", b.name));
    byId("x-names").replaceChildren(...(wide ? ["", "row", "reference"].map((t) => make("span", "", t)) : []), ...names);
  }

  function listen() {
    byId("x-view").addEventListener("change", () => {
      arrange();
      filter();
    });
    for (const id of ["x-show", "x-backend", "x-other"]) byId(id).addEventListener("change", () => { adjust(); filter(); });
    for (const id of ["x-kind", "x-reference", "x-answer", "x-length", "x-sure"]) byId(id).addEventListener("change", filter);
    byId("x-diff").addEventListener("change", () => chosen >= 0 && tell(found[chosen]));
    let timer = 0;
    byId("x-search").addEventListener("input", () => {
      clearTimeout(timer);
      timer = setTimeout(filter, 60);
    });
    list.addEventListener("scroll", () => requestAnimationFrame(paint), { passive: true });
    list.addEventListener("click", (event) => {
      const row = event.target.closest(".row");
      if (row) choose(Number(row.dataset.at));
    });
    new ResizeObserver(paint).observe(list);
    byId("explorer").addEventListener("keydown", key);
    window.addEventListener("hashchange", () => follow());
  }

  function key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const typing = event.target.matches("input, select");
    const page = Math.max(1, Math.floor(list.clientHeight / ROW) - 1);
    const inList = event.target === list;
    const moves = { ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -found.length, End: found.length };
    if (inList && event.key in moves) choose(Math.min(found.length - 1, Math.max(0, chosen + moves[event.key])));
    else if (!typing && event.key === "j") choose(Math.min(found.length - 1, chosen + 1));
    else if (!typing && event.key === "k") choose(Math.max(0, chosen - 1));
    else if (!typing && event.key === "/") byId("x-search").focus();
    else if (!typing && event.key === "f") byId("x-show").focus();
    else if (event.key === "Escape" && typing) list.focus();
    else return;
    event.preventDefault();
  }

  function follow() {
    const row = data.ids.findIndex((id) => location.hash === address(id));
    if (row < 0) return false;
    let at = found.indexOf(row);
    if (at < 0) {
      for (const id of ["x-show", "x-search", "x-reference", "x-answer", "x-length", "x-sure"]) byId(id).value = id === "x-show" ? "all" : "";
      for (const select of document.querySelectorAll("#x-columns select")) select.value = "";
      adjust();
      filter();
      at = found.indexOf(row);
    }
    choose(at, false);
    byId("rows").scrollIntoView();
    return true;
  }

  let opened = false;
  async function open() {
    if (opened) return;
    opened = true;
    byId("x-wait").hidden = false;
    data = await unpack();
    byId("x-wait").hidden = true;
    byId("static-rows").hidden = true;
    byId("explorer").hidden = false;
    furnish();
    listen();
    filter();
    follow();
    document.documentElement.dataset.rows = "ready";
    setTimeout(lower, 0); // so that the first search does not wait for it
  }

  if (/^#row=/.test(location.hash)) open();
  else {
    new IntersectionObserver((entries, observer) => {
      if (entries.some((e) => e.isIntersecting)) {
        observer.disconnect();
        open();
      }
    }, { rootMargin: "800px" }).observe(byId("rows"));
  }
})();

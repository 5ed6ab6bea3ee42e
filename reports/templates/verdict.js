// Savings a month follow the volume that the reader names; without a script the first volume stands.
(() => {
  const field = document.getElementById("volume");
  const shown = document.getElementById("saved");
  if (!field || !shown) return;
  const each = Number(shown.dataset.each);
  field.addEventListener("input", () => {
    const requests = Number(field.value);
    if (!Number.isFinite(requests) || requests < 0) return;
    const usd = each * requests;
    const size = Math.abs(usd);
    const text = size >= 0.095 || size === 0
      ? size.toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 })
      : size.toPrecision(2);
    shown.textContent = `$${text}`; // the heading says whether it is saved or spent
  });
})();

// SPDX-License-Identifier: GPL-2.0-only
"use strict";
(() => {
  const all = (query, root = document) => [...root.querySelectorAll(query)];
  const status = document.getElementById("status");

  // What needs this script is hidden without it.
  all(".filters, .bar, [data-copy]").forEach((part) => { part.hidden = false; });

  // A link into a folded part opens it, and all around it.
  const reveal = () => {
    let part = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!part) return;
    const target = part;
    for (; part; part = part.parentElement) if (part.tagName === "DETAILS") part.open = true;
    target.scrollIntoView();
    const summary = target.querySelector("summary");
    if (summary) summary.focus({ preventScroll: true });
  };
  addEventListener("hashchange", reveal);
  all('a[href^="#"]').forEach((link) => link.addEventListener("click", () => {
    if (link.hash === location.hash) reveal();
  }));
  reveal();

  all("[data-all]").forEach((button) => button.addEventListener("click", () => {
    all("main > details").forEach((part) => { part.open = button.dataset.all === "open"; });
  }));
  addEventListener("beforeprint", () => all("main > details").forEach((part) => { part.open = true; }));

  all("[data-copy]").forEach((button) => button.addEventListener("click", async () => {
    const code = button.previousElementSibling;
    let done = true;
    try {
      await navigator.clipboard.writeText(code.textContent);
    } catch {
      // Not allowed where the page comes from: then it is at least selected.
      getSelection().selectAllChildren(code);
      done = false;
    }
    button.textContent = done ? "Copied" : "Selected";
    status.textContent = done ? "Command copied" : "Command selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  }));

  const find = document.getElementById("find");
  if (!find) return;
  const rows = all(".rows > li", find.closest("details"));
  const buttons = all(".filters [data-kind]");
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const kinds = rows.map((row) => row.dataset.kinds.split(" "));
  const shown = document.getElementById("shown");
  const filter = () => {
    const words = find.value.toLowerCase().split(/\s+/).filter(Boolean);
    const asked = buttons.filter((button) => button.ariaPressed === "true").map((button) => button.dataset.kind);
    let count = 0;
    rows.forEach((row, place) => {
      const fits = words.every((word) => texts[place].includes(word))
        && (!asked.length || asked.some((kind) => kinds[place].includes(kind)));
      row.hidden = !fits;
      count += fits;
    });
    shown.textContent = `${count} of ${rows.length}`;
  };
  find.addEventListener("input", filter);
  buttons.forEach((button) => button.addEventListener("click", () => {
    button.ariaPressed = button.ariaPressed === "true" ? "false" : "true";
    filter();
  }));
})();

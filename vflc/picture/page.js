// A page of its own: pictures of several depths, of which one is shown, and the spec beside it.
"use strict";
(function () {
  const byId = (id) => document.getElementById(id);
  const frame = byId("frame");
  const levels = Array.from(document.querySelectorAll(".level"));
  const source = byId("source");
  let shown = -1;
  let picture = null;

  function show(number) {
    if (number < 0 || number >= levels.length || number === shown) return;
    if (picture) picture.dispose();
    levels.forEach((level, index) => { level.hidden = index !== number; });
    shown = number;
    picture = globalThis.vflGraph(levels[number].querySelector("svg"), { frame });
    byId("less").disabled = number === 0;
    byId("more").disabled = number === levels.length - 1;
  }

  // The folded block that a block is, or lies in, in a picture; undefined where it is unfolded.
  function foldedIn(level, block) {
    const names = Array.from(level.querySelectorAll('[data-folded="true"]'), (box) => box.dataset.block);
    return names.find((name) => name === block || block.startsWith(name + "."));
  }

  // Shows the nearest picture in which the block is unfolded (folded: true), or folded.
  function fold(block, folded, place) {
    const step = folded ? 1 : -1;
    for (let number = shown + step; number >= 0 && number < levels.length; number += step) {
      const name = foldedIn(levels[number], block);
      if ((name !== undefined) !== folded) {
        show(number);
        if (!picture.focus(name || block, place)) picture.focus(name || block);
        return;
      }
    }
  }

  frame.addEventListener("vfl-fold", (event) => fold(event.detail.block, event.detail.folded, event.detail.place));
  frame.addEventListener("vfl-focus", (event) => { byId("told").textContent = event.detail.told; });
  frame.addEventListener("vfl-open", (event) => {
    if (!source || event.detail.uri !== source.dataset.uri) return;
    for (const line of source.querySelectorAll(".shown")) line.classList.remove("shown");
    const line = source.querySelector('[data-number="' + Number(event.detail.line) + '"]');
    if (!line) return;
    line.classList.add("shown");
    source.scrollTop = line.offsetTop - source.offsetTop - source.clientHeight / 3;
  });
  byId("less").addEventListener("click", () => show(shown - 1));
  byId("more").addEventListener("click", () => show(shown + 1));
  byId("in").addEventListener("click", () => picture.zoomIn());
  byId("out").addEventListener("click", () => picture.zoomOut());
  byId("fit").addEventListener("click", () => picture.fit());
  show(Math.max(0, levels.findIndex((level) => level.hasAttribute("data-first"))));
})();

// Makes a picture of a graph interactive: pan, zoom, arrow keys along arrows, Enter to the source, Space folds
// or unfolds what has the focus, Backspace folds the block around it.
//
// vflGraph(svg, options) returns {focus(name, place), fit(), zoomIn(), zoomOut(), view(), dispose()}. What
// happens is told by events that bubble:
//   vfl-open  {uri, line, column, name, place}  the user wants to see where a value is written; line, column from 1
//   vfl-fold  {block, folded, place}            a block is to be unfolded (folded: true) or folded (false)
//   vfl-focus {name, place, told}               the user looks at a box
// Options: frame, an element that the picture is shown in and that gets `overflow: hidden`; without it the
// svg's parent; view, what `view()` of an earlier picture gave, to stay where the user was.
// No markup is ever made of names.
"use strict";
(function (global) {
  const STEP = 1.2;
  const LARGEST = 4;

  function vflGraph(svg, options) {
    const frame = (options && options.frame) || svg.parentElement;
    const boxes = Array.from(svg.querySelectorAll(".vfl-box"));
    const byItem = new Map(boxes.map((box) => [box.dataset.item, box]));
    const full = { width: svg.viewBox.baseVal.width, height: svg.viewBox.baseVal.height };
    const view = { x: 0, y: 0, scale: 1 };
    const undo = [];
    let current = null; // who Tab goes to
    let looked = null; // who is looked at
    let drag = null;

    const on = (target, name, handler, how) => {
      target.addEventListener(name, handler, how);
      undo.push(() => target.removeEventListener(name, handler, how));
    };
    const tell = (name, box, detail) =>
      box.dispatchEvent(new CustomEvent(name, { bubbles: true, detail: { place: box.dataset.place, ...detail } }));

    function show() {
      const { width, height } = frame.getBoundingClientRect();
      svg.setAttribute("viewBox", [view.x, view.y, width / view.scale, height / view.scale].join(" "));
      svg.setAttribute("width", width);
      svg.setAttribute("height", height);
    }

    function fit() {
      const { width, height } = frame.getBoundingClientRect();
      const scale = Math.min(width / full.width, height / full.height, 1);
      // What would be too small to read begins at the top, in a legible size.
      view.scale = Math.max(scale, Math.min(width / full.width, 1), 0.45);
      view.x = Math.min(0, (full.width - width / view.scale) / 2);
      view.y = 0;
      if (full.width > width / view.scale) view.x = 0;
      show();
    }

    function zoom(factor, x, y) {
      const bounds = frame.getBoundingClientRect();
      const px = x === undefined ? bounds.width / 2 : x - bounds.left;
      const py = y === undefined ? bounds.height / 2 : y - bounds.top;
      const least = Math.min(0.1, bounds.width / full.width, bounds.height / full.height);
      const scale = Math.min(LARGEST, Math.max(least, view.scale * factor));
      view.x += px / view.scale - px / scale;
      view.y += py / view.scale - py / scale;
      view.scale = scale;
      show();
    }

    function reveal(box) {
      const own = box.getBBox();
      const bounds = frame.getBoundingClientRect();
      const wide = bounds.width / view.scale;
      const high = bounds.height / view.scale;
      const edge = 24 / view.scale;
      if (own.x < view.x + edge) view.x = own.x - edge;
      if (own.x + own.width > view.x + wide - edge) view.x = own.x + own.width + edge - wide;
      if (own.y < view.y + edge) view.y = own.y - edge;
      if (own.y + own.height > view.y + high - edge) view.y = own.y + own.height + edge - high;
      show();
    }

    function near(box) {
      const item = box ? box.dataset.item : null;
      const ends = new Set(box ? [...items(box.dataset.next), ...items(box.dataset.previous)] : []);
      for (const each of boxes) each.classList.toggle("vfl-near", ends.has(each.dataset.item));
      for (const arrow of svg.querySelectorAll(".vfl-arrow")) {
        arrow.classList.toggle("vfl-near", item !== null && (arrow.dataset.from === item || arrow.dataset.to === item));
      }
    }

    const items = (text) => (text || "").split(" ").filter(Boolean);
    const middle = (box) => { const own = box.getBBox(); return own.x + own.width / 2; };

    function along(box, key) {
      if (key === "ArrowUp" || key === "ArrowDown") {
        const ends = items(key === "ArrowDown" ? box.dataset.next : box.dataset.previous).map((item) => byItem.get(item));
        const at = middle(box);
        return ends.filter(Boolean).sort((a, b) => Math.abs(middle(a) - at) - Math.abs(middle(b) - at))[0];
      }
      const row = boxes.filter((each) => each.dataset.rank === box.dataset.rank).sort((a, b) => middle(a) - middle(b));
      return row[row.indexOf(box) + (key === "ArrowRight" ? 1 : -1)];
    }

    function take(box) {
      if (current) current.setAttribute("tabindex", "-1");
      current = box;
      box.setAttribute("tabindex", "0");
    }

    function open(box) {
      const { uri, line, column, name } = box.dataset;
      if (uri !== undefined) tell("vfl-open", box, { uri, line: Number(line), column: Number(column), name });
    }

    function fold(box) {
      const { block, folded } = box.dataset;
      if (block !== undefined) tell("vfl-fold", box, { block, folded: folded === "true" });
    }

    function look(box) {
      if (looked === box) return;
      looked = box;
      take(box);
      reveal(box);
      near(box);
      tell("vfl-focus", box, { name: box.dataset.name, told: box.querySelector("title").textContent });
    }

    // A page that has no focus itself sends no events of focus: the box is looked at all the same.
    function go(box) {
      box.focus({ preventScroll: true });
      look(box);
    }

    function foldAround(box) {
      const { around } = box.dataset;
      if (around !== undefined) tell("vfl-fold", box, { block: around, folded: false });
    }

    on(svg, "focusin", (event) => {
      const box = event.target.closest(".vfl-box");
      if (box) look(box);
    });
    on(svg, "focusout", () => {
      looked = null;
      near(null);
    });
    on(svg, "keydown", (event) => {
      const box = event.target.closest(".vfl-box");
      if (event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "+" || event.key === "=") zoom(STEP);
      else if (event.key === "-") zoom(1 / STEP);
      else if (event.key === "0") fit();
      else if (!box) return;
      else if (event.key === "Enter") open(box);
      else if (event.key === " ") fold(box);
      else if (event.key === "Backspace") foldAround(box);
      else if (event.key === "Home") go(boxes[0]);
      else if (event.key === "End") go(boxes[boxes.length - 1]);
      else if (event.key.startsWith("Arrow")) {
        const next = along(box, event.key);
        if (next) go(next);
      } else return;
      event.preventDefault();
    });
    on(svg, "click", (event) => {
      const box = event.target.closest(".vfl-box");
      if (!box || (drag && drag.moved)) return;
      go(box);
      if (box.dataset.folded === "true") fold(box);
      else open(box);
    });
    on(svg, "pointerdown", (event) => {
      if (event.button === 0) drag = { x: event.clientX, y: event.clientY, moved: false };
    });
    on(global, "pointermove", (event) => {
      if (!drag || !(event.buttons & 1)) return;
      const dx = event.clientX - drag.x;
      const dy = event.clientY - drag.y;
      if (!drag.moved && Math.hypot(dx, dy) < 4) return;
      drag.moved = true;
      view.x -= dx / view.scale;
      view.y -= dy / view.scale;
      drag.x = event.clientX;
      drag.y = event.clientY;
      show();
    });
    on(frame, "wheel", (event) => {
      event.preventDefault();
      if (event.ctrlKey || event.metaKey) zoom(event.deltaY < 0 ? STEP : 1 / STEP, event.clientX, event.clientY);
      else {
        view.x += (event.shiftKey ? event.deltaY : event.deltaX) / view.scale;
        view.y += (event.shiftKey ? 0 : event.deltaY) / view.scale;
        show();
      }
    }, { passive: false });
    on(global, "resize", show);

    svg.classList.add("vfl-interactive");
    svg.style.touchAction = "none";
    frame.style.overflow = "hidden";
    for (const box of boxes) box.setAttribute("tabindex", "-1");
    if (boxes.length) take(boxes[0]);
    if (options && options.view) Object.assign(view, options.view), show();
    else fit();

    return {
      fit,
      view: () => ({ ...view }),
      zoomIn: () => zoom(STEP),
      zoomOut: () => zoom(1 / STEP),
      focus(name, place) {
        const here = boxes.filter((each) => !place || each.dataset.place === place);
        const box = here.find((each) => each.dataset.name === name) ||
          here.find((each) => each.dataset.block === name || each.dataset.around === name) ||
          here.find((each) => each.dataset.name.startsWith(name + "."));
        if (box) go(box);
        return Boolean(box);
      },
      dispose() { undo.forEach((each) => each()); },
    };
  }

  global.vflGraph = vflGraph;
})(globalThis);

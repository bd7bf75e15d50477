// The graph: its lanes, what crosses, blocks that fold, and a click that goes to the source.

import "../../../vflc/picture/graph.js";

import { graph } from "./language.js";
import { element } from "./markdown.js";

const OWN = "spec.vfl"; // what the compiler calls the text of the page

/** A picture in `frame`. `go` is called with a line and a column from 1, `say` with a sentence. */
export function picture(frame, { go, say }) {
  let shown = null, drawn = "", folded = null, text = "", known = false;

  async function draw() {
    frame.setAttribute("aria-busy", "true");
    const made = await graph(text, folded);
    frame.setAttribute("aria-busy", "false");
    frame.classList.toggle("old", !known);
    if (made === null || made.svg === drawn) return;
    const held = shown && frame.contains(document.activeElement) ? document.activeElement.dataset : null;
    shown?.dispose();
    drawn = made.svg;
    folded = folded && made.folded;
    const svg = new DOMParser().parseFromString(drawn, "image/svg+xml").documentElement;
    const box = element("div", { class: "picture" }, document.importNode(svg, true));
    frame.replaceChildren(box, tools());
    shown = globalThis.vflGraph(box.firstChild, { frame: box });
    if (held?.name) shown.focus(held.name, held.place);
    frame.dataset.folded = made.folded.join(" ");
  }

  function tools() {
    const pressed = { "Zoom in": () => shown.zoomIn(), "Zoom out": () => shown.zoomOut(), Fit: () => shown.fit() };
    const buttons = Object.entries(pressed).map(([name, press]) => {
      const made = element("button", { type: "button" }, name);
      made.addEventListener("click", press);
      return made;
    });
    return element("div", { class: "tools" }, ...buttons);
  }

  frame.addEventListener("vfl-fold", ({ detail }) => {
    const now = new Set(frame.dataset.folded.split(" ").filter(Boolean));
    if (detail.folded) now.delete(detail.block);
    else now.add(detail.block);
    folded = [...now];
    draw();
  });
  frame.addEventListener("vfl-open", ({ detail }) => {
    if (detail.uri === OWN) go(detail.line, detail.column);
    else say(`${detail.name} is a part of the library.`);
  });
  frame.addEventListener("vfl-focus", ({ detail }) => say(detail.told));

  new ResizeObserver(() => shown?.fit()).observe(frame);

  return {
    /** Draws a text, of which the graph is `now` known, or was before. */
    show(written, now) {
      [text, known] = [written, now];
      return draw();
    },
    forget() {
      folded = null;
    },
  };
}

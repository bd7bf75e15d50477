// Markdown of the compiler's documentation as elements.

import { micromark } from "micromark";
import { gfmTable, gfmTableHtml } from "micromark-extension-gfm-table";

/** What it says, in a `div`. Its HTML is made by micromark, which lets none of the text's own through. */
export function markdown(text) {
  const made = element("div", { class: "markdown" });
  made.innerHTML = micromark(text, { extensions: [gfmTable()], htmlExtensions: [gfmTableHtml()] });
  return made;
}

/** An element with its attributes and what is in it. */
export function element(name, attributes = {}, ...inside) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...inside);
  return made;
}

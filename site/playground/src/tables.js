// What crosses, who may learn what, and what was found, as tables and lists.

import { element } from "./markdown.js";

const SUMS = /^([\d,]+) B a (row|step)$/;

/** A table for each pair of places and direction. */
export function crossing(edges) {
  if (!edges.length) return [element("p", {}, "Nothing crosses.")];
  return [...grouped(edges, (edge) => `${edge.from} → ${edge.to}, ${edge.phase}`)].map(([title, members]) => {
    const caption = element("caption", {}, element("strong", {}, title), ` ${total(members)}`);
    const rows = members.map((edge) => [
      element("code", {}, soft(edge.name)), element("code", {}, edge.shape), element("span", { class: "size" }, edge.size),
      depends(edge.depends), edge.known.join(", ") || "–",
    ]);
    return table(caption, ["value", "shape", "size", "depends on", "known to reveal"], rows);
  });
}

/** A table for each receiver, what it may learn most of first, with what is known to reveal it. */
export function learned({ rows, evidence }) {
  if (!rows.length) return [element("p", {}, "Nobody learns anything: nothing crosses.")];
  const parts = [];
  for (const [title, members] of grouped(rows, (row) => `${row.receiver} of ${row.party}’s columns`)) {
    const cells = members.map((row) => [
      element("code", {}, soft(row.column)),
      row.kind === "all" ? element("strong", {}, row.bound) : row.bound,
    ]);
    parts.push(table(element("caption", {}, element("strong", {}, title)), ["column", "at most"], cells));
    const { receiver, party } = members[0];
    const told = evidence.filter((each) => each.receiver === receiver && each.of.some((of) => of.startsWith(`${party}.`)));
    if (told.length) parts.push(element("ul", {}, ...told.map((each) => element("li", {}, ...code(each.says)))));
  }
  return parts;
}

/** Every finding with its fixes: `go` is called with an offset, `mend` with a fix, `explain` with a code. */
export function findings(found, fixes, { go, mend, explain }) {
  if (!found.length) return [element("p", {}, "No mistakes, no warnings.")];
  const items = found.map((each) => {
    const place = button("there", each.message.split("\n")[0], () => go(each.from));
    const told = element("li", { class: each.level }, place, " ", button("code", each.code, () => explain(each.code)));
    const help = each.message.split("\n").slice(1).join(" ");
    if (help) told.append(element("p", {}, ...code(help)));
    for (const fix of fixes) {
      if (fix.code === each.code && fix.at === each.from) told.append(button("fix", fix.title, () => mend(fix)));
    }
    return told;
  });
  const rest = fixes.filter((fix) => !fix.code).map((fix) => button("fix", fix.title, () => mend(fix)));
  return [element("ul", { class: "findings" }, ...items), ...rest];
}

function button(kind, text, pressed) {
  const made = element("button", { type: "button", class: kind }, text);
  made.addEventListener("click", pressed);
  return made;
}

function table(caption, heads, rows) {
  const head = element("tr", {}, ...heads.map((text) => element("th", { scope: "col" }, text)));
  const body = rows.map(([first, ...cells]) => element(
    "tr", {}, element("th", { scope: "row" }, first), ...cells.map((cell) => element("td", {}, cell)),
  ));
  const made = element("table", {}, caption, element("thead", {}, head), element("tbody", {}, ...body));
  return element("div", { class: "wide", tabindex: "0", role: "group", "aria-label": caption.textContent }, made);
}

function grouped(items, by) {
  const groups = new Map();
  for (const item of items) groups.set(by(item), [...(groups.get(by(item)) ?? []), item]);
  return groups;
}

function total(edges) {
  const sums = new Map();
  for (const edge of edges) {
    for (const part of edge.size.split(" + ")) {
      const [, number, unit] = SUMS.exec(part) ?? [];
      if (unit) sums.set(unit, (sums.get(unit) ?? 0) + Number(number.replaceAll(",", "")));
    }
  }
  const parts = [...sums].map(([unit, bytes]) => `${bytes.toLocaleString("en")} bytes a ${unit}`);
  return parts.join(" and ") || "size depends on the data";
}

/** Columns by party: `alice: Age, Gender; bob: liked`. */
function depends(columns) {
  const parties = grouped(columns, (column) => column.split(".")[0]);
  const told = [...parties].map(([party, own]) => `${party}: ${own.map((each) => each.slice(party.length + 1)).join(", ")}`);
  return told.join("; ") || "no column";
}

/** Text whose `words` are code. */
function code(text) {
  return text.split("`").map((part, index) => (index % 2 ? element("code", {}, soft(part)) : part));
}

/** Names break after dots and underscores, where a line is too short for them. */
function soft(text) {
  const made = element("span");
  for (const part of text.split(/(?<=[._])/)) made.append(part, element("wbr"));
  made.lastChild.remove();
  return made;
}

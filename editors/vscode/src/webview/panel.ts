// In the panel: shows the picture that the server has drawn, and tells what is done with it.
import type { FromPanel, Picture, ToPanel } from "../messages";

interface Shown {
  fit(): void;
  zoomIn(): void;
  zoomOut(): void;
  focus(name: string, place?: string): boolean;
  dispose(): void;
}
declare function vflGraph(svg: Element, options: { frame: Element }): Shown; // graph.js, which vflc has
declare function acquireVsCodeApi(): { postMessage(message: FromPanel): void; setState(state: unknown): void };

const host = acquireVsCodeApi();
const element = (id: string) => document.getElementById(id) as HTMLElement;
const [frame, trouble, told] = [element("frame"), element("trouble"), element("told")];

const HINT = "Arrow keys go from value to value, Enter to the source; Space folds and unfolds a block; + and - zoom, 0 fits.";

let shown: Shown | undefined;
let picture: Picture = { svg: "", folded: [], blocks: [], sources: {} };
let uri = "";
/** The box that was looked at, to look at it again in the next picture. */
let looked: { name: string; place?: string } | undefined;

window.addEventListener("message", ({ data }: MessageEvent<ToPanel>) => {
  host.setState({ uri: data.uri });
  trouble.hidden = data.type === "picture";
  document.body.classList.toggle("old", data.type === "trouble");
  if (data.type === "trouble") {
    (trouble.firstElementChild as HTMLElement).textContent = data.text;
    element("install").hidden = !data.install;
    if (data.uri !== uri) clear();
  } else show(data.picture, data.uri === uri);
  uri = data.uri;
});

function clear(): void {
  shown?.dispose();
  shown = undefined;
  frame.replaceChildren();
  told.textContent = HINT;
}

function show(next: Picture, same: boolean): void {
  const had = frame.contains(document.activeElement);
  clear();
  picture = next;
  const svg = new DOMParser().parseFromString(next.svg, "image/svg+xml").documentElement;
  if (svg.localName !== "svg") return;
  for (const each of svg.querySelectorAll("style, script")) each.remove(); // graph.css has the style
  frame.append(document.adoptNode(svg));
  shown = vflGraph(svg, { frame });
  if (same && had && looked) shown.focus(looked.name, looked.place);
}

const fold = (folded: readonly string[]) => host.postMessage({ type: "fold", folded });

frame.addEventListener("vfl-open", (event) => {
  const { uri: source, line, column } = (event as CustomEvent).detail;
  host.postMessage({ type: "open", source, line, column });
});
frame.addEventListener("vfl-fold", (event) => {
  const { block, folded, place } = (event as CustomEvent).detail;
  looked = { name: block, place };
  fold(folded ? picture.folded.filter((each) => each !== block) : [...picture.folded, block]);
});
frame.addEventListener("vfl-focus", (event) => {
  const { name, place, told: text } = (event as CustomEvent).detail;
  looked = { name, place };
  told.textContent = text;
});

const press = (id: string, run: () => void) => element(id).addEventListener("click", run);
press("fold", () => fold(picture.blocks));
press("unfold", () => fold([]));
press("smaller", () => shown?.zoomOut());
press("larger", () => shown?.zoomIn());
press("fit", () => shown?.fit());
press("install", () => host.postMessage({ type: "install" }));
told.textContent = HINT;
host.postMessage({ type: "ready" });

// The compiler, in a thread of its own so that typing never waits for it.

import { loadPyodide } from "./pyodide/pyodide.mjs";

const started = start();

async function start() {
  const archive = fetch("vflc.zip").then((got) => got.arrayBuffer());
  const python = await loadPyodide({ indexURL: new URL("pyodide/", import.meta.url).href });
  python.unpackArchive(await archive, "zip", { extractDir: "/lib/vflc" });
  python.runPython("import sys; sys.path.insert(0, '/lib/vflc')");
  return python.pyimport("playground").answer;
}

started.then(
  () => postMessage({ ready: true }),
  (error) => postMessage({ failed: String(error) }),
);

onmessage = async ({ data: { id, asked } }) => {
  const answer = await started;
  try {
    postMessage({ id, answer: JSON.parse(answer(JSON.stringify(asked))) });
  } catch (error) {
    postMessage({ id, failed: String(error) });
  }
};

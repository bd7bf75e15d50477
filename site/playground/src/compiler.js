// Questions to the compiler, each a promise of its answer.

const worker = new Worker("worker.js", { type: "module" });
const waiting = new Map();
let last = 0;

/** Resolves once the compiler can answer. */
export const ready = new Promise((resolve, reject) => {
  worker.onmessage = ({ data }) => {
    if (data.ready) resolve();
    else if (data.id === undefined) reject(new Error(data.failed));
    else {
      const { resolve: answered, reject: failed } = waiting.get(data.id);
      waiting.delete(data.id);
      if ("failed" in data) failed(new Error(data.failed));
      else answered(data.answer);
    }
  };
  worker.onerror = (event) => reject(new Error(event.message));
});

/** Asks as `python/playground.py` answers: `ask("check", text)`. */
export function ask(...asked) {
  return new Promise((resolve, reject) => {
    last += 1;
    waiting.set(last, { resolve, reject });
    worker.postMessage({ id: last, asked });
  });
}

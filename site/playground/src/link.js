// The spec in the fragment of the address, which no browser sends to a server.

const MOST = 200_000; // characters of a spec: a fragment from elsewhere may unpack to anything

async function through(stream, bytes) {
  const reader = new Blob([bytes]).stream().pipeThrough(stream).getReader();
  const parts = [];
  let size = 0;
  for (let { done, value } = await reader.read(); !done; { done, value } = await reader.read()) {
    size += value.length;
    if (size > 4 * MOST) {
      await reader.cancel();
      throw new Error("the spec in this link is too long");
    }
    parts.push(value);
  }
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

/** `#spec=…` for a text. Throws where it is longer than what a link is read for. */
export async function fragment(text) {
  if (text.length > MOST) throw new Error(`a link holds at most ${MOST.toLocaleString("en")} characters`);
  const packed = await through(new CompressionStream("deflate-raw"), new TextEncoder().encode(text));
  const letters = Array.from(packed, (byte) => String.fromCharCode(byte)).join("");
  return `#spec=${btoa(letters).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "")}`;
}

/** The text of such a fragment; null where it has none. Throws where it cannot be read. */
export async function spec(hash) {
  const found = /^#spec=([\w-]+)$/.exec(hash);
  if (!found) return null;
  const letters = atob(found[1].replaceAll("-", "+").replaceAll("_", "/"));
  const bytes = Uint8Array.from(letters, (letter) => letter.charCodeAt(0));
  const text = new TextDecoder("utf-8", { fatal: true }).decode(await through(new DecompressionStream("deflate-raw"), bytes));
  if (text.length > MOST) throw new Error("the spec in this link is too long");
  return text.replaceAll("\r\n", "\n");
}

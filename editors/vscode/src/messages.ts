// What the extension and its panel tell each other.

/** What the server draws: see `vflc.picture.draw.SvgPicture`; `sources` has the URI of each name of a text in it. */
export interface Picture {
  readonly svg: string;
  readonly folded: readonly string[];
  readonly blocks: readonly string[];
  readonly sources: Readonly<Record<string, string>>;
}

export type ToPanel =
  | { readonly type: "picture"; readonly uri: string; readonly picture: Picture }
  | { readonly type: "trouble"; readonly uri: string; readonly text: string; readonly install?: boolean };

export type FromPanel =
  | { readonly type: "ready" }
  | { readonly type: "install" }
  | { readonly type: "fold"; readonly folded: readonly string[] }
  | { readonly type: "open"; readonly source: string; readonly line: number; readonly column: number };

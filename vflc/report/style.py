"""How the page looks: light and dark, wide and narrow, on paper. It loads nothing."""

STYLE = """
:root { color-scheme: light dark; --ground: #fff; --text: #1c2330; --soft: #566072; --line: #dce1e9;
  --card: #f6f8fb; --accent: #0b5cad; --recovered: #b3261e; --leaks: #a84a06; --hints: #7d5a00;
  --quiet: #2a6f46;
  --c0: #0072b2; --c1: #c4500a; --c2: #00795a; --c3: #a34a8c; --c4: #806300; --c5: #4b5bc4; --c6: #7a4a2a;
  --c7: #5b6475 }
@media (prefers-color-scheme: dark) { :root { --ground: #12161d; --text: #e6e9ef; --soft: #a3adbd;
  --line: #2e3745; --card: #1a202a; --accent: #7db7ff; --recovered: #ff8a80; --leaks: #ffb35c;
  --hints: #e7c35a;
  --quiet: #79c99a; --c0: #56b4e9; --c1: #ff9d5c; --c2: #3dd6a6; --c3: #e79ac8; --c4: #e6c229;
  --c5: #a3adff;
  --c6: #d9a27e; --c7: #b4bdcb } }
* { box-sizing: border-box }
html { scroll-padding-top: 3.5rem }
body { margin: 0; background: var(--ground); color: var(--text); font: 15px/1.5 system-ui, sans-serif;
  overflow-wrap: break-word }
header, main, footer { max-width: 80rem; margin: 0 auto; padding: 0 1.5rem }
header { padding-top: 1.8rem }
h1 { font-size: 1.7rem; line-height: 1.25; margin: 0 0 .3rem; overflow-wrap: anywhere }
h2 { font-size: 1.25rem; margin: 2.2rem 0 .6rem; border-top: 1px solid var(--line); padding-top: 1.1rem }
h3 { font-size: 1.05rem; margin: 1.4rem 0 .4rem; overflow-wrap: anywhere }
p { margin: .4rem 0; max-width: 64rem } .soft { color: var(--soft) }
code { font: .88em ui-monospace, monospace; overflow-wrap: anywhere }
a { color: var(--accent) }
nav { position: sticky; top: 0; z-index: 1; background: var(--ground);
  border-bottom: 1px solid var(--line) }
nav ul { display: flex; gap: .2rem 1.1rem; overflow-x: auto; list-style: none; max-width: 80rem;
  margin: 0 auto;
  padding: .55rem 1.5rem; white-space: nowrap }
nav a { text-decoration: none } nav a:hover { text-decoration: underline }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px }
.who { border-left: .3rem solid var(--accent); background: var(--card); padding: .6rem 1rem; margin: 1rem 0;
  max-width: 64rem }
.scroll { overflow-x: auto; margin: .8rem 0; max-width: max-content; min-width: min(100%, 24rem) }
table { border-collapse: collapse; min-width: min(100%, 22rem) }
caption { text-align: left; font-weight: 600; padding: .3rem 0 }
th, td { text-align: left; padding: .3rem .9rem .3rem 0; border-bottom: 1px solid var(--line);
  vertical-align: top; font-weight: 400 }
td:last-child, th:last-child { padding-right: 0 }
thead th { color: var(--soft); font-weight: 600; font-size: .85rem; white-space: nowrap;
  vertical-align: bottom }
tbody th, td:not(.w) { white-space: nowrap } tbody th code, td code { overflow-wrap: normal }
td.w, th.w { min-width: 11rem; max-width: 24rem; white-space: normal }
.n { text-align: right; font-variant-numeric: tabular-nums }
tbody .best { color: var(--quiet) }
.charts { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr));
  gap: 1rem 1.5rem;
  margin: 1rem 0; align-items: start }
figure { margin: 0; padding: .7rem .8rem; background: var(--card); border: 1px solid var(--line);
  border-radius: .5rem; min-width: 0 }
figcaption { font-weight: 600; overflow-wrap: anywhere }
figure svg { display: block; width: 100%; height: auto; overflow: visible }
figure text { font: 12px system-ui, sans-serif; fill: var(--soft) } figure text.name { fill: var(--text) }
.grid { stroke: var(--line) } .axis { stroke: var(--soft) }
.diagonal { stroke: var(--soft); stroke-dasharray: 2 4 }
.line path { fill: none; stroke: var(--c); stroke-width: 2; stroke-linejoin: round }
.line circle { fill: var(--c) } .line .ring { fill: none; stroke: var(--c); stroke-width: 2 }
.spread { stroke: var(--c); stroke-width: 1.2; opacity: .7 }
.legend { list-style: none; margin: .3rem 0 0; padding: 0; display: flex; flex-wrap: wrap; gap: .1rem 1rem;
  font-size: .85rem }
.legend li { display: flex; align-items: center; gap: .4rem; overflow-wrap: anywhere }
.legend svg { width: 34px; height: 12px; flex: none }
details { margin: .5rem 0 } summary { cursor: pointer; color: var(--soft) }
figure .scroll { max-height: 18rem; overflow-y: auto }
.bar { display: block; width: 5.5rem; height: .55rem; margin-top: .45rem; background: var(--line);
  border-radius: .3rem; overflow: hidden }
.bar i { display: block; height: 100%; background: var(--c0) }
.bar.recovered i, .bar.leaks i, .bar.hints i, .bar.quiet i { background: currentColor }
.recovered { color: var(--recovered) } .leaks { color: var(--leaks) }
.hints { color: var(--hints) } .quiet { color: var(--quiet) }
.bound.all { color: var(--recovered) } .bound.nothing, .bound.rows, .bound.epsilon { color: var(--quiet) }
.shade { display: block; padding: 0 .4rem;
  background: color-mix(in srgb, var(--c0) calc(var(--s) * 45%), transparent) }
.bins { display: block } .bins .before { fill: var(--c7) } .bins .after { fill: var(--c1) }
footer { padding-top: 2rem; padding-bottom: 3rem; color: var(--soft); font-size: .9rem }
#live { color: var(--accent) }
@media (max-width: 40rem) { header, main, footer { padding-left: .9rem; padding-right: .9rem }
  nav ul { padding-left: .9rem; padding-right: .9rem } h1 { font-size: 1.4rem } }
@media print { nav { display: none } figure { break-inside: avoid } .scroll { overflow: visible } }
"""

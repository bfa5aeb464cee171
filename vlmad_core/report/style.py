"""How the report looks, on a screen and on paper."""

STYLE = """
:root { --ink: #1f2933; --grey: #5b6874; --line: #dde3e8; --ground: #ffffff; --soft: #f3f6f8; --accent: #1d5fa8; }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 2rem 1.25rem 4rem; color: var(--ink); background: var(--ground);
  font: 16px/1.5 system-ui, "Segoe UI", sans-serif; }
h1 { font-size: 2rem; line-height: 1.2; margin: 0 0 .25rem; }
h2 { font-size: 1.4rem; margin: 2.5rem 0 .75rem; }
h3 { font-size: 1.1rem; margin: 1.75rem 0 .5rem; }
h4 { font-size: 1rem; margin: 1.5rem 0 .25rem; }
p { margin: .25rem 0; }
a { color: var(--accent); }
.lead { font-size: 1.25rem; }
.quiet, figcaption, .interval { color: var(--grey); font-size: .875rem; }
.interval { display: block; font-size: .75rem; white-space: nowrap; }
.part { border-top: 2px solid var(--line); margin-top: 2.5rem; }
.caution { background: #fff6e5; border-left: 4px solid #d9901a; padding: .5rem 1rem; margin: 1rem 0; }
.caution h3 { margin: .25rem 0; }
.caution ul { margin: .25rem 0; padding-left: 1.25rem; }
.answers { display: grid; grid-template-columns: repeat(auto-fit, minmax(17rem, 1fr)); gap: .75rem; }
.answers article, .mistakes article { border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem;
  break-inside: avoid; }
.headline { font-size: 1.15rem; font-weight: 650; }
figure { margin: 0; }
svg { width: 100%; height: auto; max-width: 45rem; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-size: .875rem; margin: .5rem 0 1rem; }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: right; vertical-align: top; }
th:first-child, td:first-child { text-align: left; }
thead th { vertical-align: bottom; font-weight: 600; }
tbody th { font-weight: 500; }
.facts th, .facts td, .protocol th, .protocol td, .runs td, .runs th, .reported td, .reported th { text-align: left; }
.protocol td, .runs td { overflow-wrap: anywhere; font-size: .75rem; }
.protocol th, .facts th { white-space: nowrap; color: var(--grey); font-weight: 500; }
.runs td:first-child { min-width: 16rem; }
.grid tbody tr:first-child { font-weight: 650; border-bottom: 2px solid var(--grey); }
.grid td { text-align: center; font-variant-numeric: tabular-nums; }
.mistakes { display: grid; grid-template-columns: repeat(auto-fit, minmax(21rem, 1fr)); gap: .75rem; }
.pictures { display: flex; flex-wrap: wrap; gap: .5rem; margin: .35rem 0; }
.pictures figure { width: 9.5rem; }
.pictures img { width: 100%; height: auto; border-radius: .25rem; display: block; }
dt { font-weight: 600; margin-top: .75rem; }
dd { margin: 0; }
@page { size: A4; margin: 16mm 14mm; }
@media print {
  body { max-width: none; padding: 0; font-size: 10.5pt; }
  .part + .part { break-before: page; border-top: none; margin-top: 0; }
  h2, h3, h4 { break-after: avoid; }
  figure, tr, .caution { break-inside: avoid; }
  .wide { overflow: visible; }
  table { font-size: 8pt; }
  th, td { padding: .2rem .3rem; }
  .runs td, .protocol td { font-size: 6.5pt; }
  .runs td:first-child { min-width: 0; }
  .interval { font-size: 6.5pt; white-space: normal; }
  .answers, .mistakes { grid-template-columns: 1fr 1fr; }
  .pictures figure { width: 3.4cm; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

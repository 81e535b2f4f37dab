"""How a report looks and how it draws its figures: the style sheet and the one script of a page that fetches nothing."""

from __future__ import annotations

from tracking.drawing_html import FONT
from tracking.palette import BEST, FAINT, GRID, INK, MARK, PAPER

POLICY = (
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:; "
    "base-uri 'none'; form-action 'none'"
)
"""What the browser is told to allow: what stands in the page, and no request at all."""

MET, MISSED = "#00704f", "#b04a00"  # dark enough to be read as text on white

STYLE = f"""
:root {{ color-scheme: light; }}
* {{ box-sizing: border-box; }}
body {{ margin: 0; background: {PAPER}; color: {INK}; font: 16px/1.5 {FONT}; overflow-wrap: break-word; }}
main {{ max-width: 1100px; margin: 0 auto; padding: 24px 20px 60px; }}
h1 {{ font-size: 28px; line-height: 1.2; margin: 0 0 6px; }}
h2 {{ font-size: 21px; margin: 48px 0 10px; padding-top: 14px; border-top: 1px solid {GRID}; }}
h3 {{ font-size: 16px; line-height: 1.35; margin: 26px 0 2px; }}
p {{ margin: 0 0 10px; max-width: 46em; }}
.lede {{ font-size: 17px; }}
.facts, .note, .said {{ color: {FAINT}; font-size: 14px; }}
.note {{ margin: 0 0 4px; max-width: 66em; }}
ul {{ margin: 0 0 12px; padding-left: 20px; max-width: 52em; }}
li {{ margin-bottom: 5px; }}
nav {{ display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 18px 0 0; font-size: 14px; }}
nav a {{ color: {BEST}; text-decoration: none; padding: 3px 0; }}
nav a:hover {{ text-decoration: underline; }}
.verdict {{ border: 1px solid {GRID}; border-left: 6px solid {FAINT}; padding: 14px 18px; margin: 20px 0; }}
.verdict strong {{ display: block; font-size: 20px; color: {FAINT}; }}
.verdict p {{ margin: 2px 0 0; }}
.verdict .table {{ margin: 12px 0 0; }}
.verdict.good {{ border-left-color: {MET}; }}
.verdict.good strong, td.met {{ color: {MET}; }}
.verdict.bad {{ border-left-color: {MARK}; }}
.verdict.bad strong, td.missed {{ color: {MISSED}; }}
.keys {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(128px, 1fr)); gap: 12px 16px; margin: 20px 0; }}
.keys dt {{ color: {FAINT}; font-size: 13px; }}
.keys dd {{ margin: 0; font-size: 22px; line-height: 1.25; font-variant-numeric: tabular-nums; }}
.keys small {{ display: block; font-size: 13px; color: {FAINT}; }}
.table {{ overflow-x: auto; margin: 10px 0 16px; }}
table {{ border-collapse: collapse; font-size: 14px; font-variant-numeric: tabular-nums; }}
caption {{ text-align: left; font-weight: 600; padding: 6px 0; }}
th, td {{ padding: 5px 14px 5px 0; border-bottom: 1px solid {GRID}; text-align: left; vertical-align: top; }}
th {{ color: {FAINT}; font-weight: 600; vertical-align: bottom; }}
tbody th {{ vertical-align: top; }}
.number {{ text-align: right; white-space: nowrap; }}
td, tbody th {{ white-space: nowrap; }}
thead .number {{ white-space: normal; }}
tbody .words {{ white-space: normal; min-width: 15em; max-width: 34em; }}
tr > :first-child {{ position: sticky; left: 0; background: {PAPER}; padding-right: 16px; }}
tbody th {{ color: {INK}; }}
figure {{ margin: 0 0 30px; }}
.plot {{ min-height: 120px; width: 100%; overflow: hidden; }}
.js-plotly-plot:not(:hover) .modebar {{ opacity: 0; }}
@media (max-width: 700px) {{
  main {{ padding: 16px 14px 40px; }}
  .verdict table, .verdict thead, .verdict tbody {{ display: block; }}
  .verdict tr {{ display: grid; grid-template-columns: 1fr auto auto; border-bottom: 1px solid {GRID}; }}
  .verdict th, .verdict td {{ border: 0; }} .verdict tbody .words {{ grid-column: 1 / -1; min-width: 0; }}
  h1 {{ font-size: 23px; }} h2 {{ font-size: 19px; margin-top: 36px; }} .lede {{ font-size: 16px; }}
}}
@media print {{
  main {{ max-width: none; padding: 0; }} nav {{ display: none; }} .modebar {{ display: none; }}
  figure, tr, .verdict {{ break-inside: avoid; }} h2, h3 {{ break-after: avoid; }} .table {{ overflow: visible; }}
}}
"""

SCRIPT = """
(() => {
  const NARROW = 700, PAPER = 680, LINE = /(.{18,36}) /g;
  let form = '';
  const draw = figure => {
    const told = JSON.parse(figure.nextElementSibling.textContent), narrow = form === 'narrow';
    for (const trace of narrow ? told.data : []) {
      if (trace.name) trace.name = trace.name.replace(LINE, '$1<br>');
      if (told.bare && trace.type === 'heatmap') trace.texttemplate = '';
    }
    // Resized, plotly forgets the layout's height and takes the element's.
    figure.style.height = told[form].height + 'px';
    Plotly.react(figure, told.data, told[form], {
      responsive: true, displaylogo: false, displayModeBar: narrow ? false : 'hover',
      modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
      toImageButtonOptions: {filename: figure.id, scale: 2},
    });
  };
  const figures = () => document.querySelectorAll('.plot');
  const all = () => {
    const now = document.documentElement.clientWidth < NARROW ? 'narrow' : 'wide';
    if (now === form) return;
    form = now;
    figures().forEach(draw);
  };
  addEventListener('resize', all);
  addEventListener('beforeprint', () => figures().forEach(figure => Plotly.relayout(figure, {width: PAPER})));
  addEventListener('afterprint', () => figures().forEach(figure => Plotly.relayout(figure, {autosize: true, width: null})));
  all();
})();
"""

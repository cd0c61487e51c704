"""How the pages look: one restrained sheet, light or dark as the reader's system is, wide or narrow, on paper too."""

from __future__ import annotations

LIGHT = """
  --paper:#faf9f6; --card:#ffffff; --ink:#1e1d1a; --soft:#625d54; --line:#e5e1d8; --wash:#f2efe8;
  --hit:52 116 166; --miss:214 106 52; --good:#1f6f43; --warn:#9a3b10; --warnwash:#fbeee6;
  --c1:#1f5f8f; --c2:#b5481a; --c3:#2a7a4b; --c4:#84489a; --c5:#876a00; --c6:#007680; --c7:#b02f62; --c8:#5a5a5a;
"""
DARK = """
  --paper:#141518; --card:#1b1d21; --ink:#ebe8e1; --soft:#a8a398; --line:#32343a; --wash:#22242a;
  --hit:70 136 190; --miss:214 106 52; --good:#7fd0a0; --warn:#ffab80; --warnwash:#33231b;
  --c1:#79b6e8; --c2:#ff9f6e; --c3:#7fd0a0; --c4:#d2a2e0; --c5:#e2c25e; --c6:#5fd2d8; --c7:#ff90b4; --c8:#b8b8b8;
"""

TEXT = """
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%}
body{margin:0;background:var(--paper);color:var(--ink);
  font:16px/1.6 ui-sans-serif,-apple-system,"Segoe UI",Roboto,"Helvetica Neue","Noto Sans",Arial,sans-serif}
main,header,footer{max-width:1080px;margin:0 auto;padding:0 32px}
header{padding-top:56px}
h1,h2,.lead,.big{font-family:"Iowan Old Style","Palatino Linotype",Palatino,"Source Serif 4",Georgia,
  "Noto Serif","Liberation Serif",serif;font-weight:500}
.brand{display:flex;gap:12px;align-items:center;margin:0 0 36px;font-size:14px;color:var(--soft)}
.brand b{color:var(--ink);letter-spacing:.02em}
.brand svg{width:22px;height:22px}
h1{font-size:clamp(30px,5vw,46px);line-height:1.12;letter-spacing:-.015em;margin:0 0 14px;overflow-wrap:anywhere}
.lead{font-size:clamp(19px,2.3vw,23px);line-height:1.5;color:var(--soft);max-width:44em;margin:0}
.lead b{color:var(--ink);font-weight:600;overflow-wrap:anywhere}
section{margin:76px 0 0}
h2{font-size:28px;line-height:1.2;letter-spacing:-.01em;margin:0 0 8px}
h3{font-size:15px;margin:0 0 10px;font-weight:650}
h2+*{margin-top:24px}h2+p{margin-top:0}
section>p{margin:0 0 24px;color:var(--soft);max-width:46em}
a{color:var(--c1)}
code,pre,kbd{font-family:ui-monospace,"SF Mono",Menlo,Consolas,"Liberation Mono","DejaVu Sans Mono",monospace;
  font-size:13.5px}
pre{margin:0;padding:18px 20px;background:var(--wash);border-radius:10px;overflow-x:auto;line-height:1.6;
  white-space:pre;tab-size:2}
pre.command{white-space:pre-wrap;overflow-wrap:anywhere;user-select:all;-webkit-user-select:all}
.note{font-size:13.5px;color:var(--soft);margin:8px 0 0}
footer{margin-top:88px;padding-top:24px;padding-bottom:64px;font-size:13.5px;color:var(--soft)}
:focus-visible{outline:2px solid var(--c1);outline-offset:3px;border-radius:4px}
"""

PARTS = """
.card{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:24px}
.banner{margin:28px 0 0;padding:14px 18px;border-radius:10px;background:var(--warnwash);color:var(--warn)}
.banner p{margin:0}.banner p+p{margin-top:6px}.banner code{overflow-wrap:anywhere}
.hero{display:grid;grid-template-columns:minmax(220px,1fr) 2fr;gap:40px;margin:40px 0 0;padding:34px;align-items:center}
.big{font-size:clamp(64px,9vw,96px);line-height:1;letter-spacing:-.03em;margin:0;font-variant-numeric:lining-nums}
.big+p{margin:10px 0 0;color:var(--soft)}
.ladder{list-style:none;margin:0;padding:0;display:grid;gap:14px}
.ladder span{display:flex;justify-content:space-between;gap:16px;font-size:14.5px}
.ladder em{font-style:normal;font-variant-numeric:tabular-nums;color:var(--soft)}
.ladder .own{font-weight:650}.ladder .own em{color:var(--ink)}
.bar{display:block;height:9px;border-radius:5px;background:var(--wash);overflow:hidden;margin-top:4px}
.bar i{display:block;height:100%;border-radius:5px;background:var(--c8);opacity:.55;width:calc(var(--w)*100%)}
.own .bar i{background:var(--c1);opacity:1}
.facts{display:grid;grid-template-columns:repeat(4,minmax(0,1fr));gap:24px 28px;margin:32px 0 0}
.facts div{min-width:0}
.facts dt{font-size:13px;color:var(--soft)}
.facts dd{margin:0;font-size:19px;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
.facts.small{grid-template-columns:repeat(2,minmax(0,1fr));gap:14px 24px;margin:0}.facts.small dd{font-size:15px}
.grid{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,420px),1fr));gap:24px}
.grid>*{min-width:0}.grid.loose{align-items:start}.apart{margin-top:40px}.wide{grid-column:1/-1}
.split{display:grid;grid-template-columns:3fr 2fr;gap:24px;align-items:start}
.split>*{min-width:0}.split details{margin-top:0}.stack{display:grid;gap:24px}
.scroll{overflow-x:auto;max-width:100%}
table{border-collapse:collapse;width:100%;font-size:14.5px;font-variant-numeric:tabular-nums}
caption{text-align:left;font-weight:650;font-size:15px;padding:0 0 10px;caption-side:top}
th,td{padding:7px 12px 7px 0;text-align:right;border-bottom:1px solid var(--line);vertical-align:baseline;
  white-space:nowrap}
thead th{font-weight:500;font-size:13px;color:var(--soft);vertical-align:bottom}
tbody th{font-weight:500}th:first-child{text-align:left}tbody tr:last-child>*{border-bottom:0}
td:last-child,th:last-child{padding-right:0}
table.words td,table.words th{text-align:left;white-space:normal;overflow-wrap:anywhere}
table.words td:last-child{min-width:9em}
table.ways th:first-child{white-space:normal;min-width:9em}table.ways .note{margin:2px 0 0;font-weight:400}
details{margin:18px 0 0}
summary{cursor:pointer;color:var(--c1);font-size:14.5px;padding:4px 0}
details[open]>summary{margin-bottom:10px}
"""

PICTURES = """
figure{margin:0}
.chart{background:var(--card);border:1px solid var(--line);border-radius:14px;padding:20px 20px 12px}
section>.chart{max-width:680px}
.chart svg{display:block;width:100%;height:auto;margin-top:8px}
figcaption strong{font-weight:650;font-size:15px}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:2px 16px;margin:6px 0 0;padding:0;font-size:13px;
  color:var(--soft)}
.legend i{display:inline-block;width:16px;height:3px;border-radius:2px;background:var(--pen);margin-right:7px;
  vertical-align:middle}
svg text{font-size:12px;fill:var(--soft);font-variant-numeric:tabular-nums}
svg .axis{font-size:12px}svg .end{text-anchor:end}svg .mid{text-anchor:middle}
svg .mark{fill:var(--ink);font-weight:650;font-size:13px}
svg .halo{paint-order:stroke;stroke:var(--card);stroke-width:5px;stroke-linejoin:round}
svg .grid{stroke:var(--line);stroke-width:1}
svg .level{stroke:var(--soft);stroke-width:1.2;stroke-dasharray:2 4;stroke-linecap:round}
svg .line{fill:none;stroke:var(--pen);stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
svg .fine{stroke-width:1.3}
.ramp{--pen:var(--c1)}
@supports (color:color-mix(in oklab,red,blue)){
  .ramp{--pen:color-mix(in oklab,var(--c2) calc(var(--w)*100%),var(--c1))}}
svg .faint{stroke-width:1;opacity:.32}
svg .band{fill:var(--pen);opacity:.14}
svg .dot{fill:var(--card);stroke:var(--pen);stroke-width:2}svg .dot:hover{fill:var(--pen)}
svg .ring{fill:none;stroke:var(--ink);stroke-width:1.6}
svg .points{fill:var(--c1);opacity:.5}
.c1{--pen:var(--c1)}.c2{--pen:var(--c2)}.c3{--pen:var(--c3)}.c4{--pen:var(--c4)}
.c5{--pen:var(--c5)}.c6{--pen:var(--c6)}.c7{--pen:var(--c7)}.c8{--pen:var(--c8)}
.confusion{table-layout:fixed;min-width:340px}.confusion th:first-child{width:28%}
.confusion td,.confusion th{padding:0;border:0}
.confusion tbody th{padding-right:14px;max-width:14em;overflow:hidden;text-overflow:ellipsis}
.confusion td{height:46px;text-align:center;vertical-align:middle;border:2px solid var(--card);
  border-radius:8px;background:rgb(var(--miss)/calc(var(--w)*.6))}
.confusion tbody th{vertical-align:middle;position:sticky;left:0;background:var(--card)}
.confusion td.hit{background:rgb(var(--hit)/calc(var(--w)*.55));font-weight:650}
.confusion td.none{color:var(--soft)}
.confusion thead th{padding:0 2px 8px;text-align:center;white-space:normal;line-height:1.3}

.confusion.many{table-layout:auto}.confusion.many td{min-width:34px}
.confusion.turned thead th{vertical-align:bottom}
.confusion.turned thead span{writing-mode:vertical-rl;transform:rotate(180deg);white-space:nowrap}
.pixels{display:block;width:100%;max-width:520px;image-rendering:pixelated;border:1px solid var(--line);
  border-radius:6px}
.meter{display:inline-block;width:56px;height:6px;border-radius:3px;background:var(--wash);margin-right:10px;
  vertical-align:middle;overflow:hidden}
.meter i{display:block;height:100%;width:calc(var(--w)*100%);background:var(--c1)}
.photos{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:26px 18px;list-style:none;margin:0;
  padding:0}
.photos li{min-width:0}
.photos img,.photos .gone{display:block;width:100%;height:auto;aspect-ratio:1;object-fit:cover;border-radius:10px;
  background:var(--wash)}
.photos .gone{display:grid;place-items:center;text-align:center;font-size:13px;color:var(--soft);padding:12px}
.photos p{margin:9px 0 0;font-size:14px;line-height:1.4}
.photos .path{font-size:12.5px;color:var(--soft);overflow:hidden;text-overflow:ellipsis;white-space:nowrap;
  margin-top:2px}
.photos b{font-weight:650}
.key{display:flex;flex-wrap:wrap;gap:6px 20px;list-style:none;margin:0 0 20px;padding:0;font-size:14px}
.key i{display:inline-block;width:11px;height:11px;border-radius:3px;margin-right:8px}
.cases{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(100%,300px),1fr));gap:28px 20px}
.cases.flat{grid-template-columns:repeat(auto-fit,minmax(min(100%,560px),1fr))}
.cases figure{margin:0;min-width:0}
.cases img{display:block;width:100%;height:auto;border-radius:10px;background:#0b0d10}
.cases.strips{grid-template-columns:1fr}.cases.strips img{border-radius:6px}
.cases.flat img{background:none;border-radius:6px}
.cases figcaption{margin:10px 0 0;font-size:14px;line-height:1.5}
.cases .path{font-size:12.5px;color:var(--soft);margin:2px 0 0;overflow:hidden;text-overflow:ellipsis;
  white-space:nowrap}
.share{display:flex;height:22px;border-radius:8px;overflow:hidden;background:var(--wash);margin:0 0 12px}
.share i{flex:var(--w) 1 0;min-width:4px;background:var(--pen)}.share i+i{margin-left:2px}.share .c8{opacity:.4}
.blocks{list-style:none;margin:0;padding:0;font-size:14.5px;columns:1}
.blocks li{display:flex;justify-content:space-between;gap:16px;padding:5px 0;border-bottom:1px solid var(--line)}
.blocks li:last-child{border:0}
.blocks code{overflow-wrap:anywhere}.blocks span{color:var(--soft);white-space:nowrap}
.chips{display:flex;flex-wrap:wrap;gap:10px;list-style:none;margin:0;padding:0}
.chips li{padding:8px 16px;border:1px solid var(--line);border-radius:999px;background:var(--card);font-size:14.5px}
.chips b{font-variant-numeric:tabular-nums}
.steps{list-style:none;counter-reset:step;display:grid;grid-template-columns:repeat(auto-fit,minmax(210px,1fr));gap:24px;
  margin:24px 0 0;padding:0}
.steps li{counter-increment:step;border-top:2px solid var(--ink);padding-top:14px;font-size:15px}
.steps li::before{content:counter(step);display:block;font-size:13px;color:var(--soft)}
.digits{display:flex;flex-wrap:wrap;gap:14px;margin:18px 0 0;padding:0;list-style:none}
.digits img{display:block;width:64px;height:64px;image-rendering:pixelated;border-radius:6px;
  border:1px solid var(--line)}
.digits li{font-size:13px;color:var(--soft);text-align:center}
"""

NARROW = """
@media (max-width:760px){
  main,header,footer{padding-left:20px;padding-right:20px}
  header{padding-top:32px}.brand{margin-bottom:24px}
  section{margin-top:56px}
  .hero{grid-template-columns:1fr;gap:28px;padding:24px}
  .split{grid-template-columns:1fr}
  .card{padding:18px}.chart{padding:16px 14px 8px}
  .facts{grid-template-columns:repeat(2,minmax(0,1fr));gap:18px}
  .photos{grid-template-columns:repeat(2,minmax(0,1fr));gap:20px 14px}
  .confusion td{height:40px}.confusion thead th{font-size:12px}.meter{display:none}
  svg text,svg .axis,svg .mark{font-size:14.5px}
}
@media print{
  body{background:#fff}figure,.card,li{break-inside:avoid}details>*{display:block}
}
"""

SHEET = f":root{{color-scheme:light dark;{LIGHT}}}\n@media (prefers-color-scheme:dark){{:root{{{DARK}}}}}\n"
SHEET += TEXT + PARTS + PICTURES + NARROW

// How far the customers of now are from those of the training, feature by feature.

import { html, useRef, useState } from "../vendor/htm-preact.js";
import { formatCount, formatPercent } from "../format.js";
import { Card } from "../parts.js";

export const FEW = 1000;
const SOME = 0.1;
const MUCH = 0.25;

/** What a stability index means, in a word; below `FEW` customers chance alone can exceed the limits. */
export function judge(index, customers) {
  if (!Number.isFinite(index)) return { word: "nobody is scored yet", level: "none" };
  if (customers < FEW) return { word: "too few customers to judge", level: "none" };
  if (index > MUCH) return { word: "large shift", level: "much" };
  return index > SOME ? { word: "shift", level: "some" } : { word: "as in training", level: "none" };
}

export function Drift({ drift, names, customers }) {
  const [chosen, setChosen] = useState("");
  const rows = useRef(null);
  const sorted = useOrder(drift, rows);
  const widest = Math.max(MUCH, ...sorted.map(({ index }) => index || 0));
  const open = sorted.find(({ name }) => name === chosen);
  return html`<${Card} id="drift" title="Drift by field" className="half" aside=${html`<span class="aside">since the service started, ${formatCount(customers)} customers</span>`}>
    <table class="levels drift"><caption class="visually-hidden">Population stability index of each field</caption>
      <colgroup><col class="names" /><col /><col class="verdicts" /></colgroup>
      <tbody ref=${rows}>${sorted.map(({ name, index }) => {
        const { word, level } = judge(index, customers);
        return html`<tr key=${name} class=${level}><th scope="row"><button type="button" class="reason" aria-expanded=${name === chosen} onClick=${() => setChosen(name === chosen ? "" : name)}><span>${names.get(name) || name}</span></button></th>
          <td class="bar"><span class="meter"><i style=${{ width: `${Math.min(1, (index || 0) / widest) * 100}%` }}></i><i class="limit" style=${{ left: `${(SOME / widest) * 100}%` }}></i></span></td>
          <td><b>${Number.isFinite(index) ? index.toFixed(3) : "–"}</b> <span class="note">${customers >= FEW ? word : ""}</span></td></tr>`;
      })}</tbody></table>
    ${open && html`<${Bins} feature=${open} name=${names.get(open.name) || open.name} />`}
    <p class="legend"><span><i class="dash"></i> ${SOME}: a shift; above ${MUCH} it is large${customers < FEW && `; below ${formatCount(FEW)} customers chance alone can exceed both`}</span></p>
  <//>`;
}

/** The largest shift first; the order stays while a row has the focus, so that no other row comes under the key. */
function useOrder(drift, rows) {
  const order = useRef([]);
  const isHeld = rows.current?.contains(document.activeElement) && order.current.length === drift.length;
  if (!isHeld) order.current = [...drift].sort((a, b) => (b.index || 0) - (a.index || 0)).map(({ name }) => name);
  const byName = new Map(drift.map((each) => [each.name, each]));
  return order.current.map((name) => byName.get(name));
}

function Bins({ feature, name }) {
  const total = feature.found.reduce((all, each) => all + each, 0);
  return html`<div class="table short bins" tabindex="0" role="group" aria-label=${`Bins of ${name}`}><table>
    <thead><tr><th scope="col">${name}</th><th scope="col" class="number">now</th><th scope="col" class="number">training</th></tr></thead>
    <tbody>${feature.bins.map((bin, place) => html`<tr><td>${bin}</td><td class="number">${total ? formatPercent(feature.found[place] / total) : "–"}</td><td class="number">${formatPercent(feature.trained[place])}</td></tr>`)}</tbody></table>
    ${feature.unusual > 0 && html`<p class="note">${formatCount(feature.unusual)} values outside the range of the training data</p>`}</div>`;
}

// The probability along one field, with everything else as it is.

import { html } from "../vendor/htm-preact.js";
import { Chart } from "../chart.js";
import { dateToDays, daysToDate, formatPercent, formatRough, formatShare } from "../format.js";
import { Card, Failure } from "../parts.js";
import { nameOf, showValue } from "../features.js";

export function Curve({ model, features, asked, along, onAlong }) {
  const { answer, error, isOld } = asked;
  const curve = answer?.curves[0];
  const feature = features.find(({ name }) => name === (curve?.field ?? along));
  const isLine = feature && (feature.kind === "number" || feature.kind === "integer" || feature.kind === "date");
  const choose = html`<label class="along"><span class="visually-hidden">Field of the curve</span>
    <select value=${along} onChange=${(event) => onAlong(event.target.value)}>${features.map((each) => html`<option value=${each.name} selected=${each.name === along}>${nameOf(each)}</option>`)}</select></label>`;
  return html`<${Card} id="curve-title" title="Along one field" className="curve" busy=${isOld} aside=${choose}>
    ${!error?.problem.errors && html`<${Failure} error=${error} />`}
    ${curve && feature && (isLine ? html`<${Line} curve=${curve} feature=${feature} threshold=${model.threshold} />` : html`<${Levels} curve=${curve} feature=${feature} threshold=${model.threshold} />`)}
    ${curve?.missing !== undefined && html`<p class="legend">If the value is missing: ${formatPercent(curve.missing)}</p>`}
  <//>`;
}

function Line({ curve, feature, threshold }) {
  const isDate = feature.kind === "date";
  const values = isDate ? curve.values.map(dateToDays) : curve.values;
  const own = curve.own === null ? null : curve.own;
  const place = curve.probabilities.map((probability, index) => (index === own ? probability : null));
  const limit = values.map(() => threshold);
  return html`<${Chart} height=${190} data=${[values, curve.probabilities, limit, place]} label=${inWords(curve, feature)}
    series=${[{ role: "line", label: "probability" }, { role: "limit", label: "threshold" }, { role: "place", label: "this customer" }]}
    formatX=${isDate ? daysToDate : formatRough} formatY=${formatShare} range=${[0, 1]} />
    <p class="legend"><span><i class="dot"></i> this customer${own !== null && html`: ${showValue(feature, curve.values[own])}, ${formatPercent(curve.probabilities[own])}`}</span><span><i class="dash"></i> threshold</span></p>`;
}

/** The ends, the highest and the lowest point of a curve, for those who can't see it. */
function inWords({ values, probabilities, own }, feature) {
  const at = (index) => `${formatPercent(probabilities[index])} at ${showValue(feature, values[index])}`;
  const highest = probabilities.indexOf(Math.max(...probabilities));
  const lowest = probabilities.indexOf(Math.min(...probabilities));
  const place = own === null ? "" : ` This customer: ${at(own)}.`;
  return `Probability along ${nameOf(feature)}: from ${at(0)} to ${at(values.length - 1)}; highest ${at(highest)}, lowest ${at(lowest)}.${place}`;
}

function Levels({ curve, feature, threshold }) {
  return html`<table class="levels"><caption class="visually-hidden">Probability with each value of ${nameOf(feature)}</caption><colgroup><col class="names" /><col /><col class="numbers" /></colgroup><tbody>
    ${curve.values.map((value, index) => html`<tr class=${index === curve.own ? "own" : ""}>
      <th scope="row">${showValue(feature, value)}${index === curve.own && html`<span class="here">this customer</span>`}</th>
      <td class="bar"><span class="meter"><i style=${{ width: `${curve.probabilities[index] * 100}%` }}></i><i class="limit" style=${{ left: `${threshold * 100}%` }}></i></span></td>
      <td class="points">${formatPercent(curve.probabilities[index])}</td></tr>`)}
  </tbody></table>`;
}

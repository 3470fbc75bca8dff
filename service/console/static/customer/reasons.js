// Why: what each field adds to the probability of the mean customer, or takes from it.

import { html, useState } from "../vendor/htm-preact.js";
import { formatPercent, formatPoints } from "../format.js";
import { Card, Failure } from "../parts.js";
import { nameOf, showValue } from "../features.js";

const FIRST = 8;
const NARROWEST = 0.02;
const ABSENT = new Set(["no-background", "no-reasons"]);

export function Reasons({ features, asked, along, onAlong }) {
  const [isWhole, setWhole] = useState(false);
  const { answer, error, isOld } = asked;
  if (ABSENT.has(error?.kind)) return null;
  const byName = new Map(features.map((feature) => [feature.name, feature]));
  const reasons = answer?.reasons || [];
  const shown = isWhole ? reasons : reasons.slice(0, FIRST);
  const rest = reasons.slice(shown.length);
  const axis = findAxis(reasons.map(({ points }) => points));
  const errors = reasons.some((each) => each.standard_error !== undefined);
  return html`<${Card} id="reasons-title" title="Why" className="reasons" busy=${isOld}
      aside=${answer && html`<span class="aside">mean customer ${formatPercent(answer.base)} → this one ${formatPercent(answer.probability)}</span>`}>
    ${!error?.problem.errors && html`<${Failure} error=${error} />`}
    ${answer && html`<table class="bars">
      <caption class="visually-hidden">What each field adds to the probability of the mean customer, in percentage points</caption>
      <colgroup><col class="names" /><col /><col class="numbers" /></colgroup>
      <thead class="visually-hidden"><tr><th scope="col">Field</th><th scope="col">Effect</th><th scope="col">Points</th></tr></thead>
      <tbody>${shown.map((each) => html`<${Row} key=${each.field} reason=${each} feature=${byName.get(each.field)} axis=${axis} isChosen=${each.field === along} onAlong=${onAlong} />`)}</tbody>
      ${rest.length > 0 && html`<tfoot><tr><th scope="row">${rest.length} other fields</th><td></td><td>${formatPoints(rest.reduce((sum, { points }) => sum + points, 0))}</td></tr></tfoot>`}
    </table>
    <p class="legend"><span><i class="swatch lowers"></i> lowers</span> <span><i class="swatch raises"></i> raises</span> the probability, in percentage points${errors && " (estimated)"}
      ${(rest.length > 0 || isWhole) && html`<button type="button" class="quiet" aria-expanded=${isWhole} onClick=${() => setWhole(!isWhole)}>${isWhole ? "Strongest only" : "All fields"}</button>`}</p>`}
  <//>`;
}

/** The width of the axis in points of probability, at least a few, and where its zero is, in percent of the width. */
function findAxis(points) {
  const low = Math.min(...points, 0);
  const high = Math.max(...points, 0);
  const width = Math.max(high - low, NARROWEST);
  return { width, zero: (-low / width) * 100 };
}

function Row({ reason, feature, axis, isChosen, onAlong }) {
  const { points, field, value, standard_error: deviation } = reason;
  const share = (Math.abs(points) / axis.width) * 100;
  const bar = { left: `${axis.zero - (points < 0 ? share : 0)}%`, width: `${share}%` };
  const title = deviation === undefined ? undefined : `standard error ${formatPoints(deviation).replace("+", "")} points`;
  return html`<tr title=${title}>
    <th scope="row"><button type="button" class="reason" aria-pressed=${isChosen} title="Show the curve along this field" onClick=${() => onAlong(field)}>
      <span>${feature ? nameOf(feature) : field}</span><em>${feature ? showValue(feature, value) : String(value)}</em></button></th>
    <td class="bar"><span class="axis"><b style=${{ left: `${axis.zero}%` }}></b><i class=${points < 0 ? "lowers" : "raises"} style=${bar}></i></span></td>
    <td class="points">${formatPoints(points)}</td>
  </tr>`;
}

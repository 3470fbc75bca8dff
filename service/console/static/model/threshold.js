// What another threshold would mean, and what it would earn. Nothing is changed here.

import { html, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { Chart } from "../chart.js";
import { formatCount, formatNumber, formatPercent, formatShare } from "../format.js";
import { Card, Figure } from "../parts.js";

const COSTS = [
  ["customer_value", "Value of a customer who stays"],
  ["offer_cost", "Cost of an accepted offer"],
  ["contact_cost", "Cost of a contact"],
  ["accept_rate", "Share of leavers who accept"],
];
const SERIES = [{ role: "line", label: "profit" }, { role: "place", label: "this threshold" }];

/** Profit per customer if the customers above a threshold are contacted (docs/report.md). */
export function profitOf({ contacted, leavers }, customers, costs) {
  const left = costs.accept_rate * (costs.customer_value - costs.offer_cost) - costs.contact_cost;
  const stayed = -costs.offer_cost - costs.contact_cost;
  return (leavers * left + (contacted - leavers) * stayed) / customers;
}

export function Threshold({ evaluation, threshold }) {
  const { thresholds: rows, customers, leavers } = evaluation;
  const served = rows.findIndex((row) => row.threshold === threshold);
  const [place, setPlace] = useState(Math.max(served, 0));
  const slider = useRef(null);
  const [costs, setCosts] = useState(evaluation.costs);
  const profits = useMemo(() => rows.map((row) => profitOf(row, customers, costs)), [rows, costs]);
  const best = profits.indexOf(Math.max(...profits));
  const row = rows[place];
  const data = useMemo(() => [rows.map((each) => each.threshold), profits, profits.map((profit, at) => (at === place ? profit : null))], [rows, profits, place]);
  const change = (name) => (event) => {
    const value = Number(event.target.value.replace(",", "."));
    if (event.target.value.trim() !== "" && Number.isFinite(value) && value >= 0) setCosts({ ...costs, [name]: value });
  };
  // The slider takes the focus, since the button goes away, and so that the keys can move on from there.
  const goTo = (found) => {
    setPlace(found);
    slider.current.focus();
  };
  const gain = profits[place] - profits[served];
  return html`<${Card} id="threshold" title="Threshold and profit" className="half threshold" aside=${html`<span class="aside">served: ${formatShare(threshold)}</span>`}>
    <label for="threshold-slider">Threshold <b>${formatShare(row.threshold)}</b></label>
    <input id="threshold-slider" ref=${slider} type="range" min="0" max=${rows.length - 1} step="1" value=${place} aria-valuetext=${formatShare(row.threshold)} onInput=${(event) => setPlace(Number(event.target.value))} />
    <dl class="figures">
      <${Figure} label="Contacted" value=${formatPercent(row.contacted / customers)} note=${`${formatCount(row.contacted)} of ${formatCount(customers)}`} />
      <${Figure} label="Leavers reached" value=${formatPercent(leavers ? row.leavers / leavers : 0)} note=${`${formatCount(row.leavers)} of ${formatCount(leavers)}`} />
      <${Figure} label="Leavers among them" value=${row.contacted ? formatPercent(row.leavers / row.contacted) : "–"} />
      <${Figure} label="Profit per customer" value=${formatNumber(profits[place])} note=${place === served ? "as served" : `${gain >= 0 ? "+" : "−"}${formatNumber(Math.abs(gain))} than served`} />
    </dl>
    <${Chart} height=${170} data=${data} series=${SERIES} formatX=${formatShare} formatY=${formatNumber}
      label=${`Profit per customer by threshold: ${formatNumber(profits[place])} at ${formatShare(row.threshold)}; highest ${formatNumber(profits[best])} at ${formatShare(rows[best].threshold)}.`} />
    <p class="legend">Most profitable on these customers: ${formatShare(rows[best].threshold)}, ${formatNumber(profits[best])} per customer
      <button type="button" class="quiet" onClick=${() => goTo(best)}>Show it</button>${place !== served && served >= 0 && html`<button type="button" class="quiet second" onClick=${() => goTo(served)}>As served</button>`}</p>
    <div class="costs">${COSTS.map(([name, label]) => html`<label>${label}<input type="text" inputmode="decimal" value=${evaluation.costs[name]} onInput=${change(name)} /></label>`)}</div>
    <p class="note">Nothing is saved here. A threshold belongs to a version: <code>churn train TABLE --threshold ${row.threshold}</code> publishes one with it, which can then be promoted.</p>
  <//>`;
}

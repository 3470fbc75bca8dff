// How good the model is, with intervals.

import { html } from "../vendor/htm-preact.js";
import { formatCount, formatNumber, formatPercent } from "../format.js";
import { Card } from "../parts.js";

const three = (value) => value.toFixed(3);
const four = (value) => value.toFixed(4);

/** Name and form of each metric, in the order in which they are shown. */
const METRICS = new Map([
  ["roc_auc", ["ROC AUC", three]],
  ["log_loss", ["Log loss", four]],
  ["average_precision", ["Average precision", three]],
  ["brier_score", ["Brier score", four]],
  ["calibration_error", ["Calibration error", four]],
  ["accuracy", ["Accuracy", formatPercent]],
  ["precision", ["Precision: left, of those above the threshold", formatPercent]],
  ["recall", ["Recall: above the threshold, of those who left", formatPercent]],
  ["selection_rate", ["Share above the threshold", formatPercent]],
  ["lift", ["Lift of the highest tenth", three]],
  ["profit", ["Profit per customer at the threshold", formatNumber]],
  ["break_even_profit", ["Profit per customer above break-even", formatNumber]],
  ["expected_maximum_profit", ["Expected maximum profit (EMPC)", formatNumber]],
]);
const WORDS = { test: "test set, held out", validation: "validation", train: "training set" };

export function Scores({ metrics = {}, evaluation }) {
  const parts = Object.keys(metrics).filter((name) => name !== evaluation?.part);
  const rows = [...METRICS].filter(([name]) => evaluation?.scores[name] || parts.some((part) => Number.isFinite(metrics[part][name])));
  if (rows.length === 0) return null;
  return html`<${Card} id="scores" title="Quality" className="half" aside=${evaluation && html`<span class="aside">${formatCount(evaluation.customers)} customers, ${formatCount(evaluation.leavers)} left</span>`}>
    ${evaluation?.caveat && html`<p class="remark">${evaluation.caveat}</p>`}
    <div class="table" tabindex="0" role="group" aria-labelledby="scores"><table>
      <thead><tr><th scope="col">Metric</th>${evaluation && html`<th scope="col" class="number">${WORDS[evaluation.part]}</th><th scope="col" class="number">95 % interval</th>`}${parts.map((part) => html`<th scope="col" class="number">${WORDS[part] || part}</th>`)}</tr></thead>
      <tbody>${rows.map(([name, [label, show]]) => html`<tr><th scope="row">${label}</th>${evaluation && html`<${Interval} score=${evaluation.scores[name]} other=${metrics[evaluation.part]?.[name]} show=${show} />`}
        ${parts.map((part) => html`<td class="number">${Number.isFinite(metrics[part][name]) ? show(metrics[part][name]) : ""}</td>`)}</tr>`)}</tbody>
    </table></div>
  <//>`;
}

function Interval({ score, other, show }) {
  if (!score) return html`<td class="number">${Number.isFinite(other) ? show(other) : ""}</td><td></td>`;
  return html`<td class="number"><b>${show(score.value)}</b></td><td class="number">${show(score.low)} to ${show(score.high)}</td>`;
}

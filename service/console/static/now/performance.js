// How good recorded decisions were, month by month: the last judgement of the decision store.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { ask, offers } from "../api.js";
import { formatCount, formatPercent } from "../format.js";
import { Card, Figure } from "../parts.js";

const EVERY = 60_000;
const MONTHS = 12;

/** The last judgement; null as long as there is none, or this key may not read it. */
export function useJudgement(isActive) {
  const [judgement, setJudgement] = useState(null);
  useEffect(() => {
    if (!isActive || !offers.has("records")) return;
    const read = () => ask("performance").then(setJudgement, () => setJudgement(null));
    read();
    const timer = setInterval(read, EVERY);
    return () => clearInterval(timer);
  }, [isActive]);
  return judgement;
}

export function Performance({ judgement }) {
  const months = judgement.months.slice(-MONTHS).reverse();
  const last = months.find(({ judged }) => judged > 0);
  return html`<${Card} id="performance" title="Performance" className="wide performance" aside=${html`<span class="aside">outcomes until ${judgement.known_until || "–"}, within ${judgement.horizon_days} days</span>`}>
    ${last ? html`<dl class="figures">
        <${Figure} label=${`ROC AUC, ${last.month}`} value=${show(last.measures.roc_auc)} note=${inTraining(judgement, "roc_auc")} />
        <${Figure} label="Log loss" value=${show(last.measures.log_loss, 4)} note=${inTraining(judgement, "log_loss", 4)} />
        <${Figure} label="Left" value=${percent(last.measures.share_left?.value)} note=${`predicted: ${percent(last.measures.mean_probability)}`} />
        <${Figure} label="Calibration slope" value=${show(last.measures.calibration_slope, 2)} note=${within(last.measures.calibration_slope, 2)} />
      </dl>` : html`<p class="note">No month can be judged yet: the horizon of its customers is not over, or their outcomes are not known.</p>`}
    <div class="table" tabindex="0" role="group" aria-label="Performance of recorded decisions by month"><table><caption class="visually-hidden">Performance of recorded decisions by month</caption>
      <thead><tr><th scope="col">Month</th><th scope="col" class="number">customers</th><th scope="col" class="number">judged</th><th scope="col" class="number">ROC AUC</th><th scope="col" class="number">expected</th><th scope="col" class="number">log loss</th><th scope="col" class="number">expected</th></tr></thead>
      <tbody>${months.map((month) => html`<${Month} month=${month} />`)}</tbody></table></div>
    <p class="note">Expected is what follows from the probabilities alone, if this holds: ${judgement.assumption}</p>
  <//>`;
}

function Month({ month }) {
  const expected = month.judged > 0 ? month.expected : month.expected_of_all;
  return html`<tr><th scope="row">${month.month}</th><td class="number">${formatCount(month.customers)}</td><td class="number">${formatCount(month.judged)}</td>
    <td class="number" title=${within(month.measures.roc_auc)}>${show(month.measures.roc_auc)}</td><td class="number" title=${within(expected.roc_auc)}>${show(expected.roc_auc)}</td>
    <td class="number" title=${within(month.measures.log_loss, 4)}>${show(month.measures.log_loss, 4)}</td><td class="number" title=${within(expected.log_loss, 4)}>${show(expected.log_loss, 4)}</td></tr>`;
}

const isKnown = (number) => typeof number === "number";
const show = (measure, digits = 3) => (isKnown(measure?.value) ? measure.value.toFixed(digits) : "–");
const within = (measure, digits = 3) => (isKnown(measure?.low) && isKnown(measure?.high) ? `${measure.low.toFixed(digits)} to ${measure.high.toFixed(digits)}` : "");
const percent = (share) => (isKnown(share) ? formatPercent(share) : "–");

/** A measure of the newest version that was judged, on customers held out in training. */
function inTraining({ training }, name, digits = 3) {
  const newest = Object.keys(training).sort((a, b) => Number(b) - Number(a))[0];
  return newest && training[newest][name] ? `training: ${show(training[newest][name], digits)}` : "";
}

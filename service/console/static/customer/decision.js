// The probability and the decision, in words and as a bar.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { formatPercent, formatShare } from "../format.js";
import { Failure } from "../parts.js";
import { nameOf, showValue } from "../features.js";

const SPOKEN_AFTER = 700;

export function Decision({ model, features, answers }) {
  const { answer, error } = answers.now;
  const isInvalid = Boolean(error?.problem.errors);
  const base = answers.why.answer?.base;
  return html`<section class="card decision" aria-labelledby="decision-title">
    <h2 id="decision-title" class="visually-hidden">Prediction</h2>
    ${answer && html`<${Verdict} answer=${answer} threshold=${model.threshold} base=${base} />`}
    ${isInvalid && html`<p class="waiting">No score: some values are not allowed. ${faultsInWords(features, error)}</p>`}
    ${!isInvalid && html`<${Failure} error=${error} />`}
    ${!answer && !error && html`<p class="loading">Scoring …</p>`}
    <${Spoken} text=${answer ? inWords(answer) : ""} />
    <${Remarks} features=${features} answer=${answer} support=${answers.why.answer?.support} />
  </section>`;
}

const inWords = (answer) => `${formatPercent(answer.probability)}: predicted to ${answer.churn ? "leave" : "stay"}`;

function faultsInWords(features, error) {
  const names = new Map(features.map((feature) => [feature.name, nameOf(feature)]));
  return error.problem.errors.map(({ field, reason, allowed }) => `${names.get(field) || field || "The customer"} ${reason}; allowed: ${allowed}.`).join(" ");
}

function Verdict({ answer, threshold, base }) {
  const { probability, churn } = answer;
  const [number, sign] = [formatPercent(probability).slice(0, -1), "%"];
  return html`<div class=${`verdict ${churn ? "leaves" : "stays"}`}>
    <p class="probability" data-testid="probability" title=${`${probability}`}><b>${number}</b><span>${sign}</span></p>
    <p class="sentence"><strong>${churn ? "Predicted to leave" : "Predicted to stay"}</strong>
      <span>The probability of leaving is ${churn ? "above" : "not above"} the threshold of ${formatShare(threshold)}.</span></p>
    <div class="track" aria-hidden="true">
      <i class="fill" style=${{ width: `${probability * 100}%` }}></i>
      ${base !== undefined && html`<i class="tick base" style=${{ left: `${base * 100}%` }}></i>`}
      <i class="tick limit" style=${{ left: `${threshold * 100}%` }}></i>
    </div>
    <p class="scale" aria-hidden="true"><span>0%</span><span class="key"><i class="key-limit"></i>threshold ${formatShare(threshold)}${base !== undefined && html`<i class="key-base"></i>mean customer ${formatPercent(base)}`}</span><span>100%</span></p>
  </div>`;
}

/** The score for a screen reader, once the typing has paused. */
function Spoken({ text }) {
  const [spoken, setSpoken] = useState("");
  useEffect(() => {
    const timer = setTimeout(() => setSpoken(text), SPOKEN_AFTER);
    return () => clearTimeout(timer);
  }, [text]);
  return html`<p class="visually-hidden" role="status">${spoken}</p>`;
}

/** Share of customers who are as far from their neighbours, up to which the sentence says that few are like this one. */
const FEW = 0.05;

function Remarks({ features, answer, support }) {
  const byName = new Map(features.map((feature) => [feature.name, feature]));
  const warnings = (answer?.warnings || []).map((each) => warningInWords(byName.get(each.field), each));
  const remarks = warnings.map((text) => ({ text, isCalm: false }));
  if (support?.sentence) remarks.push({ text: support.sentence, isCalm: support.share > FEW });
  return remarks.length > 0 && html`<ul class="remarks">${
    remarks.map(({ text, isCalm }) => html`<li class=${isCalm ? "calm" : ""}>${text}</li>`)
  }</ul>`;
}

function warningInWords(feature, { field, sent, trained_minimum: low, trained_maximum: high }) {
  if (!feature || low === undefined || high === undefined) return `${field}: ${sent} is unlike what training saw.`;
  const show = (value) => showValue(feature, value);
  return `${nameOf(feature)}: ${show(sent)} is outside the range that training saw (${show(low)} to ${show(high)}), so the score is less certain.`;
}

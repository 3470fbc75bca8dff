// Counterfactuals: which smallest changes would bring the probability to a target.

import { html, useState } from "../vendor/htm-preact.js";
import { formatPercent, formatShare } from "../format.js";
import { Card, Failure } from "../parts.js";
import { nameOf, showValue } from "../features.js";

export function Changes({ model, features, asked, target, onTarget, onApply }) {
  const { answer, error, isOld } = asked;
  if (!features.some(({ actionable }) => actionable)) return null;
  const byName = new Map(features.map((feature) => [feature.name, feature]));
  const isUsual = answer && answer.target === model.threshold;
  return html`<${Card} id="changes-title" className="changes" busy=${isOld} title=${answer ? titleOf(answer, isUsual) : "What would change it"}
      aside=${html`<${Target} model=${model} target=${target} onTarget=${onTarget} />`}>
    ${!error?.problem.errors && html`<${Failure} error=${error} />`}
    ${answer?.reason && html`<p>${answer.reason}</p>`}
    ${answer && answer.counterfactuals.length > 0 && html`<ol>${answer.counterfactuals.map((each) => html`<li>
      <ul>${each.changes.map(({ field, from, to }) => html`<li><span>${nameOf(byName.get(field) || { name: field })}</span> <b>${showValue(byName.get(field) || {}, from)} →\u00a0${showValue(byName.get(field) || {}, to)}</b></li>`)}</ul>
      <span class="outcome"><b>${formatPercent(each.probability)}</b><button type="button" class="quiet" onClick=${() => onApply(each.changes)}>Try it</button></span>
    </li>`)}</ol>`}
    ${answer && html`<p class="legend">What the model would then predict. Whether a customer then stays only a trial can show.</p>`}
  <//>`;
}

function titleOf({ goal, target }, isUsual) {
  if (!isUsual) return goal === "at most" ? `At most ${formatShare(target)} if …` : `Above ${formatShare(target)} if …`;
  return goal === "at most" ? "Would stay if …" : "Would leave if …";
}

function Target({ model, target, onTarget }) {
  const [text, setText] = useState("");
  const change = (event) => {
    setText(event.target.value);
    const number = Number(event.target.value.replace(",", "."));
    if (event.target.value === "") onTarget("");
    else if (number >= 0 && number < 100) onTarget(String(Number((number / 100).toFixed(6))));
  };
  return html`<label class="target">target <input type="text" inputmode="decimal" size="4" placeholder=${formatShare(model.threshold).replace("%", "")} value=${text} onInput=${change} /> %</label>`;
}

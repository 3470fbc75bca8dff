// One record: what was sent, what was answered, and by what.

import { html } from "../vendor/htm-preact.js";
import { formatPercent, formatPoints, formatShare, formatTime } from "../format.js";
import { nameOf, showValue, toText, writeLink } from "../features.js";

export function Record({ record, features, identifier }) {
  const { input, reasons, time } = record;
  const reason = listReasons(reasons);
  return html`<details class="record">
    <summary><b class=${record.churn ? "leaves" : ""}>${formatPercent(record.probability)}</b><span>${record.churn ? "predicted to leave" : "predicted to stay"}</span>
      <span class="when"><time datetime=${time}>${formatTime(time)}</time>, model ${record.model_version}${record.customer_id !== null && html`, ${identifier} ${record.customer_id}`}</span></summary>
    <div class="said">
      <section><h3>What was sent</h3>${isCustomer(input) ? html`<${Input} input=${input} features=${features} />` : html`<p class="note">It was erased.</p>`}
        ${isCustomer(input) && html`<p><a href=${writeLink(toDraft(input))}>Open this customer</a></p>`}</section>
      <section><h3>What was answered</h3><dl class="plain">
        ${[["Probability", record.probability], ["Threshold", formatShare(record.threshold)], ["Model version", record.model_version], ["Manifest", `${record.manifest_sha256.slice(0, 16)}…`], ["Engine", record.engine], ["Key", record.key ?? "none"], ["Request", record.request_id], ["Chain", `${record.writer}, place ${record.sequence}`]].map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl></section>
      ${reason.length > 0 && html`<section><h3>Why</h3><dl class="plain">${reason.map((each) => html`<div><dt>${features.has(each.field) ? nameOf(features.get(each.field)) : each.field}</dt><dd>${formatPoints(each.points)}</dd></div>`)}</dl></section>`}
    </div>
  </details>`;
}

const isCustomer = (input) => input !== null && typeof input === "object" && !Array.isArray(input);

/** The reasons of an answer, however much of it was kept. */
const listReasons = (reasons) => (Array.isArray(reasons) ? reasons : reasons?.reasons || []).filter((each) => Number.isFinite(each?.points));

const toDraft = (input) => new Map(Object.entries(input).map(([name, value]) => [name, typeof value === "boolean" ? String(Number(value)) : toText(value)]));

function Input({ input, features }) {
  return html`<dl class="plain">${Object.entries(input).map(([name, value]) => html`<div><dt>${features.has(name) ? nameOf(features.get(name)) : name}</dt><dd>${features.has(name) ? showValue(features.get(name), value) : toText(value) || "missing"}</dd></div>`)}</dl>`;
}

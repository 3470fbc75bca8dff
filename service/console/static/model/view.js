// The view of the served model: where it comes from, how good it is, and which versions could be served instead.

import { html, useEffect, useState } from "../vendor/htm-preact.js";
import { ask, mayUse, offers } from "../api.js";
import { formatCount, formatPercent, formatTime } from "../format.js";
import { Card, Failure, Figure } from "../parts.js";
import { Scores } from "./scores.js";
import { Threshold } from "./threshold.js";
import { Report } from "./report.js";
import { ModelCard } from "./card.js";
import { Versions } from "./versions.js";

export default function ModelView({ model, reload }) {
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [mayChange, setMayChange] = useState(false);
  useEffect(() => {
    setFound(null);
    ask("model/evaluation").then(setFound, setError);
  }, [model.version]);
  useEffect(() => void mayUse("admin", "admin/models").then(setMayChange), []);

  // What comes and goes is in a group, since its neighbours would be moved with it, and lose the focus.
  const evaluation = found?.evaluation;
  return html`<h1 class="view-title">Model ${model.version}</h1>
    <${Failure} error=${error} />
    <div class="grid">
      <${Origin} model=${model} />
      <div class="group">${found && html`<${Scores} metrics=${model.metrics} evaluation=${evaluation} />`}
        ${evaluation && html`<${Threshold} key=${model.version} evaluation=${evaluation} threshold=${model.threshold} />`}</div>
      ${offers.has("admin") && mayChange && html`<${Versions} model=${model} onChanged=${reload} />`}
      <${Report} key=${`report ${model.version}`} />
      <${ModelCard} key=${`card ${model.version}`} />
    </div>`;
}

function Origin({ model }) {
  const { data = {}, network, signature, last_change: change } = model;
  const signers = signature.signed_by.length ? signature.signed_by.join(", ") : signature.required ? "" : "not required";
  const rows = [
    ["Table", data.file],
    ["SHA-256 of the table", data.sha256 && html`<code>${data.sha256.slice(0, 16)}…</code>`],
    ["Network", network && `${network.name}${network.parameters ? `, ${formatCount(network.parameters)} parameters` : ""}`],
    ["Engine", `${model.engine} on ${model.device}`],
    ["Signed by", signers],
    ["Commit", model.git_commit && html`<code>${model.git_commit.slice(0, 12)}</code>`],
    ["Compared with", model.shadow && `version ${model.shadow} (shadow)`],
    ["Canary", model.canary && `version ${model.canary.version} for ${formatPercent(model.canary.share)} of the customers`],
    ["Last change", change && `${change.action}${change.version ? ` of version ${change.version}` : ""} ${change.outcome}, ${formatTime(change.time)}${change.reason ? `: ${change.reason}` : ""}`],
  ].filter(([, value]) => value);
  return html`<${Card} id="origin" title="Training" className="wide">
    <dl class="figures">
      <${Figure} label="Trained" value=${model.created ? formatTime(model.created) : "–"} />
      ${data.rows !== undefined && html`<${Figure} label="Customers" value=${formatCount(data.rows)} />`}
      ${data.positive_share !== undefined && html`<${Figure} label="Left" value=${formatPercent(data.positive_share)} />`}
      <${Figure} label="Fields" value=${Object.keys(model.schema.features).length} />
    </dl>
    <dl class="details">${rows.map(([name, value]) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`)}</dl>
  <//>`;
}

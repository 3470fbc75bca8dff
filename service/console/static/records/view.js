// The view of the records: what was said of a customer or in a request, why, and whether it would be said again.

import { html, useMemo, useState } from "../vendor/htm-preact.js";
import { ask, send } from "../api.js";
import { count } from "../format.js";
import { listFeatures } from "../features.js";
import { Card, Failure } from "../parts.js";
import { Record } from "./record.js";
import { Replay } from "./replay.js";

const PAGE = 20;

export default function RecordsView({ model }) {
  const features = useMemo(() => new Map(listFeatures(model.schema).map((feature) => [feature.name, feature])), [model]);
  const [wanted, setWanted] = useState(null);
  const [found, setFound] = useState(null);
  const [replay, setReplay] = useState(null);
  const [error, setError] = useState(null);
  const [isBusy, setBusy] = useState(false);

  const attempt = async (action) => {
    setBusy(true);
    setError(null);
    try {
      await action();
    } catch (failure) {
      setError(failure);
    }
    setBusy(false);
  };
  const read = (query, before) => attempt(async () => {
    const { records, next } = await ask(`records?${new URLSearchParams({ ...query, limit: PAGE, ...(before && { cursor: before.next }) })}`);
    setFound({ records: [...(before?.records || []), ...records], next });
  });
  const search = (query) => {
    setWanted(query);
    setFound(null);
    setReplay(null);
    read(query);
  };
  const repeat = () => attempt(async () => setReplay(await send("records/replay", "request" in wanted ? { request: wanted.request } : { customer: wanted.customer })));

  return html`<h1 class="view-title">Records</h1>
    <div class="grid">
      <${Search} identifier=${model.schema.identifier} onSearch=${search} />
      ${error && html`<div class="wide"><${Failure} error=${error} /></div>`}
      ${found && html`<${Card} id="found" title=${found.records.length ? `${count(found.records.length, "record")}${found.next ? " so far" : ""}, newest first` : "Nothing was recorded"} className="wide" busy=${isBusy}
          aside=${found.records.length > 0 && html`<button type="button" disabled=${isBusy} onClick=${repeat}>Score again and compare</button>`}>
        <${Replay} replay=${replay} />
        <ul class="records">${found.records.map((record) => html`<li key=${`${record.writer} ${record.sequence}`}><${Record} record=${record} features=${features} identifier=${model.schema.identifier} /></li>`)}</ul>
        ${found.next && html`<p class="actions"><button type="button" disabled=${isBusy} onClick=${() => read(wanted, found)}>Older ones</button></p>`}
      <//>`}
    </div>`;
}

function Search({ identifier, onSearch }) {
  const [by, setBy] = useState("customer");
  const [fault, setFault] = useState("");
  const submit = (event) => {
    event.preventDefault();
    const data = new FormData(event.target);
    const text = String(data.get("text")).trim();
    const since = String(data.get("since"));
    const until = String(data.get("until"));
    setFault(text ? "" : `Give the ${by === "customer" ? identifier : "identifier of the request"}.`);
    if (text) onSearch({ [by]: text, ...(since && { since }), ...(until && { until }) });
  };
  return html`<form class="card wide search" onSubmit=${submit} novalidate>
    <fieldset><legend class="visually-hidden">Find by</legend><span class="choices">${[["customer", identifier], ["request", "Request"]].map(([value, label]) => html`<label class="choice">
      <input type="radio" name="by" value=${value} checked=${by === value} onChange=${() => setBy(value)} /><span>${label}</span></label>`)}</span></fieldset>
    <label>${by === "customer" ? identifier : "X-Request-ID"}<input type="text" name="text" autocomplete="off" spellcheck=${false} aria-invalid=${fault ? "true" : undefined} aria-describedby=${fault ? "search-fault" : undefined} /></label>
    <label>from<input type="date" name="since" /></label><label>before<input type="date" name="until" /></label>
    <button class="main">Find</button>
    ${fault && html`<p id="search-fault" class="fault" role="alert">${fault}</p>`}
  </form>`;
}

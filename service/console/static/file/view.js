// The view of a file: dropped or chosen, scored in pieces, and taken home as scores and rejects.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { ask } from "../api.js";
import { count, formatCount, formatPercent, formatShare } from "../format.js";
import { listFeatures } from "../features.js";
import { Card, Failure, Figure, download } from "../parts.js";
import { Histogram } from "../histogram.js";
import { BINS, scoreFile } from "./score.js";

const SHOWN_EVERY = 100;
const MEGABYTE = 1e6;

export default function FileView({ model }) {
  const features = useMemo(() => listFeatures(model.schema), [model]);
  const [job, setJob] = useState(null);
  const [decimal, setDecimal] = useState("");
  const [trained, setTrained] = useState(null);
  const running = useRef(null);
  useEffect(() => {
    ask("model/evaluation").then((found) => setTrained(found.score_histogram), () => setTrained(null));
  }, [model.version]);

  const start = async (file, mark) => {
    running.current?.abort();
    const control = new AbortController();
    running.current = control;
    const began = performance.now();
    let shown = 0;
    const show = (state) => running.current === control && setJob({ file, seconds: (performance.now() - began) / 1000, ...state });
    let last = {};
    const onProgress = (tally, done, first) => {
      last = { tally, done, first };
      if (performance.now() - shown < SHOWN_EVERY) return;
      shown = performance.now();
      show({ ...last, isRunning: true });
    };
    show({ done: 0, isRunning: true });
    try {
      await scoreFile(file, features, model.schema.identifier, { decimal: mark, signal: control.signal, onProgress });
      show({ ...last, done: file.size, isRunning: false });
    } catch (error) {
      show({ ...last, isRunning: false, isStopped: true, error: error.name === "AbortError" ? null : error });
    }
  };
  const choose = (file) => file && start(file, decimal);
  const changeDecimal = (event) => {
    setDecimal(event.target.value);
    if (job) start(job.file, event.target.value);
  };

  return html`<div class="grid">
    <${Drop} onFile=${choose} isSmall=${Boolean(job)}>
      <label>Decimal separator <select value=${decimal} onChange=${changeDecimal}><option value="">found in the file</option><option value=".">point</option><option value=",">comma</option></select></label>
    <//>
    ${job && html`<${Progress} job=${job} onStop=${() => running.current.abort()} />`}
    ${job?.tally && html`<${Results} job=${job} model=${model} trained=${trained} />`}
  </div>`;
}

function Drop({ onFile, isSmall, children }) {
  const [isOver, setOver] = useState(false);
  const over = (event) => event.preventDefault() || setOver(true);
  const drop = (event) => {
    event.preventDefault();
    setOver(false);
    onFile(event.dataTransfer.files[0]);
  };
  const choose = (event) => {
    onFile(event.target.files[0]);
    event.target.value = "";
  };
  return html`<section class=${`card wide drop ${isOver ? "is-over" : ""} ${isSmall ? "is-small" : ""}`} aria-labelledby="file-title" onDragOver=${over} onDragLeave=${() => setOver(false)} onDrop=${drop}>
    <h1 id="file-title">Score a file</h1>
    <p>Drop a CSV here, or <label class="choose"><input type="file" accept=".csv,.txt,text/csv" onChange=${choose} /><span>choose one</span></label></p>
    <p class="legend">One row for each customer, with the columns of the model; others are ignored. It is read in pieces and sent to this service only. ${children}</p>
  </section>`;
}

function Progress({ job, onStop }) {
  const { file, done, tally, seconds, isRunning, isStopped, error } = job;
  const share = file.size ? done / file.size : 1;
  const rows = tally?.rows || 0;
  const words = isRunning ? `${formatShare(Math.floor(share * 100) / 100)} of ${size(file)}` : isStopped ? `stopped after ${count(rows, "row")}` : `done in ${seconds.toFixed(1)} s`;
  return html`<section class="card wide progress" aria-label="Progress">
    <div class="card-head"><h2>${file.name}</h2><span class="aside">${words}${rows > 0 && `, ${formatCount(rows / Math.max(seconds, 0.001))} rows/s`}</span>
      ${isRunning && html`<button type="button" onClick=${onStop}>Stop</button>`}</div>
    <progress max="1" value=${share} aria-label="Part of the file that is scored">${formatShare(share)}</progress>
    <p class="visually-hidden" role="status">${isRunning ? "Scoring" : `${isStopped ? "Stopped" : "Done"}: ${count(rows, "row")}`}</p>
    <${Failure} error=${error} />
  </section>`;
}

const size = ({ size: bytes }) => (bytes < MEGABYTE ? `${formatCount(bytes / 1000)} kB` : `${(bytes / MEGABYTE).toFixed(1)} MB`);

function Results({ job, model, trained }) {
  const { tally, file, first, isRunning } = job;
  const name = file.name.replace(/\.\w+$/, "");
  return html`
    <${Card} id="file-result" title="Result" className="half">
      <dl class="figures">
        <${Figure} label="Scored" value=${formatCount(tally.scored)} />
        <${Figure} label=${`Above ${formatShare(model.threshold)}`} value=${formatCount(tally.leaving)} note=${tally.scored ? formatPercent(tally.leaving / tally.scored) : ""} />
        <${Figure} label="Rejected" value=${formatCount(tally.rejected)} />
      </dl>
      <${Histogram} counts=${tally.histogram} trained=${trained?.counts.length === BINS ? trained.counts : null} threshold=${model.threshold} noun="customers of the file" />
      <p class="actions"><button type="button" class="main" disabled=${isRunning || !tally.scored} onClick=${() => download(tally.scores.blob, `${name}-scores.csv`)}>Download scores</button>
        ${tally.rejected > 0 && html`<button type="button" disabled=${isRunning} onClick=${() => download(tally.rejects.blob, `${name}-rejects.csv`)}>Download rejects</button>`}</p>
    <//>
    <${Card} id="file-leavers" title="Most likely to leave" className="half">
      ${tally.leavers.length > 0 ? html`<div class="table short" tabindex="0" role="group" aria-labelledby="file-leavers"><table><thead><tr><th scope="col">${tally.hasIdentifier ? model.schema.identifier : "row"}</th><th scope="col" class="number">Probability</th></tr></thead>
        <tbody>${tally.leavers.map((each) => html`<tr><td>${each.name}</td><td class="number">${formatPercent(each.probability)}</td></tr>`)}</tbody></table></div>` : html`<p class="note">Nobody is scored yet.</p>`}
    <//>
    ${tally.rejected > 0 && html`<${Card} id="file-rejects" title=${`Rejected rows: ${formatCount(tally.rejected)}`} className="wide" aside=${tally.rejected > tally.first.length && html`<span class="aside">the first ${tally.first.length}</span>`}>
      <div class="table short" tabindex="0" role="group" aria-labelledby="file-rejects"><table><thead><tr><th scope="col" class="number">Line</th><th scope="col">${tally.hasIdentifier ? model.schema.identifier : "row"}</th><th scope="col">Reason</th></tr></thead>
      <tbody>${tally.first.map((each) => html`<tr><td class="number">${each.line}</td><td>${each.name}</td><td>${each.error}</td></tr>`)}</tbody></table></div>
    <//>`}
    <${Card} id="file-rows" title="First rows" className="wide" aside=${first.decimal && html`<span class="aside">decimal ${first.decimal === "," ? "comma" : "point"}</span>`}>
      <div class="table" tabindex="0" role="group" aria-labelledby="file-rows"><table><thead><tr>${first.names.map((each) => html`<th scope="col">${each}</th>`)}</tr></thead>
      <tbody>${first.rows.map((row) => html`<tr>${row.map((cell) => html`<td>${cell}</td>`)}</tr>`)}</tbody></table></div>
    <//>`;
}

// The view of what happens now: traffic, latency, errors, scores and drift, from the service's own metrics.

import { html, useEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { request } from "../api.js";
import { Chart } from "../chart.js";
import { formatClock, formatCount, formatNumber, formatSeconds } from "../format.js";
import { listFeatures, nameOf } from "../features.js";
import { Histogram } from "../histogram.js";
import { Card, Failure, Figure } from "../parts.js";
import { Drift, FEW, judge } from "./drift.js";
import { Performance, useJudgement } from "./performance.js";
import { parseMetrics, sum, sumBy } from "./prometheus.js";
import { compare, measureDrift, measureScores, takeCounters } from "./samples.js";

const EVERY = 3000;
const KEPT = 200;
const TRAFFIC = [{ role: "line", label: "requests" }];
const LATENCY = [{ role: "line", label: "median" }, { role: "second", label: "99 %" }];

export default function NowView({ isActive, model }) {
  const [metrics, setMetrics] = useState(null);
  const [error, setError] = useState(null);
  const [isPaused, setPaused] = useState(false);
  const judgement = useJudgement(isActive);
  const history = useRef({ last: null, samples: [] });
  useEffect(() => {
    if (!isActive || isPaused) return;
    let timer = 0;
    let isOver = false;
    const read = async () => {
      try {
        const found = parseMetrics(await (await request("metrics")).text());
        if (isOver) return;
        note(history.current, found);
        setMetrics(found);
        setError(null);
      } catch (failure) {
        setError(failure);
      }
      if (!isOver) timer = setTimeout(read, EVERY);
    };
    read();
    return () => {
      isOver = true;
      clearTimeout(timer);
    };
  }, [isActive, isPaused]);
  return html`<div class="view-head"><h1 class="view-title">Now</h1><button type="button" aria-pressed=${isPaused} onClick=${() => setPaused(!isPaused)}>${isPaused ? "Go on" : "Pause"}</button></div>
    <${Failure} error=${error} />
    ${!metrics && !error && html`<p class="loading">Loading …</p>`}
    ${metrics && html`<${Shown} metrics=${metrics} samples=${history.current.samples} model=${model} judgement=${judgement} />`}`;
}

function note(history, metrics) {
  const counters = takeCounters(metrics, performance.now() / 1000);
  const rates = compare(counters, history.last);
  history.last = counters;
  if (rates) history.samples = [...history.samples, { time: Date.now() / 1000, ...rates }].slice(-KEPT);
}

function Shown({ metrics, samples, model, judgement }) {
  const features = useMemo(() => new Map(listFeatures(model.schema).map((feature) => [feature.name, nameOf(feature)])), [model]);
  const scores = useMemo(() => measureScores(metrics), [metrics]);
  const drift = useMemo(() => measureDrift(metrics), [metrics]);
  const last = samples.at(-1);
  const total = sum(metrics, "churn_customers_total");
  const leaving = sum(metrics, "churn_customers_total", (labels) => labels.get("decision") === "churn");
  const rejected = [...sumBy(metrics, "churn_rejected_requests_total", "reason")].filter(([, value]) => value > 0).sort(([, a], [, b]) => b - a);
  return html`<div class="grid">
    <${Card} id="traffic" title="Service" className="wide" aside=${html`<span class="aside">refreshed every ${EVERY / 1000} s</span>`}>
      <dl class="figures">
        <${Figure} label="Workers ready" value=${formatCount(sum(metrics, "churn_ready_workers"))} note=${sum(metrics, "churn_workers") ? `of ${formatCount(sum(metrics, "churn_workers"))}` : ""} />
        <${Figure} label="Requests/s" value=${last ? formatNumber(last.requests) : "…"} />
        <${Figure} label="Customers/s" value=${last ? formatNumber(last.customers) : "…"} />
        <${Figure} label="Median, one customer" value=${last ? formatSeconds(last.median) : "…"} />
        <${Figure} label="99 % within" value=${last ? formatSeconds(last.slow) : "…"} />
        <${Figure} label="Errors/s (5xx)" value=${last ? formatNumber(last.faults) : "…"} />
        <${Figure} label="Waiting" value=${formatCount(sum(metrics, "churn_requests_waiting") + sum(metrics, "churn_requests_in_flight"))} note=${`limit ${formatCount(sum(metrics, "churn_requests_waiting_limit"))}`} />
        <${Figure} label="Memory" value=${`${formatCount(sum(metrics, "churn_resident_memory_bytes") / 2 ** 20)} MiB`} />
      </dl>
    <//>
    <${Card} id="requests" title="Requests per second" className="half"><${Series} samples=${samples} names=${["requests"]} series=${TRAFFIC} format=${formatNumber} /><//>
    <${Card} id="latency" title="Latency of one customer" className="half"><${Series} samples=${samples} names=${["median", "slow"]} series=${LATENCY} format=${formatSeconds} />
      <p class="legend"><span><i class="swatch lowers"></i> median</span> <span><i class="swatch raises"></i> 99 % within</span></p><//>
    <${Card} id="now-scores" title="Scores" className="half" aside=${html`<${Index} value=${scores.index} customers=${total} />`}>
      <dl class="figures"><${Figure} label="Customers scored" value=${formatCount(total)} /><${Figure} label="Predicted to leave" value=${formatCount(leaving)} /></dl>
      <${Histogram} counts=${scores.found} trained=${scores.trained} threshold=${model.threshold} noun="customers scored since the service started" />
    <//>
    <${Drift} drift=${drift} names=${features} customers=${total} />
    ${judgement && html`<${Performance} judgement=${judgement} />`}
    ${rejected.length > 0 && html`<${Card} id="rejected" title="Rejected requests" className="half"><div class="table"><table><thead><tr><th scope="col">Reason</th><th scope="col" class="number">Requests</th></tr></thead>
      <tbody>${rejected.map(([reason, value]) => html`<tr><td>${reason}</td><td class="number">${formatCount(value)}</td></tr>`)}</tbody></table></div><//>`}
  </div>`;
}

/** The stability index of the scores with what it means. */
function Index({ value, customers }) {
  const { word, level } = judge(value, customers);
  return html`<span class=${`index ${level}`}>${Number.isFinite(value) && customers >= FEW ? `PSI ${value.toFixed(3)}: ` : ""}${word}</span>`;
}

function Series({ samples, names, series, format }) {
  const data = useMemo(() => [samples.map(({ time }) => time), ...names.map((name) => samples.map((sample) => (Number.isFinite(sample[name]) ? sample[name] : null)))], [samples]);
  if (samples.length < 2 || !data.slice(1).flat().some((value) => value !== null)) {
    return html`<p class="empty">${samples.length < 2 ? "Drawn after three readings." : "No customer in these minutes."}</p>`;
  }
  const last = samples.at(-1);
  const words = names.map((name, place) => `${series[place].label} ${format(last[name])}`).join(", ");
  return html`<${Chart} height=${170} isTime=${true} formatX=${formatClock} data=${data} series=${series} formatY=${format} label=${`The last minutes; now: ${words}.`} />`;
}

// What the view shows of two scrapes of the metrics, one after the other.

import { buckets, grow, quantile, stabilityIndex, sum, sumBy } from "./prometheus.js";

export const SCORING = new Set(["/predict", "/predict, reasons", "/predict, table", "/counterfactuals", "/sensitivity"]);
const isScoring = (labels) => SCORING.has(labels.get("route")) || labels.get("route").startsWith("/v2/");
const isSingle = (labels) => labels.get("route") === "/predict";
const isFault = (labels) => isScoring(labels) && labels.get("status").startsWith("5");

/** The counters of a scrape that rates are made of. */
export function takeCounters(metrics, seconds) {
  return {
    seconds,
    requests: sum(metrics, "churn_requests_total", isScoring),
    faults: sum(metrics, "churn_requests_total", isFault),
    customers: sum(metrics, "churn_customers_total"),
    durations: buckets(metrics, "churn_request_duration_seconds", isSingle),
  };
}

/** Rates and latencies between two scrapes; null before the second, and after a restart. */
export function compare(now, before) {
  if (!before || now.requests < before.requests) return null;
  const seconds = now.seconds - before.seconds;
  const grown = grow(now.durations, before.durations);
  const perSecond = (name) => (now[name] - before[name]) / seconds;
  return {
    requests: perSecond("requests"),
    customers: perSecond("customers"),
    faults: perSecond("faults"),
    median: quantile(0.5, grown),
    slow: quantile(0.99, grown),
  };
}

/** Counts of the customers by bin of each feature, with the shares of the training, and their stability index. */
export function measureDrift(metrics) {
  const features = new Map();
  for (const { labels, value } of metrics.get("churn_feature_bin_training_share") || []) {
    const name = labels.get("feature");
    if (!features.has(name)) features.set(name, new Map());
    features.get(name).set(labels.get("bin"), value);
  }
  return [...features].map(([name, shares]) => {
    const counts = sumBy(metrics, "churn_feature_bin_total", "bin", (labels) => labels.get("feature") === name);
    const bins = [...shares.keys()];
    const found = bins.map((bin) => counts.get(bin) || 0);
    const unusual = sum(metrics, "churn_feature_out_of_range_total", (labels) => labels.get("feature") === name);
    return { name, bins, found, trained: [...shares.values()], unusual, index: stabilityIndex([...shares.values()], found) };
  });
}

/** The scores by bin, ascending, with the shares of the training, and their stability index. */
export function measureScores(metrics) {
  const shares = (metrics.get("churn_score_bin_training_share") || []).map(({ labels, value }) => [labels.get("bin"), value]);
  shares.sort(([a], [b]) => lower(a) - lower(b));
  const counts = sumBy(metrics, "churn_score_bin_total", "bin");
  const found = shares.map(([bin]) => counts.get(bin) || 0);
  const trained = shares.map(([, share]) => share);
  return { found, trained, index: stabilityIndex(trained, found) };
}

/** The lower end of a bin such as "[0.05, 0.1)". */
const lower = (bin) => {
  const number = Number.parseFloat(bin.slice(1));
  return Number.isNaN(number) ? -Infinity : number;
};

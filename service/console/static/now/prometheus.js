// The metrics of the service (docs/metrics.md) in the Prometheus text format.

const LABEL = /(\w+)="((?:[^"\\]|\\.)*)",?/g;
const ESCAPES = { n: "\n" };

/** Return the samples of each metric: a Map from its name to a list of `{ labels, value }`. */
export function parseMetrics(text) {
  const metrics = new Map();
  for (const line of text.split("\n")) {
    if (line === "" || line[0] === "#") continue;
    const open = line.indexOf("{");
    const space = line.lastIndexOf(" ");
    const name = line.slice(0, open < 0 ? space : open);
    const labels = new Map();
    if (open >= 0) {
      for (const [, label, value] of line.slice(open + 1, line.lastIndexOf("}")).matchAll(LABEL)) {
        labels.set(label, value.replace(/\\(.)/g, (_, letter) => ESCAPES[letter] ?? letter));
      }
    }
    if (!metrics.has(name)) metrics.set(name, []);
    metrics.get(name).push({ labels, value: Number(line.slice(space + 1)) });
  }
  return metrics;
}

/** The sum of the samples whose labels a test accepts. */
export function sum(metrics, name, accepts = () => true) {
  return (metrics.get(name) || []).reduce((total, { labels, value }) => (accepts(labels) ? total + value : total), 0);
}

/** The values of a metric by one of its labels, summed over the others. */
export function sumBy(metrics, name, label, accepts = () => true) {
  const found = new Map();
  for (const { labels, value } of metrics.get(name) || []) {
    if (accepts(labels)) found.set(labels.get(label), (found.get(labels.get(label)) || 0) + value);
  }
  return found;
}

/** The cumulative counts of a histogram's buckets by their upper bounds, ascending. */
export function buckets(metrics, name, accepts) {
  const found = sumBy(metrics, `${name}_bucket`, "le", accepts);
  return [...found].map(([bound, total]) => [bound === "+Inf" ? Infinity : Number(bound), total]).sort(([a], [b]) => a - b);
}

/** What the counts of a histogram have grown by; those of `before` may be missing, and a restart begins at 0. */
export function grow(now, before = []) {
  const old = new Map(before);
  const isReset = now.some(([bound, total]) => total < (old.get(bound) || 0));
  return now.map(([bound, total]) => [bound, isReset ? total : total - (old.get(bound) || 0)]);
}

/** A quantile of cumulative counts, linear within a bucket as in PromQL; NaN if there are none. */
export function quantile(share, counts) {
  const total = counts.at(-1)?.[1] || 0;
  if (total === 0) return NaN;
  const rank = share * total;
  const place = counts.findIndex(([, count]) => count >= rank);
  const [high, upTo] = counts[place];
  const [low, below] = place ? counts[place - 1] : [0, 0];
  if (!Number.isFinite(high)) return low;
  return low + (high - low) * ((rank - below) / (upTo - below || 1));
}

const FLOOR = 1e-4;

/** The population stability index of two distributions (docs/operations.md); NaN if one of them is empty. */
export function stabilityIndex(expected, found) {
  const shares = [expected, found].map((counts) => {
    const total = counts.reduce((all, each) => all + each, 0);
    return total > 0 ? counts.map((each) => Math.max(each / total, FLOOR)) : null;
  });
  if (!shares[0] || !shares[1]) return NaN;
  return shares[0].reduce((index, p, place) => index + (shares[1][place] - p) * Math.log(shares[1][place] / p), 0);
}

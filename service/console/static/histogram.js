// Scores in bins, beside those of the training.

import { html } from "./vendor/htm-preact.js";
import { formatPercent, formatShare } from "./format.js";

/** Bars for the shares of `counts`, and marks for those of `trained`, if there are any. */
export function Histogram({ counts, trained, threshold, noun }) {
  const shares = shareOf(counts);
  const others = trained ? shareOf(trained) : [];
  const highest = Math.max(...shares, ...others, 0.01);
  const bounds = (place) => `${formatShare(place / counts.length)} to ${formatShare((place + 1) / counts.length)}`;
  const words = shares.map((share, place) => (share > 0 ? `${bounds(place)}: ${formatPercent(share)}` : "")).filter(Boolean).join(", ");
  return html`<figure class="histogram">
    <div class="columns" role="img" aria-label=${`Shares of the ${noun} by probability. ${words || "None yet."}`}>
      ${shares.map((share, place) => html`<span title=${`${bounds(place)}: ${formatPercent(share)}`}>
        <i class=${(place + 1) / counts.length > threshold + 1e-9 ? "raises" : "lowers"} style=${{ height: `${(share / highest) * 100}%` }}></i>
        ${trained && html`<b style=${{ bottom: `${(others[place] / highest) * 100}%` }}></b>`}</span>`)}
    </div>
    <div class="ends" aria-hidden="true"><span>0%</span><span>50%</span><span>100%</span></div>
    <figcaption class="legend"><span><i class="swatch lowers"></i> up to the threshold</span> <span><i class="swatch raises"></i> above it</span> ${trained && html`<span><i class="mark"></i> training</span>`}</figcaption>
  </figure>`;
}

function shareOf(counts) {
  const total = counts.reduce((sum, each) => sum + each, 0);
  return counts.map((each) => (total ? each / total : 0));
}

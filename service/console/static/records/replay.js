// Recorded answers beside those that the same versions give now.

import { html } from "../vendor/htm-preact.js";
import { count } from "../format.js";

export function Replay({ replay }) {
  if (!replay) return null;
  const { replayed, different, records } = replay;
  const left = records.length - replayed;
  const words = different ? `${count(different, "record")} of ${replayed} would be answered otherwise now.` : `${count(replayed, "record")} scored again: all are the same to the last digit.`;
  const odd = records.filter(({ same }) => !same);
  return html`<div class=${`replay ${different || left ? "is-odd" : ""}`} role="status"><b>${words}</b>${left > 0 && html` ${count(left, "record")} could not be scored again.`}
    ${odd.length > 0 && html`<div class="table"><table><thead><tr><th scope="col">Request</th><th scope="col" class="number">Recorded</th><th scope="col" class="number">Now</th><th scope="col">Reason</th></tr></thead>
      <tbody>${odd.map((each) => html`<tr><td>${each.request_id}</td><td class="number">${each.recorded}</td><td class="number">${each.replayed ?? "–"}</td><td>${each.reason ?? ""}</td></tr>`)}</tbody></table></div>`}</div>`;
}

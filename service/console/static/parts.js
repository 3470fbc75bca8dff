// Small pieces that several views use.

import { html, useState } from "./vendor/htm-preact.js";

/** What went wrong, in the words of the service. */
export function Failure({ error, children }) {
  if (!error) return null;
  return html`<div class="failure" role="alert"><strong>${error.title || "Something went wrong"}</strong><p>${error.message}</p>${children}</div>`;
}

/** A titled part of a view. */
export function Card({ title, aside, children, id, className = "", busy = false }) {
  return html`<section class=${`card ${className}`} aria-labelledby=${id} aria-busy=${busy}>
    <header class="card-head"><h2 id=${id}>${title}</h2>${aside}</header>${children}
  </section>`;
}

/** A number with its name. */
export function Figure({ label, value, note }) {
  return html`<div class="figure"><dt>${label}</dt><dd>${value}</dd>${note && html`<dd class="note">${note}</dd>`}</div>`;
}

/** Put a text on the clipboard; also where the browser has no clipboard for pages without HTTPS. */
export async function copyText(text) {
  if (navigator.clipboard && window.isSecureContext) {
    try {
      return void (await navigator.clipboard.writeText(text));
    } catch {
      // Not allowed: the older way follows.
    }
  }
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  const before = document.activeElement;
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
  before?.focus();
}

/** A button that copies what `make` returns, and says so. */
export function CopyButton({ label, make }) {
  const [isDone, setDone] = useState(false);
  const copy = async () => {
    await copyText(make());
    setDone(true);
    setTimeout(() => setDone(false), 2000);
  };
  return html`<span class="copy"><button type="button" class="quiet" onClick=${copy}>${label}</button><span role="status">${isDone ? "copied" : ""}</span></span>`;
}

/** Offer a Blob as a download. */
export function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

// The versions that could be served, for those who may change that. Each change is asked about before it is made.

import { html, useEffect, useRef, useState } from "../vendor/htm-preact.js";
import { ask } from "../api.js";
import { Card, Failure } from "../parts.js";

export function Versions({ model, onChanged }) {
  const [found, setFound] = useState(null);
  const [error, setError] = useState(null);
  const [wish, setWish] = useState(null);
  const [done, setDone] = useState({ words: "" });
  const said = useRef(null);
  const read = () => ask("admin/models").then(setFound, setError);
  useEffect(() => void read(), [model.version]);
  // The button that was pressed goes away with the version that it was for; what was done takes the focus.
  useEffect(() => void (done.words && said.current.focus()), [done]);

  const change = async () => {
    setError(null);
    try {
      const { action, version } = await ask(wish.path, { method: "POST" });
      setDone({ words: `${action === "rollback" ? "Rolled back" : "Promoted"}: version ${version} is served.` });
    } catch (failure) {
      setError(failure);
    }
    setWish(null);
    read();
    onChanged();
  };
  const promote = (version) => ({
    title: `Serve version ${version}?`,
    words: `All workers load and verify version ${version}; then every answer comes from it instead of version ${found.served}, and models/current names it. Requests that have begun end with version ${found.served}. If any step fails, nothing changes. It can be rolled back.`,
    action: `Serve version ${version}`,
    path: `admin/models/${version}/promote`,
  });
  const rollBack = () => ({
    title: "Roll back?",
    words: `The version that was current before version ${found.current} becomes current again: all workers load and verify it, then every answer comes from it. If any step fails, nothing changes.`,
    action: "Roll back",
    path: "admin/models/rollback",
  });

  return html`<${Card} id="versions" title="Versions" className="wide" aside=${found && html`<button type="button" onClick=${() => setWish(rollBack())}>Roll back …</button>`}>
    <${Failure} error=${error} />
    <p ref=${said} role="status" class="done" tabindex="-1">${done.words}</p>
    ${found && html`<ul class="versions">${[...found.versions].reverse().map((version) => html`<li>
      <b>Version ${version}</b><span class="tags">${rolesOf(version, found).map((role) => html`<span class="tag">${role}</span>`)}</span>
      ${version !== found.served && html`<button type="button" onClick=${() => setWish(promote(version))}>Promote <span class="visually-hidden">version ${version} </span>…</button>`}
    </li>`)}</ul>`}
    ${wish && html`<${Question} wish=${wish} onYes=${change} onNo=${() => setWish(null)} />`}
  <//>`;
}

const rolesOf = (version, found) => ["served", "current", "shadow", "canary"].filter((role) => found[role] === version);

/** A question in front of the page, which keeps the focus until it is answered. */
function Question({ wish, onYes, onNo }) {
  const dialog = useRef(null);
  const [isBusy, setBusy] = useState(false);
  useEffect(() => {
    const before = document.activeElement;
    const shown = dialog.current;
    shown.showModal();
    return () => {
      shown.close(); // as long as it is open, nothing else can take the focus
      before?.focus();
    };
  }, []);
  const yes = () => {
    setBusy(true);
    onYes();
  };
  return html`<dialog ref=${dialog} aria-labelledby="question" onCancel=${(event) => isBusy && event.preventDefault()} onClose=${onNo}>
    <h2 id="question">${wish.title}</h2><p>${wish.words}</p>
    <p class="actions"><button type="button" disabled=${isBusy} onClick=${onNo} autofocus>Cancel</button><button type="button" class="main" disabled=${isBusy} onClick=${yes}>${isBusy ? "Loading …" : wish.action}</button></p>
  </dialog>`;
}

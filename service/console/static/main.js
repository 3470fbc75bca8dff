// The page: its views as tabs, the model that they show, and the question for a key.

import { html, render, useEffect, useErrorBoundary, useLayoutEffect, useRef, useState } from "./vendor/htm-preact.js";
import { ask, mayUse, offers, onKeyNeeded, readKey, keepKey } from "./api.js";
import { KeyQuestion } from "./key.js";
import { Failure } from "./parts.js";
import { CustomerView, begin } from "./customer/view.js";

const RETRY = 2000;

const VIEWS = [
  { name: "customer", title: "Customer", View: CustomerView },
  { name: "file", title: "File", load: () => load("./file/view.js") },
  { name: "model", title: "Model", load: () => load("./model/view.js") },
  { name: "now", title: "Now", load: () => load("./now/view.js"), needs: ["metrics", "metrics"] },
  { name: "records", title: "Records", load: () => load("./records/view.js"), needs: ["records", "records?request=-&limit=1"] },
];

/** Load a view with the style of those that are not shown first. */
async function load(path) {
  const style = document.createElement("link");
  style.rel = "stylesheet";
  style.href = new URL("./views.css", import.meta.url);
  const isStyled = document.querySelector(`link[href="${style.href}"]`);
  const [found] = await Promise.all([import(path), isStyled || new Promise((done) => {
    style.onload = style.onerror = done;
    document.head.append(style);
  })]);
  return found.default;
}

/** The views that this service has. */
const OFFERED = VIEWS.filter(({ needs }) => !needs || offers.has(needs[0]));

/** Those that every key may see, until it is known what this key may do. */
const UNDECIDED = OFFERED.filter(({ needs }) => !needs);

const readTab = () => /^#(\w+)/.exec(location.hash)?.[1] || "customer";

const isKeyed = offers.has("keys");

function App({ first }) {
  const [model, setModel] = useState(first.model || null);
  const [error, setError] = useState(first.error || null);
  const [isLocked, setLocked] = useState(first.isLocked);
  const [tab, setTab] = useState(readTab);
  const views = useViews(model !== null);
  const [fault] = useErrorBoundary();
  const latest = useRef(null);
  latest.current = model;

  const retry = ({ status }) => (status === 503 || status === 0) && setTimeout(reload, RETRY);
  const reload = async () => {
    try {
      setModel(await ask("model"));
      setError(null);
    } catch (failure) {
      if (failure.status === 401) return;
      setError(failure);
      retry(failure);
    }
  };
  useLayoutEffect(() => {
    const end = onKeyNeeded(() => setLocked(true));
    const follow = () => setTab(readTab());
    addEventListener("hashchange", follow);
    if (first.error) retry(first.error);
    return () => removeEventListener("hashchange", follow) || end();
  }, []);

  // An answer by another version than the one shown: the model was changed, and perhaps its fields.
  const noteVersion = (version) => {
    const shown = latest.current;
    if (version && shown && version !== shown.version && version !== shown.canary?.version) reload();
  };
  const unlock = (found) => {
    setModel(found);
    setLocked(false);
  };
  const lock = () => {
    keepKey("");
    location.reload();
  };

  if (isLocked) return html`<${Top} /><${KeyQuestion} onKept=${unlock} />`;
  const isUndecided = views === UNDECIDED && OFFERED.some(({ name, needs }) => name === tab && needs);
  const active = isUndecided ? null : views.find(({ name }) => name === tab) || views[0];
  return html`
    <${Top} views=${model ? views : []} active=${active} model=${model} onLock=${readKey() ? lock : null} />
    <main class="page" id="main" tabindex="-1">
      ${fault && html`<${Failure} error=${fault}><p>Reload the page.</p><//>`}
      <${Failure} error=${error} />
      ${!model && !error && html`<p class="loading">Loading …</p>`}
      ${model && views.map((view) => html`<${Kept} key=${view.name} view=${view} isActive=${view === active} model=${model} begun=${first.begun} noteVersion=${noteVersion} reload=${reload} />`)}
    </main>`;
}

/** The views that this service and this key have; only with keys must be asked what the key may do. */
function useViews(isReady) {
  const [views, setViews] = useState(isKeyed ? UNDECIDED : OFFERED);
  useEffect(() => {
    if (!isReady || !isKeyed) return;
    Promise.all(OFFERED.map((view) => !view.needs || mayUse(...view.needs))).then((found) => setViews(OFFERED.filter((_, i) => found[i])));
  }, [isReady]);
  return views;
}

/** A view that is loaded when it is first shown, and keeps what it holds while another one is shown. */
function Kept({ view, isActive, ...rest }) {
  const [View, setView] = useState(() => view.View || null);
  const [error, setError] = useState(null);
  const [isSeen, setSeen] = useState(false);
  useEffect(() => {
    if (isActive) setSeen(true);
    if (isActive && !View) view.load().then((found) => setView(() => found), setError);
  }, [isActive]);
  return html`<div hidden=${!isActive} class="view">
    <${Failure} error=${error} />${View && (isActive || isSeen) && html`<${View} isActive=${isActive} ...${rest} />`}
  </div>`;
}

function Top({ views = [], active, model, onLock }) {
  return html`<header class="top"><div class="top-in">
    <a class="skip" href="#main" onClick=${skip}>To the content</a>
    <span class="brand"><svg viewBox="0 0 20 20" aria-hidden="true"><path d="M3 14.5 8 9l3 3 6-7" /></svg>Churn</span>
    ${views.length > 0 && html`<nav aria-label="Views">${views.map((view) => html`<a href=${`#${view.name}`} aria-current=${view === active ? "page" : undefined}>${view.title}</a>`)}</nav>`}
    ${model && html`<span class="served">model <b>${model.version}</b></span>`}
    ${onLock && html`<button type="button" class="quiet" onClick=${onLock}>Forget the key</button>`}
  </div></header>`;
}

function skip(event) {
  event.preventDefault();
  document.getElementById("main").focus();
}

/** The model, or why there is none yet. */
async function readFirst() {
  if (isKeyed && !readKey()) return { isLocked: true };
  try {
    const model = await ask("model");
    return { model, begun: readTab() === VIEWS[0].name ? await begin(model) : null, isLocked: false };
  } catch (error) {
    return error.status === 401 ? { isLocked: true } : { error, isLocked: false };
  }
}

// Drawn when the model is there, since a slow browser would draw a page without it only to draw it again.
readFirst().then((first) => {
  const root = document.getElementById("page");
  root.replaceChildren();
  render(html`<${App} first=${first} />`, root);
});

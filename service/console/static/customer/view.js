// The view of one customer: a form, and what the model says about who is in it.

import { html, useEffect, useLayoutEffect, useMemo, useRef, useState } from "../vendor/htm-preact.js";
import { send } from "../api.js";
import { listFeatures, readLink, toCustomer, toText, typicalDraft } from "../features.js";
import { useAnswers } from "./asking.js";
import { Form } from "./form.js";
import { Decision } from "./decision.js";
import { Reasons } from "./reasons.js";
import { Curve } from "./curve.js";
import { Changes } from "./changes.js";

/** Milliseconds for which the first drawing waits for the score. */
const PATIENCE = 100;

const draftAtFirst = (schema, features) => readLink(location.hash, features, schema.identifier) || typicalDraft(features);

/**
 * Ask about the customer that the form begins with; return the draft, and the promise of its score.
 *
 * To be called before the view is drawn: a slow browser needs longer to lay out a form than the service to answer, and
 * would have to do it again with the score.
 */
export async function begin({ schema }) {
  const features = listFeatures(schema);
  const draft = draftAtFirst(schema, features);
  const score = send("predict", toCustomer(features, draft, schema.identifier));
  await Promise.race([score.catch(() => {}), new Promise((go) => setTimeout(go, PATIENCE))]);
  return { draft, score };
}

export function CustomerView({ model, begun, noteVersion }) {
  const { schema } = model;
  const features = useMemo(() => listFeatures(schema), [schema]);
  const [draft, setDraft] = useState(() => begun?.draft || draftAtFirst(schema, features));
  const [along, setAlong] = useState("");
  const [target, setTarget] = useState("");
  const { answers, ask } = useAnswers(features, schema.identifier, noteVersion);
  const shown = useRef({});
  shown.current = { draft, along, target };

  // Asked at once and not after the next frame, so that the answer is there as early as it can be.
  const change = (part) => {
    const next = { ...shown.current, ...part };
    shown.current = next;
    if (part.draft) setDraft(part.draft);
    if (part.along !== undefined) setAlong(part.along);
    if (part.target !== undefined) setTarget(part.target);
    ask(next, part);
  };
  const setField = (name, text) => change({ draft: new Map(shown.current.draft).set(name, text) });
  const apply = (changes) => {
    const next = new Map(shown.current.draft);
    for (const { field, to } of changes) next.set(field, toText(to));
    change({ draft: next });
  };

  useEffect(() => {
    const open = () => {
      const found = readLink(location.hash, features, schema.identifier);
      if (found) change({ draft: found });
    };
    addEventListener("hashchange", open);
    return () => removeEventListener("hashchange", open);
  }, [features]);
  const isDrawn = useRef(false);
  useMemo(() => ask({ ...shown.current, score: begun?.score }, { draft }), []);
  useLayoutEffect(() => {
    if (isDrawn.current) {
      // Another model may have other fields: what it does not have is dropped, and what is new is typical.
      const next = typicalDraft(features);
      for (const [name, text] of shown.current.draft) if (next.has(name) || name === schema.identifier) next.set(name, text);
      change({ draft: next });
    }
    isDrawn.current = true;
  }, [features]);
  useEffect(() => {
    const strongest = answers.why.answer?.reasons?.[0]?.field;
    if (!along) change({ along: strongest || (answers.why.error ? features[0].name : "") });
  }, [answers.why]);

  // Each part is drawn again only when something that it shows has changed: a keystroke and its answer change few of them.
  const parts = { model, features };
  const follow = (name) => change({ along: name });
  const { now, why, curve, changes } = answers;
  const decision = useMemo(() => html`<${Decision} ...${parts} answers=${answers} />`, [model, now, why]);
  const reasons = useMemo(() => html`<${Reasons} ...${parts} asked=${why} along=${along} onAlong=${follow} />`, [model, why, along]);
  const line = useMemo(() => html`<${Curve} ...${parts} asked=${curve} along=${along} onAlong=${follow} />`, [model, curve, along]);
  const list = useMemo(() => html`<${Changes} ...${parts} asked=${changes} target=${target} onTarget=${(text) => change({ target: text })} onApply=${apply} />`, [model, changes, target]);
  return html`<h1 class="visually-hidden">Customer</h1>
    <div class="customer">
      <${Form} ...${parts} draft=${draft} answers=${answers} onField=${setField} onTypical=${() => change({ draft: typicalDraft(features) })} />
      <div class="results">
        ${decision}
        <div class="column-of-cards">${reasons}</div>
        <div class="column-of-cards">${line}
        ${list}</div>
      </div>
    </div>`;
}

// The form of a customer, made from the schema of the served model.

import { html, useMemo } from "../vendor/htm-preact.js";
import { Copies } from "./copy.js";
import { nameOf, positionOf, rangeOf, showValue, textAt } from "../features.js";

const FEW = 4;
const SHORT = 14;
const LONG = 60;

export function Form({ model, features, draft, answers, onField, onTypical }) {
  const { identifier } = model.schema;
  const faults = new Map((answers.now.error?.problem.errors || []).map((each) => [each.field, each]));
  const warned = new Map((answers.now.answer?.warnings || []).map((each) => [each.field, each]));
  const named = useMemo(() => ({ name: identifier, kind: "identifier", description: identifier, nullable: true }), [identifier]);
  const row = (feature, index) => html`<${Field} key=${feature.name} id=${`field-${index}`} feature=${feature} text=${draft.get(feature.name) ?? ""}
    fault=${faults.get(feature.name)} warning=${warned.get(feature.name)} onField=${onField} />`;
  return html`<form class="card form" aria-label="Customer" onSubmit=${(event) => event.preventDefault()}>
    <header class="card-head"><h2>Customer</h2><button type="button" class="quiet" onClick=${onTypical}>Typical customer</button></header>
    <div class="fields">
      ${row(named, "id")}
      ${features.map(row)}
    </div>
    <${Copies} model=${model} features=${features} draft=${draft} />
  </form>`;
}

function Field({ id, feature, text, fault, warning, onField }) {
  return useMemo(() => {
    const name = nameOf(feature);
    const notes = [fault && `${id}-fault`, warning && !fault && `${id}-warning`].filter(Boolean).join(" ") || undefined;
    const onText = (changed) => onField(feature.name, changed);
    const given = { id, feature, name, text, onText, notes, isWrong: fault ? "true" : undefined };
    const Input = isChoice(feature) ? Choice : feature.kind === "category" ? Category : feature.kind === "identifier" ? Text : Quantity;
    return html`<div class=${`field ${fault ? "is-wrong" : warning ? "is-odd" : ""}`} data-field=${feature.name}>
      <${Input} ...${given} />
      ${fault && html`<p id=${`${id}-fault`} class="fault">${fault.reason}; allowed: ${fault.allowed}</p>`}
      ${warning && !fault && html`<p id=${`${id}-warning`} class="odd">Outside the range that training saw</p>`}
    </div>`;
  }, [id, feature, text, fault, warning]);
}

/** Whether all choices are shown beside each other. */
const isChoice = (feature) =>
  feature.kind === "flag" ||
  (feature.kind === "category" && !feature.open && feature.categories.length <= FEW && feature.categories.every((each) => each.length <= SHORT));

/** The name of a field, with the name of its column if that is another one. */
function Name({ feature, name }) {
  return html`<span class="name" title=${name.length > LONG ? name : undefined}>${name}</span>${feature.name !== name && html`<code class="column" aria-hidden="true">${feature.name}</code>`}`;
}

function Text({ id, feature, name, text, onText, notes, isWrong }) {
  return html`<label for=${id}>${name}<span class="optional">optional</span></label>
    <input id=${id} type="text" autocomplete="off" spellcheck=${false} value=${text} aria-describedby=${notes} aria-invalid=${isWrong}
      onInput=${(event) => onText(event.target.value)} />`;
}

function Quantity({ id, feature, name, text, onText, notes, isWrong }) {
  const range = rangeOf(feature);
  const isDate = feature.kind === "date";
  const slide = (event) => onText(textAt(feature, range, Number(event.target.value)));
  return html`<label for=${id}><${Name} feature=${feature} name=${name} /></label>
    <span class="value"><input id=${id} type=${isDate ? "date" : "text"} inputmode=${isDate ? undefined : "decimal"} autocomplete="off" value=${text}
      placeholder=${feature.nullable ? "missing" : undefined} aria-describedby=${notes} aria-invalid=${isWrong}
      onInput=${(event) => onText(event.target.value)} /><span class="unit" title=${feature.unit}>${feature.unit}</span></span>
    ${range && html`<input class="slider" type="range" min=${range.low} max=${range.high} step=${feature.kind === "number" ? "any" : 1}
      value=${positionOf(feature, range, text)} aria-label=${`${name}, slider`} aria-valuetext=${showValue(feature, text)} onInput=${slide} />`}`;
}

function Category({ id, feature, name, text, onText, notes, isWrong }) {
  const label = html`<label for=${id}><${Name} feature=${feature} name=${name} /></label>`;
  if (feature.open) {
    return html`${label}<input id=${id} type="text" list=${`${id}-list`} value=${text} aria-describedby=${notes} aria-invalid=${isWrong}
        onInput=${(event) => onText(event.target.value)} />
      <datalist id=${`${id}-list`}>${feature.categories.map((each) => html`<option value=${each} />`)}</datalist>`;
  }
  const unknown = text !== "" && !feature.categories.includes(text) ? [text] : [];
  return html`${label}<select id=${id} value=${text} aria-describedby=${notes} aria-invalid=${isWrong} onChange=${(event) => onText(event.target.value)}>
    ${(feature.nullable || text === "") && html`<option value="" selected=${text === ""}>missing</option>`}
    ${[...unknown, ...feature.categories].map((each) => html`<option value=${each} selected=${each === text}>${each}</option>`)}
  </select>`;
}

function Choice({ id, feature, name, text, onText, notes }) {
  const choices = feature.kind === "flag" ? [["1", "yes"], ["0", "no"]] : feature.categories.map((each) => [each, each]);
  if (feature.nullable || text === "") choices.push(["", "missing"]);
  return html`<fieldset aria-describedby=${notes}><legend><${Name} feature=${feature} name=${name} /></legend>
    <span class="choices">${choices.map(([value, label], index) => html`<label class="choice" key=${value}>
      <input type="radio" name=${id} id=${index ? `${id}-${index}` : id} value=${value} checked=${text === value} onChange=${() => onText(value)} /><span>${label}</span>
    </label>`)}</span></fieldset>`;
}

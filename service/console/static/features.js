// The fields of a customer, from the schema that GET /model has, and customers as they are typed.
//
// A draft is a Map of the text of each field; an empty text is a missing value. The service judges the values: what
// can't be a number is sent as it is, and the answer says what is wrong and what is allowed.

import { dateToDays, daysToDate, formatNumber } from "./format.js";

const DECIMAL_COMMA = /^[+-]?\d+,\d+$/;
const FLAGS = new Map([["0", "no"], ["1", "yes"]]);

/** Return the features of a schema, in its order; each is the entry of the schema with its name. */
export function listFeatures(schema) {
  return Object.entries(schema.features).map(([name, entry]) => ({ ...entry, name }));
}

/** What a person calls a field: its description, or its name. */
export const nameOf = (feature) => (feature.description || feature.name).replace(/\.$/, "");

/** A value as people read it, with its unit. */
export function showValue(feature, value) {
  if (value === null || value === undefined || value === "") return "missing";
  if (feature.kind === "flag") return FLAGS.get(String(Number(value))) || String(value);
  if (feature.kind !== "number" && feature.kind !== "integer") return String(value);
  const text = typeof value === "number" ? formatNumber(value) : String(value);
  return feature.unit ? `${text} ${feature.unit}` : text;
}

/** The range that training saw, as numbers (a date in days), or null. */
export function rangeOf(feature) {
  const low = feature.trained_minimum ?? feature.minimum;
  const high = feature.trained_maximum ?? feature.maximum;
  return low === undefined || high === undefined || !(high > low) ? null : { low, high, step: stepOf(feature, high - low) };
}

/** A round step that divides a range into some hundred parts. */
function stepOf(feature, width) {
  if (feature.kind !== "number") return 1;
  return 10 ** Math.floor(Math.log10(width / 100));
}

/** The text of a slider's position: a multiple of its step, but exactly the ends of the range. */
export function textAt(feature, range, position) {
  if (feature.kind === "date") return daysToDate(position);
  const decimals = Math.max(0, -Math.floor(Math.log10(range.step)));
  return String(Number(position.toFixed(decimals)));
}

/** The position of a text on the slider. */
export function positionOf(feature, range, text) {
  const number = feature.kind === "date" ? dateToDays(text) : toNumber(text);
  return Number.isFinite(number) ? Math.min(range.high, Math.max(range.low, number)) : range.low;
}

function toNumber(text) {
  const trimmed = text.trim();
  return trimmed === "" ? NaN : Number(DECIMAL_COMMA.test(trimmed) ? trimmed.replace(",", ".") : trimmed);
}

/** The typical customer of the schema, as texts. */
export function typicalDraft(features) {
  return new Map(features.map((feature) => [feature.name, typicalText(feature)]));
}

function typicalText(feature) {
  if (feature.example !== undefined) return String(feature.example);
  if (feature.kind === "category") return feature.categories?.[0] ?? "";
  if (feature.kind === "flag") return "0";
  const range = rangeOf(feature);
  if (!range) return feature.kind === "date" ? "2020-01-01" : String(feature.minimum ?? 0);
  return textAt(feature, range, range.low + Math.round((range.high - range.low) / 2 / range.step) * range.step);
}

/** A customer as the API takes it; the identifier only if there is one. */
export function toCustomer(features, draft, identifier) {
  const entries = features.filter((feature) => draft.get(feature.name) !== "").map((feature) => [feature.name, toValue(feature, draft.get(feature.name))]);
  const id = draft.get(identifier);
  return Object.fromEntries(id ? [[identifier, id], ...entries] : entries);
}

function toValue(feature, text) {
  if (feature.kind === "category" || feature.kind === "date") return text;
  const number = toNumber(text);
  return Number.isFinite(number) ? number : text;
}

/** A value of an answer as the text of a field. */
export const toText = (value) => (value === null || value === undefined ? "" : String(value));

/** The part of an address that reopens a customer; it stays in the browser, since it is behind the #. */
export function writeLink(draft) {
  const parameters = new URLSearchParams();
  for (const [name, text] of draft) if (text !== "") parameters.append(name, text);
  return `#customer?${parameters}`;
}

/** The draft of a link, or null; fields that the model does not have are left out. */
export function readLink(hash, features, identifier) {
  const [, query] = /^#customer\?(.+)$/s.exec(hash) || [];
  if (!query) return null;
  const parameters = new URLSearchParams(query);
  const draft = new Map(features.map(({ name }) => [name, parameters.get(name) ?? ""]));
  if (parameters.get(identifier)) draft.set(identifier, parameters.get(identifier));
  return draft;
}

// Scores a file: reads it as a stream, sends it in pieces to POST /predict, and keeps counts and parts of the results.
// Neither the file nor its scores are ever held whole: the parts are Blobs, which the browser may keep on disk.

import { request } from "../api.js";
import { findDecimal, parseRecord, readForm, splitRecords, writeField } from "./csv.js";
import { Splitter } from "./split.js";

export const BINS = 20;
export const SHOWN_REJECTS = 100;
export const SHOWN_LEAVERS = 20;
export const SHOWN_ROWS = 5;
const PART_CHARACTERS = 1 << 20;
const SAMPLE_BYTES = 64 * 1024;
const RETRIES = 20;
const BUSY = new Set([429, 503]);

/** Collects text as Blobs. */
class Parts {
  constructor(header) {
    this.text = [header];
    this.size = header.length;
    this.blobs = [];
  }

  add(line) {
    this.text.push(line);
    this.size += line.length;
    if (this.size >= PART_CHARACTERS) this.seal();
  }

  seal() {
    this.blobs.push(new Blob(this.text));
    this.text = [];
    this.size = 0;
  }

  /** All of it as one Blob. */
  get blob() {
    if (this.text.length) this.seal();
    return new Blob(this.blobs, { type: "text/csv" });
  }
}

/** The tally of a file while it is scored. */
export class Tally {
  constructor(form, identifier) {
    this.hasIdentifier = form.names.includes(identifier);
    const first = this.hasIdentifier ? writeField(identifier) : "row";
    this.scores = new Parts(`${first},probability,churn,model_version\n`);
    this.rejects = new Parts(`line,${first},error\n`);
    this.first = [];
    this.leavers = [];
    this.histogram = new Array(BINS).fill(0);
    this.scored = this.leaving = this.rejected = 0;
    this.version = "";
  }

  get rows() {
    return this.scored + this.rejected;
  }

  /** Add the answer to a piece. */
  add(text, lines) {
    const records = splitRecords(text);
    records.next(); // the header
    let place = 0;
    for (const record of records) {
      const line = lines[place++];
      if (record.endsWith(",")) this.addScore(record.slice(0, -1));
      else this.addReject(parseRecord(record), line);
    }
  }

  addScore(record) {
    const version = record.lastIndexOf(",");
    const churn = record.lastIndexOf(",", version - 1);
    const probability = record.lastIndexOf(",", churn - 1);
    const value = Number(record.slice(probability + 1, churn));
    this.scored++;
    // Without an identifier, the service counts the rows of a piece; the page counts those of the file.
    const name = this.hasIdentifier ? record.slice(0, probability) : String(this.rows);
    this.scores.add(`${name}${record.slice(probability)}\n`);
    this.histogram[Math.min(BINS - 1, Math.floor(value * BINS))]++;
    this.version = record.slice(version + 1);
    if (record.slice(churn + 1, version) === "true") this.leaving++;
    if (this.leavers.length < SHOWN_LEAVERS || value > this.leavers.at(-1).probability) this.noteLeaver(name, value);
  }

  noteLeaver(name, probability) {
    const place = this.leavers.findIndex((each) => probability > each.probability);
    this.leavers.splice(place < 0 ? this.leavers.length : place, 0, { name: parseRecord(name)[0], probability });
    this.leavers.length = Math.min(this.leavers.length, SHOWN_LEAVERS);
  }

  addReject(fields, line) {
    const error = fields.at(-1);
    this.rejected++;
    const name = this.hasIdentifier ? fields[0] : String(this.rows);
    this.rejects.add(`${line},${writeField(name)},${writeField(error)}\n`);
    if (this.first.length < SHOWN_REJECTS) this.first.push({ line, name, error });
  }
}

/**
 * Score a file.
 *
 * @param {File} file
 * @param {object[]} features  Those of the schema.
 * @param {string} identifier
 * @param {object} options  The decimal separator ("" to find it), a signal, and `onProgress`, which is called after each
 *   piece with the tally, the bytes that are done, and the first rows.
 */
export async function scoreFile(file, features, identifier, { decimal = "", signal, onProgress }) {
  const reader = (await openStream(file)).getReader();
  const wanted = [...features.map(({ name }) => name), identifier];
  const { head, isWhole } = await readHead(reader);
  const form = readForm(head, wanted);
  const sample = new Splitter(form.delimiter.charCodeAt(0), form.line, Infinity);
  const body = head.slice(form.start);
  sample.push(body);
  const records = recordsOf(sample.cut(isWhole), form);
  const numeric = new Set(features.filter(({ kind }) => kind === "number" || kind === "integer").map(({ name }) => name));
  const mark = decimal || findDecimal(records, form, numeric);
  const path = `predict?${new URLSearchParams({ on_error: "reject", ...(mark && { decimal: mark }) })}`;

  const tally = new Tally(form, identifier);
  const first = { names: form.names, rows: records.slice(0, SHOWN_ROWS), decimal: mark };
  const splitter = new Splitter(form.delimiter.charCodeAt(0), form.line);
  let done = form.start;
  onProgress(tally, done, first);
  const send = async (pieces) => {
    for (const { bytes, lines } of pieces) {
      const answer = await sendPatiently(path, new Blob([form.header, bytes]), signal);
      tally.add(await answer.text(), lines);
      done += bytes.length;
      onProgress(tally, Math.min(done, file.size), first);
    }
  };
  await send(splitter.push(body));
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    signal.throwIfAborted();
    await send(splitter.push(part.value));
  }
  await send(splitter.end());
  if (tally.rows === 0) await send([{ bytes: new Uint8Array(0), lines: [] }]); // the service judges the header
  return tally;
}

/** The bytes of a file in UTF-8, without a byte-order mark. */
async function openStream(file) {
  const mark = new Uint8Array(await file.slice(0, 3).arrayBuffer());
  if (mark[0] === 0xef && mark[1] === 0xbb && mark[2] === 0xbf) return file.slice(3).stream();
  const encoding = mark[0] === 0xff && mark[1] === 0xfe ? "utf-16le" : mark[0] === 0xfe && mark[1] === 0xff ? "utf-16be" : "";
  if (!encoding) return file.stream();
  return file.stream().pipeThrough(new TextDecoderStream(encoding)).pipeThrough(new TextEncoderStream());
}

async function readHead(reader) {
  let head = new Uint8Array(0);
  while (head.length < SAMPLE_BYTES) {
    const { done, value } = await reader.read();
    if (done) return { head, isWhole: true };
    const all = new Uint8Array(head.length + value.length);
    all.set(head);
    all.set(value, head.length);
    head = all;
  }
  return { head, isWhole: false };
}

function recordsOf(pieces, form) {
  const text = new TextDecoder().decode(pieces[0]?.bytes || new Uint8Array(0));
  const lines = text.split(/\r\n|\n|\r/).filter((line) => line.trim() !== "");
  return lines.map((line) => parseRecord(line, form.delimiter));
}

/** Send a piece; wait and send it again while the service is busy or the rate limit of the key is used up. */
async function sendPatiently(path, body, signal) {
  for (let tries = 0; ; tries++) {
    try {
      return await request(path, { method: "POST", body, type: "text/csv", signal });
    } catch (error) {
      if (!BUSY.has(error.status) || tries >= RETRIES) throw error;
      await new Promise((go) => setTimeout(go, 1000));
      signal.throwIfAborted();
    }
  }
}
